"""Transport ``resp``: what a Redis client is sent that has subscribed on the TCP port (Redis Pub/Sub)::

    message  = head("3") bulk("message") bulk(topic) bulk(payload)
    pmessage = head("4") bulk("pmessage") bulk(pattern) bulk(topic) bulk(payload)
    head(n)  = ("*" / ">") n CRLF                        ; an array in RESP2, a push in RESP3
    bulk(x)  = "$" size CRLF  x CRLF

A message comes once for its topic, if that was subscribed to, and once more for each pattern that matches, as in Redis.
A gap is a message on ``$gap``, a topic on which nobody publishes, with ``{"since":…,"until":…}``; for a client that has
patterns only it is a ``pmessage``, because its library may listen to nothing else. There is no heartbeat: a client that
wants one sends PING.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comet.control import Control, Open
from comet.message import Gap, Page
from comet.topics import Pattern

GAP = "$gap"
"""The topic on which a gap is told."""

_MARK = {2: b"*", 3: b">"}


@dataclass(frozen=True, slots=True)
class Resp:
    """Messages for a client that speaks ``version``, and has subscribed to ``topics`` and to ``patterns``."""

    version: int
    topics: frozenset[str]
    patterns: tuple[Pattern, ...]

    # There is no response that could say it.
    content_type: ClassVar[str] = ""
    repeats: ClassVar[bool] = False

    def open(self, _opening: Open) -> bytes:
        """Nothing: the commands are confirmed by the connection."""
        return b""

    def page(self, page: Page) -> bytes:
        """The gap, if there is one, then each message as often as it is wanted."""
        pieces: list[bytes] = []
        if page.gap is not None:
            pieces += self._gap_head(), _bulk(_gap_json(page.gap))
        heads: dict[str, list[bytes]] = {}
        for message in page.messages:
            topic = message.topic
            found = heads.get(topic)
            if found is None:
                found = heads[topic] = self._heads(topic)
            payload = _bulk(message.payload)
            for head in found:
                pieces += head, payload
        return b"".join(pieces)

    def control(self, _control: Control) -> bytes:
        """Nothing: Redis clients know no such thing."""
        return b""

    def after(self, _page: Page) -> Resp:
        """Itself: a message stands alone."""
        return self

    def _heads(self, topic: str) -> list[bytes]:
        """What stands before the payload of a message on ``topic``, each time that it is wanted."""
        exact = [self._head("message", topic)] if topic in self.topics else []
        return exact + [
            self._head("pmessage", pattern.text, topic) for pattern in self.patterns if pattern.matches(topic)
        ]

    def _gap_head(self) -> bytes:
        if self.topics:
            return self._head("message", GAP)
        asked = next((pattern for pattern in self.patterns if pattern.matches(GAP)), self.patterns[0])
        return self._head("pmessage", asked.text, GAP)

    def _head(self, *words: str) -> bytes:
        return b"%b%d\r\n%b" % (_MARK[self.version], len(words) + 1, b"".join(_bulk(word.encode()) for word in words))


def _bulk(content: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(content), content)


def _gap_json(gap: Gap) -> bytes:
    return b'{"since":"%b","until":"%b"}' % (str(gap.since).encode(), str(gap.until).encode())
