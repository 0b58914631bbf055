"""What stands between a connection and its commands, if it may not do everything: its grant.

A connection of a program on this machine has no guard, which costs each read of its socket one test. Who has one may be
*locked out*: nobody in particular may do anything here, or its token is over. Then it has to AUTH, within so many
commands and seconds. The trap is a RESET, which is admitted before AUTH: it must not begin the counting anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from comet.access.access import Access
from comet.access.grant import NOTHING
from comet.config import Config
from comet.drafts import topic_of
from comet.errors import BadToken, Unauthorized
from comet.holder import Holder
from comet.topics import check_topic

REMEMBERED_TOPICS = 256
"""How many topics of one connection are remembered as allowed; then all are dropped."""

UNKNOWN = "Authentication required: send AUTH token (or HELLO 3 AUTH default token) first"

_ANEW = "AUTH with a new token, or connect again"


class LockedOut(Unauthorized):
    """Who has to AUTH has taken too long; the connection is closed."""


class Guard:
    """Holds the commands of one connection against its grant."""

    __slots__ = ("_access", "_allowed_topics", "_commands", "grant", "is_unknown", "locked", "most_unknown", "who")

    def __init__(self, holder: Holder, access: Access, most_unknown: int) -> None:
        self._access = access
        self.most_unknown = most_unknown
        """How many commands may be sent by who has to AUTH."""
        self.grant, self.who = holder
        self.is_unknown = self.grant == NOTHING
        """Whether it may do nothing at all until it AUTHs."""
        self.locked = UNKNOWN if self.is_unknown else ""
        """Why the connection has to AUTH, if it has to."""
        self._commands = 0
        self._allowed_topics: set[bytes] = set()

    @property
    def holder(self) -> Holder:
        """On whose behalf commands are executed."""
        return Holder(self.grant, self.who)

    def look(self, now: float) -> None:
        """Find out whether the grant still counts, ``now`` in seconds since 1970. To be called before each run."""
        if self.is_unknown:
            return
        self.locked = ""
        if self.grant.expires <= now:
            self.locked = f"Authentication required: the token has expired; {_ANEW}"
            return
        try:
            self._access.revocations.check(self.grant)
        except BadToken as refusal:
            self.locked = f"Authentication required: {refusal.detail}; {_ANEW}"

    def check_current(self, now: float) -> None:
        """Raise :exc:`~comet.errors.Unauthorized` if the grant does not count any longer."""
        self.look(now)
        if self.locked:
            raise Unauthorized(self.locked)

    def patience(self, now: float, config: Config) -> float:
        """In how many seconds the connection has to AUTH; perhaps never."""
        if self.is_unknown:
            return config.auth_timeout
        return inf if self.grant.expires == inf else max(0.0, self.grant.expires - now) + config.auth_timeout

    # -- each command ------------------------------------------------------------------------------------------------

    def count(self) -> None:
        """Count a command, whatever it is; raise :exc:`LockedOut` if it is one too many of who has to AUTH."""
        if self.locked:
            self._commands += 1
            if self._commands > self.most_unknown:
                raise LockedOut(
                    f"{self.most_unknown} commands without AUTH (max-commands-unknown); connect again, and AUTH first"
                )

    def check(self, need: Need | None, words: Sequence[bytes]) -> None:
        """Raise :exc:`~comet.errors.Unauthorized` or :exc:`~comet.errors.Forbidden` unless the command that needs
        ``need`` may be executed."""
        if self.locked:
            if need is not anybody:
                raise Unauthorized(self.locked)
        elif need is not None:
            try:
                need(self, words)
            except Unauthorized:
                name = words[0].decode(errors="replace").upper()
                raise Unauthorized(f"Authentication required: {name} needs a token for that; send AUTH token") from None

    def check_publish(self, raw: bytes) -> None:
        """Raise unless messages may be published on that topic."""
        if raw in self._allowed_topics:
            return
        self.grant.check_publish(check_topic(topic_of(raw)))
        if len(self._allowed_topics) >= REMEMBERED_TOPICS:
            self._allowed_topics.clear()
        self._allowed_topics.add(raw)


Need = Callable[[Guard, Sequence[bytes]], None]
"""What the sender of a command must be allowed: raises :exc:`~comet.errors.Forbidden` or
:exc:`~comet.errors.Unauthorized` if its words ask for more than the guard's grant covers."""


def anybody(guard: Guard, words: Sequence[bytes]) -> None:
    """Nothing: who has to AUTH may send it, too."""
