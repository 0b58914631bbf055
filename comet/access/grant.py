"""What somebody may do: a grant, and whether it covers what is asked. Pure.

A grant names patterns. It covers a topic that one of them matches, and a pattern if one of them matches whatever that
one can match: a wildcard must not widen a grant. The trap is ``**``: it does not match topics that start with ``$``,
and it matches at least one segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from comet.errors import CometError, Forbidden, Unauthorized, shown
from comet.topics import Pattern

OWN = "$"
"""What the topics of the daemon itself begin with; whoever is admin may subscribe to them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What its holder may do until ``expires``, in seconds since 1970.

    ``subject`` is who that is, if it is known, and ``token`` the id of the token that says so; ``issued`` is when it
    was made. ``consumers`` are names of acknowledged consumers, ``*`` for any. ``everything`` is what programs on this
    machine may do, and the holder of one that ``is_anonymous`` has said nothing of who it is.
    """

    subject: str = ""
    token: str = ""
    publish: tuple[Pattern, ...] = ()
    subscribe: tuple[Pattern, ...] = ()
    consumers: tuple[str, ...] = ()
    admin: bool = False
    everything: bool = False
    is_anonymous: bool = False
    expires: float = inf
    issued: float = 0.0

    def check_publish(self, topic: str) -> None:
        """Raise unless its holder may publish on ``topic``, which is well formed."""
        if not (self.everything or any(pattern.matches(topic) for pattern in self.publish)):
            raise self._refusal(f"publish on {shown(topic)}")

    def check_subscribe(self, patterns: Iterable[Pattern]) -> None:
        """Raise unless its holder may subscribe to all that ``patterns`` match."""
        if self.everything:
            return
        for pattern in patterns:
            if self.admin and pattern.text.startswith(OWN):
                continue
            if not any(covers(each, pattern) for each in self.subscribe):
                raise self._refusal(f"subscribe to {shown(pattern.text)}")

    def check_consumer(self, name: str) -> None:
        """Raise unless its holder may read as the consumer ``name``, and acknowledge for it."""
        if not (self.everything or self.admin or "*" in self.consumers or name in self.consumers):
            raise self._refusal(f"use the consumer {shown(name)}")

    def check_admin(self, what: str) -> None:
        """Raise unless its holder is an administrator; ``what`` is what only they may do."""
        if not (self.everything or self.admin):
            raise self._refusal(what)

    def _refusal(self, what: str) -> CometError:
        if self.is_anonymous:
            return Unauthorized(f"to {what} needs a token: send Authorization: Bearer, or ?token= if you cannot")
        return Forbidden(f"this token does not allow to {what}")


NOTHING = Grant(is_anonymous=True)
EVERYTHING = Grant(everything=True)


def covers(grant: Pattern, wanted: Pattern) -> bool:
    """Whether ``grant`` matches every topic that ``wanted`` can match."""
    if wanted.segments[0].startswith(OWN) and grant.segments[0] in ("*", "**"):
        return False
    for index, segment in enumerate(grant.segments):
        if index == len(wanted.segments):
            return False
        want = wanted.segments[index]
        if segment == "**":
            return True
        if want == "**" or segment not in ("*", want):
            return False
    return len(grant.segments) == len(wanted.segments)
