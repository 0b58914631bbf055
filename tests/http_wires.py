"""The HTTP face from the outside: wires in memory and real ones, and a strict reader of what the daemon answers.

Not named after the standard library's ``http``, which it would hide from every other test.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import msgspec
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from comet.config import Config
from comet.consumers import Consumers
from comet.hooks.hooks import Hooks
from comet.metrics import Metrics
from comet.router import Router
from comet.web.site import CometSite, make_site
from tests.fakes import EPOCH, FakeStore, access_of

reactor: Any = _reactor

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\x20-\x7e]+)")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")


def get(target: str, *lines: str, version: str = "1.1", host: str | None = "localhost") -> bytes:
    """The bytes of a GET."""
    return asking("GET", target, *lines, version=version, host=host)


def post(target: str, body: bytes, *lines: str) -> bytes:
    """The bytes of a POST."""
    return asking("POST", target, f"Content-Length: {len(body)}", *lines) + body


def asking(method: str, target: str, *lines: str, version: str = "1.1", host: str | None = "localhost") -> bytes:
    """The head of a request."""
    named = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *named, *lines, "", ""]).encode()


# -- what the daemon answers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """One response. Header names are in lower case, and each is there once."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a refusal, which must be a problem document in every respect."""
        assert self.headers["content-type"] == "application/problem+json", self
        document = self.json()
        assert set(document) == {"type", "title", "status", "code", "detail"}
        assert document["status"] == self.status
        assert document["title"] == self.reason
        assert document["detail"]
        assert "Traceback" not in document["detail"]
        return str(document["code"])

    def json(self) -> Any:
        """The body, which is JSON."""
        return msgspec.json.decode(self.body)


def read_head(data: bytes) -> tuple[Response, bytes]:
    """Read the head of a response; returns it without its body, and what follows."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"not a whole head: {data!r}"
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    assert status is not None, first
    headers: dict[str, str] = {}
    for line in lines:
        field = _LINE.fullmatch(line)
        assert field is not None, line
        name = field[1].decode().lower()
        assert name not in headers, f"{name} twice"
        headers[name] = field[2].decode()
    return Response(int(status[1]), status[2].decode(), headers, b""), rest


def read_response(data: bytes, method: str = "GET") -> tuple[Response, bytes]:
    """Read a response to ``method`` that says how long it is; returns it and what follows."""
    response, rest = read_head(data)
    assert "transfer-encoding" not in response.headers
    if response.status < 200 or response.status == 204:
        assert "content-length" not in response.headers
        return response, rest
    length = int(response.headers["content-length"])
    if method == "HEAD":
        return response, rest
    assert len(rest) >= length, f"{len(rest)} bytes of {length}"
    return Response(response.status, response.reason, response.headers, rest[:length]), rest[length:]


def read_responses(data: bytes) -> list[Response]:
    """Read responses that follow each other, and nothing else."""
    responses = []
    while data:
        response, data = read_response(data)
        responses.append(response)
    return responses


# -- in memory --------------------------------------------------------------------------------------------------------


class Wire:
    """One connection in memory, as the daemon's transport and as its client sees it.

    What the client sends while the daemon does not read waits, as it would in the kernel; and while the client does not
    read, the daemon's transport is full. ``closed`` says how the daemon has ended it, if it has.
    """

    def __init__(self, clock: Clock, host: str = "127.0.0.1") -> None:
        self._clock = clock
        self._host = host
        self._in = b""
        self._out = bytearray()
        self._reads = True
        self._takes = True
        self._gone = False
        self._producer: Any = None
        self.closed = ""
        self.protocol: Any = None

    # What the client does.

    def send(self, data: bytes) -> None:
        """Send ``data``, and let the daemon do what follows from it."""
        self._in += data
        self._bring()
        self._clock.advance(0)

    def take(self) -> bytes:
        """What came since the last time."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def ask(self, data: bytes) -> Response:
        """Send a request and take its whole answer."""
        self.send(data)
        response, rest = read_response(self.take(), data.split(b" ")[0].decode())
        assert not rest
        return response

    def leave(self) -> None:
        """Close the connection."""
        self._lose(ConnectionDone())
        self._clock.advance(0)

    def stall(self) -> None:
        """Read no more: from now on, what is written is too much."""
        self._takes = False

    def resume(self) -> None:
        """Read again."""
        self._takes = True
        self.drain()

    def drain(self) -> None:
        """Read what was written, and no more if the client has stalled."""
        if self._producer is not None:
            self._producer.resumeProducing()
        self._clock.advance(0)

    @property
    def is_read(self) -> bool:
        """Whether the daemon reads, and so would notice the client's leaving."""
        return self._reads and not self._gone

    @property
    def unread(self) -> int:
        """How many bytes the daemon has not wanted yet."""
        return len(self._in)

    # What the daemon does.

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self.closed:
            return
        self._out += data
        if not self._takes and self._producer is not None:
            self._producer.pauseProducing()

    def writeSequence(self, data: Sequence[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self.closed:
            self.closed = "closed"
            self._reads = False
            self._clock.callLater(0, self._lose, ConnectionDone())

    def loseWriteConnection(self) -> None:
        if not self.closed:
            self.closed = "half"

    def abortConnection(self) -> None:
        if self.closed != "aborted" and not self._gone:
            self.closed = "aborted"
            self._reads = False
            self._clock.callLater(0, self._lose, ConnectionAborted())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self._producer is None, "there is a producer already"
        self._producer = producer
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        if self.closed in ("", "half"):
            self._reads = True
            self._clock.callLater(0, self._bring)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 50000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self._host, 7080)

    def _bring(self) -> None:
        if self._in and self._reads and not self._gone:
            data, self._in = self._in[:65_536], self._in[65_536:]
            self.protocol.dataReceived(data)
            self._bring()

    def _lose(self, reason: Exception) -> None:
        if not self._gone:
            self._gone = True
            self.protocol.connectionLost(Failure(reason))


class Face:
    """The HTTP face of a daemon in memory, with all that stands behind it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000)
        self.metrics = Metrics()
        self.store = FakeStore()
        self.router, self.site = made(Config(**settings), self.store, self.metrics, self.clock)
        self.site.startFactory()

    def connect(self, host: str = "127.0.0.1") -> Wire:
        """Open a connection to the daemon's address ``host``."""
        wire = Wire(self.clock, host)
        wire.protocol = self.site.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        return wire

    def ask(self, data: bytes) -> Response:
        """Make a request on a connection of its own, and return its whole answer."""
        wire = self.connect()
        answer = wire.ask(data)
        wire.leave()
        return answer

    def held(self, data: bytes) -> Wire:
        """Make a request that is held."""
        wire = self.connect()
        wire.send(data)
        return wire

    def publish(self, topic: str, payload: bytes, *lines: str) -> Response:
        """Publish over HTTP, and let it be brought to its subscribers."""
        return self.ask(post(f"/topics/{topic}", payload, *lines))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in the steps in which the daemon looks around."""
        self.clock.pump([0.25] * round(seconds * 4))

    def left_behind(self) -> dict[str, Any]:
        """What there still is that only open connections need."""
        return left_behind(self.router, self.site)


def made(config: Config, store: FakeStore, metrics: Metrics, clock: Any) -> tuple[Router, CometSite]:
    """A started router, and the site before it."""
    router = Router(config, store, metrics, clock, clock.seconds)
    router.start()
    consumers = Consumers(router)
    hooks = Hooks(router, consumers, clock)
    return router, make_site(router, consumers, hooks, access_of(router, clock), clock)


def left_behind(router: Router, site: CometSite) -> dict[str, Any]:
    """What a router and a site keep for the connections there are."""
    found = {
        "streams": router.streams,
        "audiences": list(router._turns.audiences),
        "readers": router._turns._readers,
        "stuck": router._waits._stuck,
        "waits": [waits for waits in router._waits._polls.values() if waits],
        "deadlines": site._deadlines,
        "bodies": router.limits.bodies.taken,
        "partings": [*router.limits.partings],
    }
    return {name: value for name, value in found.items() if value}


def position(offset: int) -> str:
    """The position of ``offset`` in the log of these tests."""
    return f"{EPOCH}-{offset}"


# -- on real sockets --------------------------------------------------------------------------------------------------


class Client:
    """A client on a real socket, which reads when told."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.data = b""
        self.ended = False

    async def connected(self) -> Client:
        """Wait until the kernel has connected it."""
        await until(lambda: self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and self._has_peer())
        return self

    def send(self, data: bytes) -> int:
        """Send what the kernel takes of ``data``; returns how much."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def read(self, most: int = 1 << 20) -> bytes:
        """All that has come so far, with what is there now."""
        try:
            while most > 0 and not self.ended:
                data = self.socket.recv(min(most, 65_536))
                self.ended = not data
                self.data += data
                most -= len(data)
        except BlockingIOError:
            pass
        return self.data

    def has(self, data: bytes) -> Callable[[], bool]:
        """A condition: that ``data`` has come."""
        return lambda: data in self.read()

    def _has_peer(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return False
        return True


class Served:
    """A daemon's HTTP face on a real socket and the real reactor."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = Metrics()
        self.store = FakeStore()
        self.router, self.site = made(Config(**settings), self.store, self.metrics, reactor)
        self.port: Any = None
        self.client_class = Client
        self._clients: list[Client] = []

    async def client(self, data: bytes = b"", receive_buffer: int = 0) -> Client:
        """Connect a client that sends ``data``."""
        client = self.client_class(self.port.getHost().port, receive_buffer)
        self._clients.append(client)
        await client.connected()
        client.send(data)
        return client

    async def freed(self) -> None:
        """Wait until nothing is left of any connection: no state, and no socket in the reactor."""
        await until(lambda: not left_behind(self.router, self.site) and not self.sockets())

    def sockets(self) -> list[Any]:
        """The daemon's ends of the connections that the reactor watches."""
        watched = {*reactor.getReaders(), *reactor.getWriters()}
        return [each for each in watched if isinstance(each, Server)]

    async def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.socket.close()
        await until(lambda: not self.sockets())
        await self.port.stopListening()
        await self.router.stop()


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Served]:
    """A daemon's HTTP face on the loopback, until the block ends."""
    face = Served(**settings)
    face.port = reactor.listenTCP(0, face.site, interface="127.0.0.1")
    try:
        yield face
    finally:
        await face.close()


async def until(condition: Callable[[], bool], most: float = 10.0) -> None:
    """Let the reactor run until the condition holds; fail if that takes more than ``most`` seconds."""
    end = monotonic() + most
    while not condition():
        assert monotonic() < end, "it never came true"
        await deferLater(reactor, 0.001, lambda: None)
