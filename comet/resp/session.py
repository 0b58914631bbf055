"""What the TCP port keeps: of all connections together (:class:`Intake`), and of each (:class:`Session`).

The trap: a publisher that makes it keep more and more. Checked topics and queued commands are counted and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count
from typing import Protocol

from twisted.internet.defer import Deferred

from comet.drafts import draft, topic_of
from comet.errors import CometError, PayloadTooLarge
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.replies import simple
from comet.resp.wire import OTHER_ARGUMENTS
from comet.topics import check_topic

REMEMBERED_TOPICS = 65_536
"""How many topics are remembered as checked; then all are dropped, which bounds the memory."""

MOST_QUEUED = 1024
"""Commands between MULTI and EXEC. Their bytes are bounded as those of one command are."""

Words = Sequence[bytes]
"""A command's name and its arguments."""


Refused = Callable[[CometError, str, str], None]
"""Is told what was refused to whom: the error, the command, the peer."""


class Publisher(Protocol):
    """Where messages go: the router, seen from here."""

    @property
    def epoch(self) -> str:
        """The log's epoch: with an offset it makes a position."""

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        """Store ``drafts``, all or none, and give their offsets, in order. Fails with a CometError."""

    def receivers(self, topic: str) -> int:
        """Return how many subscriptions want ``topic`` now."""


class Intake:
    """What all connections share: where messages go, the largest payload, the topics that were checked already."""

    __slots__ = ("_topics", "max_payload", "metrics", "numbers", "publisher", "refused")

    def __init__(
        self, publisher: Publisher, max_payload: int, metrics: Metrics, refused: Refused | None = None
    ) -> None:
        self.publisher = publisher
        self.max_payload = max_payload
        self.metrics = metrics
        self.refused: Refused = refused or (lambda refusal, _what, _peer: metrics.count_refusal(refusal.code))
        self.numbers = count(1)
        self._topics: dict[bytes, str] = {}

    def draft(self, raw_topic: bytes, payload: bytes) -> Draft:
        """Return a message without type and key. On the hot path this is one look-up and one construction."""
        topic = self._topics.get(raw_topic) or self._checked(raw_topic)
        if len(payload) > self.max_payload:
            return draft(topic, payload, largest=self.max_payload)
        return Draft(topic, payload)

    def _checked(self, raw: bytes) -> str:
        if len(self._topics) >= REMEMBERED_TOPICS:
            self._topics.clear()
        self._topics[raw] = topic = check_topic(topic_of(raw))
        return topic


class Ending(Enum):
    """Whether the connection ends with this run of requests, and how."""

    NOT_YET = "not yet"
    AFTER_REPLIES = "after replies"
    AT_ONCE = "at once"


class Session:
    """What one connection has said about itself, and how it is to be answered."""

    __slots__ = ("ending", "intake", "name", "number", "peer", "transaction", "version")

    def __init__(self, intake: Intake, peer: str) -> None:
        self.intake = intake
        self.peer = peer
        self.number = next(intake.numbers)
        self.name = b""
        self.version = 2
        self.ending = Ending.NOT_YET
        self.transaction: Transaction | None = None


class Transaction:
    """What came between MULTI and EXEC. Bounded, since it is kept; and spoilt by any command that is refused."""

    __slots__ = ("commands", "size", "spoilt")

    def __init__(self) -> None:
        self.commands: list[Words] = []
        self.size = 0
        self.spoilt = False

    def add(self, words: Words, max_payload: int) -> bytes:
        """Keep a command for EXEC."""
        most = max_payload + OTHER_ARGUMENTS
        self.size += sum(map(len, words))
        if self.size > most or len(self.commands) >= MOST_QUEUED:
            raise PayloadTooLarge(f"a transaction has at most {MOST_QUEUED} commands and {most} bytes")
        self.commands.append(words)
        return simple("QUEUED")
