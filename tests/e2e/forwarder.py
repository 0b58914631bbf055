"""A forwarder of TCP connections that cuts them where a test wants, in the test's own reactor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


class Side(Protocol):
    """One side of a connection; what comes in goes out on the ``other``, and is read as it is taken there."""

    transport: Any

    def __init__(self, left: int | None = None) -> None:
        self.other: Side | None = None
        self.held: list[bytes] = []
        # Bytes that may still come in before the connection is cut, with what is behind them.
        self.left = left
        self.ended: Deferred[None] = Deferred()

    def join(self, other: Side) -> None:
        """Send what comes in on ``other``, and the other way about."""
        for one, another in ((self, other), (other, self)):
            one.other = another
            another.transport.registerProducer(one.transport, True)
            another.transport.write(b"".join(one.held))

    def dataReceived(self, data: bytes) -> None:
        if self.left is not None:
            data, self.left = data[: self.left], self.left - len(data)
        if self.other is None:
            self.held.append(data)
            return
        self.other.transport.write(data)
        if self.left is not None and self.left <= 0:
            # What was written before goes out; the peer sees the end of a connection, not that it was cut.
            self.other.transport.unregisterProducer()
            self.other.transport.loseConnection()
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        other, self.other = self.other, None
        if other is not None:
            other.transport.unregisterProducer()
            other.transport.loseConnection()
        self.ended.callback(None)


class Forwarder(Factory[Side]):
    """Forwards to ``target``. Of its first connections each is cut after so many bytes from there as ``cuts`` say."""

    noisy = False

    def __init__(self, target: str, cuts: Iterator[int]) -> None:
        self._target = target
        self._cuts = cuts
        self.connections = 0
        self.sides: list[Side] = []

    def buildProtocol(self, addr: Any) -> Side:
        """Return the side of a client, and connect to the target."""
        self.connections += 1
        near, far = Side(), Side(next(self._cuts, None))
        self.sides += [near, far]
        connecting = clientFromString(reactor, f"tcp:{self._target}").connect(Factory.forProtocol(lambda: far))
        connecting.addCallbacks(near.join, lambda _: near.transport.abortConnection())
        return near


@asynccontextmanager
async def forwarding(target: str, *cuts: int) -> AsyncIterator[tuple[Forwarder, str]]:
    """A forwarder to ``target``, and its address."""
    forwarder = Forwarder(target, iter(cuts))
    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(forwarder)
    try:
        yield forwarder, f"127.0.0.1:{port.getHost().port}"
    finally:
        await port.stopListening()
        connected = [side for side in forwarder.sides if side.transport is not None and not side.ended.called]
        for side in connected:
            side.transport.abortConnection()
        await gatherResults([side.ended for side in connected])
