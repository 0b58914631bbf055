"""The TCP port in memory: the real router behind it, a clock that is stepped, clients that read when told."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from comet.config import Config
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.factory import RespFactory
from comet.router import Router
from comet.store.memory import MemoryStore
from tests.fakes import SteppingClock
from tests.resp_reading import values


class SlowStore(MemoryStore):
    """Holds back while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.waiting: list[Deferred[None]] = []

    def append(self, *arguments: Any) -> Deferred[None]:
        stored = super().append(*arguments)
        if not self.slow:
            return stored
        answer: Deferred[None] = Deferred()
        self.waiting.append(answer)
        return answer


class Wire(StringTransport):
    """A transport whose other side reads when told."""

    full = False
    aborted = False
    half_closed = False

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        if self.full:
            assert self.producer is not None
            self.producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    @property
    def reading(self) -> bool:
        return bool(self.producerState == "producing")

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        data: bytes = self.value()  # type: ignore[no-untyped-call]
        self.clear()  # type: ignore[no-untyped-call]
        return data


class Port:
    """A TCP port, the router behind it, and connections to it."""

    def __init__(self, **settings: Any) -> None:
        self.config, self.metrics, self.clock = Config(**settings), Metrics(), SteppingClock()
        self.store = SlowStore()
        self.router = Router(self.config, self.store, self.metrics, self.clock)
        self.router.start()
        self.factory = RespFactory(self.router, self.config, self.metrics)

    def connect(self, version: int = 2) -> Client:
        client = Client(self)
        if version == 3:
            client.send("HELLO 3")
        return client

    def publish(self, *messages: tuple[str, bytes]) -> None:
        """Publish, and bring it to the subscribers."""
        self.router.publish([Draft(topic, payload) for topic, payload in messages])
        self.turn()

    def turn(self) -> None:
        """Run turns of the reactor until nothing is left to do at once."""
        while self.clock.step():
            continue


class Connectable(Protocol):
    """What there are connections to."""

    @property
    def factory(self) -> RespFactory:
        """Makes them."""


class Client:
    """One connection."""

    def __init__(self, port: Connectable, wire: Wire | None = None, *, announced: bool = False) -> None:
        self.wire: Wire = wire or Wire()  # type: ignore[no-untyped-call]
        self._protocol = port.factory.buildProtocol(None)
        self._protocol.announced = announced
        self._protocol.makeConnection(self.wire)  # type: ignore[no-untyped-call]

    def send(self, *lines: str) -> list[Any]:
        """Send commands in one packet; return what is here by then."""
        self._protocol.dataReceived("".join(f"{line}\r\n" for line in lines).encode())
        return self.arrived()

    def arrived(self) -> list[Any]:
        """What has come since the last time."""
        return values(self.wire.taken())

    def stop_reading(self) -> None:
        self.wire.full = True

    def read(self) -> list[Any]:
        """Read what has come, and have room for as much again."""
        found = self.arrived()
        self._protocol.resumeProducing()
        return found

    def half_close(self) -> None:
        self._protocol.readConnectionLost()

    def lose(self) -> None:
        self._protocol.connectionLost(Failure(ConnectionDone()))
