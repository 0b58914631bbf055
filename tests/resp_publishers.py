"""A publisher's connection in memory, and in place of the router a store that answers when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from comet.config import Config
from comet.limits.limits import Limits
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.factory import RespFactory
from comet.resp.protocol import RespProtocol
from comet.router import Router
from tests.resp_ports import Wire


class Store:
    """A publisher that stores at once, or when told; each topic has as many subscriptions as letters."""

    epoch = "5f0c1a2b"

    def __init__(self) -> None:
        self.limits = Limits(Config(), Metrics(), Clock())
        self.each_second: list[Callable[[], None]] = []
        self.batches: list[list[Draft]] = []
        self.answers: list[Deferred[Sequence[int]]] = []
        self.slow = False
        self.stored = 0

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        self.batches.append(list(drafts))
        first, self.stored = self.stored, self.stored + len(drafts)
        if not self.slow:
            return succeed(range(first, self.stored))
        answer: Deferred[Sequence[int]] = Deferred()
        self.answers.append(answer)
        return answer

    def answer(self, index: int = 0) -> None:
        """Store one batch of those that wait, each message under its number in the batch."""
        length = len(self.batches[len(self.batches) - len(self.answers) + index])
        self.answers.pop(index).callback(range(length))

    def receivers(self, topic: str) -> int:
        return len(topic)


class Connection:
    """A publisher's connection, with all that belongs to it."""

    def __init__(self) -> None:
        self.store = Store()
        self.metrics = Metrics()
        self.factory = RespFactory(cast(Router, self.store), Config(max_payload=1000), self.metrics)
        self.protocol: RespProtocol = self.factory.buildProtocol(None)
        self.wire = Wire()  # type: ignore[no-untyped-call]
        self.protocol.makeConnection(self.wire)  # type: ignore[no-untyped-call]

    def send(self, data: bytes) -> bytes:
        """Send what one read of the socket brings, and return what is replied by then."""
        self.protocol.dataReceived(data)
        return self.wire.taken()

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))
