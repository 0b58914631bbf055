"""Writers: the bytes of a held response, on sockets that take what they are told to."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure

from comet.config import Config
from comet.limits.limits import Limits
from comet.message import Draft
from comet.metrics import Metrics
from comet.web.writer import AnswerWriter, BufferedWriter, DirectWriter, descriptor_of, make_writer, peer_of
from tests.http_wires import (
    Client,
    Face,
    Wire,
    asking,
    get,
    left_behind,
    position,
    reactor,
    read_head,
    read_response,
    served,
    until,
)

BLOCK = bytes(range(256)) * 4096
"""A MiB in which no two neighbours are equal."""


class Told:
    """The part of the router that writers tell things."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.limits = Limits(Config(), self.metrics, Clock())
        self.calls: list[str] = []

    def drained(self, subscription: object) -> None:
        self.calls.append("drained")

    def progressed(self, subscription: object) -> None:
        """Not what these tests are about."""

    def gone(self, subscription: object) -> None:
        self.calls.append("gone")


class Memory(MemoryReactor):
    """A reactor that notes what it is to do later."""

    def __init__(self, calls: list[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls

    def callLater(self, delay: float, call: Any, *args: Any) -> None:
        self._calls.append((call, args))


class Near(Connection):
    """The daemon's end of a socket pair. It sends when told to, as the reactor would tell it."""

    def __init__(self, near: socket.socket) -> None:
        self.calls: list[Any] = []
        self.memory = Memory(self.calls)
        super().__init__(near, Protocol(), self.memory)
        self.connected = 1

    @property
    def wants_room(self) -> bool:
        """Whether the reactor would tell it of room."""
        return self in self.memory.getWriters()  # type: ignore[no-untyped-call]

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.7", 50000)


class Pair:
    """A writer's transport, and the client's end of it."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.transport = Near(near)
        self.router: Any = Told()

    def direct(self) -> DirectWriter:
        """A writer of a stream, subscribed."""
        writer = make_writer(self.transport, self.router, Config(send_buffer=4096))
        assert isinstance(writer, DirectWriter)
        subscription: Any = object()
        writer.subscription = subscription
        self.transport.protocol = writer
        return writer

    def read(self) -> bytes:
        """What the client can read now."""
        data = bytearray()
        while True:
            try:
                piece = self.far.recv(1 << 20)
            except BlockingIOError:
                return bytes(data)
            if not piece:
                return bytes(data)
            data += piece

    def read_all(self) -> bytes:
        """What the client reads while the reactor tells the transport of room, as long as it wants to know."""
        data = self.read()
        while self.transport.wants_room:
            ended = self.transport.doWrite()
            data += self.read()
            if ended is not None:
                self.transport.connectionLost(_reason(ended))
        return data

    def fill(self) -> int:
        """Fill the socket; returns with how many bytes."""
        filled = 0
        try:
            while True:
                filled += os.write(self.transport.fileno(), b"\0")
        except BlockingIOError:
            return filled


def _reason(error: Any) -> Any:
    return Failure(error)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.far.close()
    if hasattr(pair.transport, "socket"):
        pair.transport.socket.close()


# -- which writer -----------------------------------------------------------------------------------------------------


def test_the_transport_says_what_it_has_not_sent(pair: Pair) -> None:
    """Twisted keeps what waits to be sent in the attributes that the writers look at, at each stage of sending."""
    transport = pair.transport
    assert descriptor_of(transport) == transport.fileno()
    assert (transport.dataBuffer, transport.offset, transport._tempDataBuffer) == (b"", 0, [])
    transport.write(BLOCK)
    assert transport._tempDataBuffer == [BLOCK]
    assert descriptor_of(transport) == -1
    transport.doWrite()
    assert transport._tempDataBuffer == []
    assert transport.dataBuffer == BLOCK
    assert 0 < transport.offset < len(BLOCK)
    assert descriptor_of(transport) == -1
    assert pair.read_all() == BLOCK
    assert (transport.dataBuffer, transport.offset, transport._tempDataBuffer) == (b"", 0, [])
    assert descriptor_of(transport) == transport.fileno()


def test_only_a_plain_socket_is_written_to_directly(pair: Pair) -> None:
    """TLS, and what is no socket at all, must encode or keep the bytes itself."""
    assert descriptor_of(Wire(Face().clock)) == -1
    pair.transport.TLS = True
    assert descriptor_of(pair.transport) == -1


def test_what_the_transport_holds_goes_first(pair: Pair) -> None:
    """The end of an earlier answer on the connection is not overtaken by the stream that follows it."""
    pair.transport.write(BLOCK)
    writer = make_writer(pair.transport, pair.router, Config())
    assert isinstance(writer, BufferedWriter)
    writer.write(b"stream")
    assert pair.read_all() == BLOCK + b"stream"


def test_the_send_buffer_is_bounded() -> None:
    """For each kind of writer: a client that never reads holds little of the kernel's memory, and not for ever."""
    for leftover in (b"", b"x"):
        pair = Pair()
        pair.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        pair.transport.write(leftover)
        make_writer(pair.transport, pair.router, Config(send_buffer=8192))
        assert pair.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 8192
        pair.far.close()
        pair.transport.socket.close()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "192.0.2.7", 50000), "192.0.2.7:50000"),
        (IPv6Address("TCP", "2001:db8::1", 50000), "[2001:db8::1]:50000"),
        (UNIXAddress(b"/tmp/x"), "unix"),
        (UNIXAddress(None), "unix"),
    ],
)
def test_the_peer_is_told_as_people_write_it(address: Any, text: str) -> None:
    """Address and port; a UNIX socket's client has none."""

    class Transport:
        def getPeer(self) -> Any:
            return address

    assert peer_of(Transport()) == text


# -- direct -----------------------------------------------------------------------------------------------------------


def test_a_block_that_fits_is_sent_at_once(pair: Pair) -> None:
    """Without the reactor."""
    writer = pair.direct()
    assert writer.write(b"abc")
    assert writer.write(b"xxdef", 2)
    assert pair.read() == b"abcdef"
    assert not pair.transport.wants_room
    assert writer.peer() == "192.0.2.7:50000"


def test_the_rest_of_a_short_write_is_kept_without_a_copy(pair: Pair) -> None:
    """Ten thousand slow clients of one block keep that block, not ten thousand."""
    writer = pair.direct()
    assert not writer.write(BLOCK)
    assert writer._rest is not None
    assert writer._rest.obj is BLOCK
    assert pair.router.calls == []
    assert pair.read_all() == BLOCK
    assert pair.router.calls == ["drained"]
    assert not pair.transport.wants_room
    assert writer.write(b"more")
    assert pair.read() == b"more"


def test_what_the_kernel_has_taken_before_is_not_sent_again(pair: Pair) -> None:
    """The router's own send took a part; the rest follows."""
    writer = pair.direct()
    sent = os.write(writer.descriptor, BLOCK)
    assert not writer.write(BLOCK, sent)
    assert pair.read_all() == BLOCK


def test_writes_behind_a_rest_keep_their_order(pair: Pair) -> None:
    """Controls and farewells come behind what is kept."""
    writer = pair.direct()
    assert not writer.write(BLOCK)
    assert not writer.write(b"second")
    assert not writer.write(b"third")
    assert pair.read_all() == BLOCK + b"secondthird"
    assert pair.router.calls == ["drained"]


def test_a_full_socket_takes_nothing_and_loses_nothing(pair: Pair) -> None:
    """The first byte too waits for room."""
    writer = pair.direct()
    filled = pair.fill()
    assert not writer.write(b"abc")
    assert pair.read_all() == b"\0" * filled + b"abc"
    assert pair.router.calls == ["drained"]


def test_room_is_told_once(pair: Pair) -> None:
    """A writer that waits without keeping anything is told of room, later and once."""
    writer = pair.direct()
    pair.fill()
    writer.wait()
    writer.wait()
    assert pair.router.calls == []
    pair.read_all()
    assert pair.router.calls == ["drained"]
    writer.wait()
    pair.read_all()
    assert pair.router.calls == ["drained", "drained"]


def test_a_stream_ends_behind_what_was_written(pair: Pair) -> None:
    """Its client reads everything, the farewell last, and then the end."""
    writer = pair.direct()
    writer.farewell = b"bye"
    assert not writer.write(BLOCK)
    writer.finish()
    assert not pair.transport.disconnecting
    assert pair.read_all() == BLOCK + b"bye"
    assert pair.router.calls == ["gone"]
    assert pair.far.recv(1) == b""


def test_a_stream_of_which_all_was_sent_ends_at_once(pair: Pair) -> None:
    """Without a farewell there is nothing to wait for."""
    writer = pair.direct()
    writer.write(b"abc")
    writer.finish()
    assert pair.read_all() == b"abc"
    assert pair.far.recv(1) == b""


def test_a_broken_socket_takes_nothing(pair: Pair) -> None:
    """The client has gone, and the reactor is about to say so: no error meanwhile."""
    writer = pair.direct()
    pair.far.close()
    assert not writer.write(b"abc")
    assert not writer.write(b"abc")


def test_aborting_drops_what_was_kept(pair: Pair) -> None:
    """And what is left of the connection is told once."""
    writer = pair.direct()
    writer.write(BLOCK)
    writer.abort()
    assert not pair.transport.wants_room
    ((call, args),) = pair.transport.calls
    call(*args)
    assert pair.router.calls == ["gone"]
    assert len(pair.read()) < len(BLOCK)


def test_a_client_that_sends_is_dropped(pair: Pair) -> None:
    """The router forgets it at once."""
    writer = pair.direct()
    writer.dataReceived(b"x")
    assert pair.router.calls == ["gone"]
    assert pair.router.metrics.intruded == 1
    assert pair.transport._aborting


# -- answers ----------------------------------------------------------------------------------------------------------


class Channel:
    """The part of a channel that an answer needs."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.done = 0

    def answer_done(self) -> None:
        self.done += 1


@pytest.mark.parametrize("size", [10, len(BLOCK)])
@pytest.mark.parametrize("sent", [0, 5])
def test_an_answer_is_written_whole(pair: Pair, size: int, sent: int) -> None:
    """What the kernel does not take is the transport's to send."""
    channel = Channel(pair.transport)
    writer = AnswerWriter(channel, pair.router)
    os.write(writer.descriptor, BLOCK[:sent])
    assert writer.write(BLOCK[:size], sent)
    writer.finish()
    assert channel.done == 1
    assert pair.read_all() == BLOCK[:size]


def test_an_answer_waits_for_the_one_before(pair: Pair) -> None:
    """On a connection whose earlier answer is not sent yet."""
    pair.transport.write(BLOCK)
    writer = AnswerWriter(Channel(pair.transport), pair.router)
    assert writer.descriptor == -1
    writer.write(b"second")
    assert pair.read_all() == BLOCK + b"second"


def test_an_answer_to_nobody_is_no_error(pair: Pair) -> None:
    """The transport will find out."""
    writer = AnswerWriter(Channel(pair.transport), pair.router)
    pair.far.close()
    assert writer.write(b"abc")
    assert pair.transport.wants_room


# -- over a real reactor ----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("pipelined", [False, True])
async def test_a_slow_reader_gets_everything_in_order(pipelined: bool) -> None:
    """A client with a small window, which reads in between, has each message once, and other clients do not wait."""
    async with served(send_buffer=4096) as face:
        first = get("/topics/a?since=first&wait=0") if pipelined else b""
        slow = await face.client(first, receive_buffer=4096)
        if pipelined:
            await until(slow.has(b"messages"))
        start = len(slow.data)
        slow.send(get("/topics/a?transport=stream"))
        quick = await face.client(get("/topics/a?transport=stream"))
        await until(lambda: len(face.router.streams) == 2)
        end = b'"topic":"a","time":'
        for number in range(200):
            await face.router.publish([_draft(number)])
            await until(lambda: b"%05d" % number in quick.read()[-20_000:], 5)  # noqa: B023
            slow.read(1000)
        assert face.metrics.slow > 0
        await until(lambda: slow.read().count(end) == 200)
        for client, skip in ((slow, start), (quick, 0)):
            _, body = read_head(client.data[skip:])
            numbers = [int(line.split(b'"data":"')[1][:5]) for line in body.splitlines() if end in line]
            assert numbers == list(range(200))


def _draft(number: int) -> Any:
    return Draft("a", b"%05d" % number + b"x" * 10_000)


@pytest_twisted.ensureDeferred
async def test_a_large_answer_is_read_slowly() -> None:
    """A poll whose answer does not fit into the socket, and a second one behind it."""
    async with served() as face:
        await face.router.publish([Draft("a", b"x" * (1 << 20))])
        client = await face.client(get("/topics/a?since=first") * 2 + get("/topics/a?wait=0"), receive_buffer=4096)
        await until(lambda: client.read(65_536).count(b'"next"') == 3)
        rest = client.data
        for _ in range(3):
            answer, rest = read_response(rest)
            assert answer.json()["next"] == position(1)
        assert not rest


@pytest_twisted.ensureDeferred
async def test_an_ended_stream_whose_client_never_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon has nothing more to say to it; what it does not take is given up in the end."""
    monkeypatch.setattr("comet.sockets.KERNEL_LATER", 0.1)
    async with served(stall=0.3, send_buffer=4096) as face:
        client = await face.client(get("/topics/a?transport=stream"), receive_buffer=4096)
        await until(lambda: len(face.router.streams) == 1)
        await face.router.publish([Draft("a", b"x" * (1 << 20))])
        await until(lambda: bool(face.router._waits._stuck))
        (subscription,) = face.router.streams.values()
        face.router.end(subscription, "ended")
        assert not left_behind(face.router, face.site)
        await face.freed()
        assert not client.ended


class TlsClient(Client):
    """A client that speaks TLS and believes any certificate."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        super().__init__(port, receive_buffer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._context = context

    async def connected(self) -> TlsClient:
        await super().connected()
        secure = self._context.wrap_socket(self.socket, do_handshake_on_connect=False)
        self.socket = secure

        def shaken() -> bool:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

        await until(shaken)
        return self

    def read(self, most: int = 1 << 20) -> bytes:
        try:
            return super().read(most)
        except ssl.SSLWantReadError:
            return self.data


def certificate() -> CertificateOptions:
    """A new key, and a certificate that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return CertificateOptions(key, builder.sign(key, SHA256()))  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_over_tls_everything_is_the_same() -> None:
    """Streams in order, a refusal that can be read, the bounds of the socket beneath, and nobody left behind."""
    async with served(send_buffer=4096) as face:
        await face.port.stopListening()
        face.port = reactor.listenSSL(0, face.site, certificate(), interface="127.0.0.1")
        face.client_class = TlsClient
        slow = await face.client(get("/topics/a?transport=stream"), receive_buffer=4096)
        await until(lambda: len(face.router.streams) == 1)
        (subscription,) = face.router.streams.values()
        assert isinstance(subscription.writer, BufferedWriter)
        beneath = subscription.writer.transport.transport.socket
        assert beneath.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 4096
        for number in range(100):
            await face.router.publish([_draft(number)])
            await until(lambda: not face.router._turns._marked)
        assert face.metrics.slow > 0
        await until(lambda: slow.read().count(b'"topic":"a","time":') == 100)
        numbers = [int(piece[:5]) for piece in slow.data.split(b'"data":"')[1:]]
        assert numbers == list(range(100))

        refused = await face.client(asking("POST", "/topics/a", f"Content-Length: {1 << 30}"))
        for _ in range(100):
            refused.send(b"x" * 10_000)
        await until(refused.has(b"payload_too_large"))

        intruder = await face.client(get("/topics/a?transport=sse"))
        await until(intruder.has(b"open"))
        intruder.send(b"x")
        await until(lambda: face.metrics.intruded == 1)
        for client in (slow, refused):
            client.socket.close()
        await face.freed()
