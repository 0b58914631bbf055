"""A daemon's HTTP face in memory: a client's bytes go in, the daemon's come out."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from comet.config import Config
from comet.consumers import Consumers
from comet.drafts import draft
from comet.hooks.courier import Post
from comet.hooks.hooks import Hooks
from comet.metrics import Metrics
from comet.router import Router
from comet.web.site import make_site
from tests.fakes import FakeStore, access_of


class Wire(StringTransport):
    """One connection to the HTTP face: what the client sends, and what it has got."""

    io: io.BytesIO
    producer: Any

    clock: Clock
    protocol: Any = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""

    def send(self, data: bytes) -> None:
        """Send ``data``, and let the daemon do what it has put off."""
        self.protocol.dataReceived(data)
        self.clock.advance(0)

    def leave(self) -> None:
        """Close the connection from the client's side."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def fill(self) -> None:
        """Take no more bytes."""
        self.producer.pauseProducing()

    def drain(self) -> None:
        """Take bytes again."""
        self.producer.resumeProducing()
        self.clock.advance(0)

    def take(self) -> bytes:
        """What came since the last time."""
        data, self.io = self.io.getvalue(), io.BytesIO()
        return data


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. The names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Read the response that ``data`` is."""
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in lines)
        return cls(int(first.split()[1]), {name.lower(): value for name, value in fields}, body)

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


@dataclass
class Face:
    """The HTTP face of a daemon whose time is a :class:`~twisted.internet.task.Clock`."""

    config: Config = field(default_factory=Config)
    clock: Clock = field(default_factory=Clock)
    post: Post | None = None
    """What hooks post by."""

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.store = FakeStore()
        self.router = Router(self.config, self.store, self.metrics, self.clock, self.clock.seconds)
        self.router.start()
        self.consumers = Consumers(self.router)
        self.hooks = Hooks(self.router, self.consumers, self.clock, self.post)
        self.hooks.start()
        self.access = access_of(self.router, self.clock)
        self.site = make_site(self.router, self.consumers, self.hooks, self.access, self.clock)
        self.site.startFactory()

    def connect(self) -> Wire:
        """Open a connection."""
        here, there = IPv4Address("TCP", "127.0.0.1", 7080), IPv4Address("TCP", "127.0.0.1", 50000)
        wire = Wire(hostAddress=here, peerAddress=there)  # type: ignore[no-untyped-call]
        wire.clock = self.clock
        wire.protocol = self.site.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        return wire

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Make one request on a connection of its own. ``content_type`` is the header Content-Type."""
        wire = self.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        return Answer.parse(wire.take())

    def publish(self, topic: str, text: str) -> None:
        """Publish a text and bring it to its subscribers."""
        self.router.publish([draft(topic, text.encode(), largest=1 << 20)])
        self.clock.advance(0)
