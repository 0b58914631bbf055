"""Writers: a held response, seen from the router and from its connection.

Once a response has begun, neither the request nor the HTTP channel is needed (6.4 KB a stream become 1.9 KB): one small
object takes the channel's place as the transport's protocol. It notices the client leaving, and it drops a client that
sends anything more: behind 16 KiB of pipelined bytes twisted.web would stop reading and never see the client go.

:class:`DirectWriter` sends to a plain socket itself, because ``transport.write`` costs two ``epoll_ctl`` and a turn of
the reactor each time. It keeps what a short write left over, as a view of the shared block, and has the transport tell
it of room by being its pull producer. :class:`BufferedWriter` is for TLS and whatever else is no plain socket.
:class:`AnswerWriter` answers a long poll on a connection that its HTTP channel keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from comet.audience import Subscription
from comet.config import Config
from comet.metrics import HTTP
from comet.router import Router
from comet.sockets import bound


def peer_of(transport: Any) -> str:
    """The client's address, as people write it."""
    peer = transport.getPeer()
    if hasattr(peer, "port"):
        return f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"
    return "unix"


def descriptor_of(transport: Any) -> int:
    """The descriptor of a plain socket with nothing left to send, to which bytes may go directly; else -1.

    What the transport still holds (the end of an earlier answer on a kept connection) must go first. Twisted has no
    public way to ask; a test holds these attributes.
    """
    if not isinstance(transport, Connection) or getattr(transport, "TLS", False):
        return -1
    if len(transport.dataBuffer) > transport.offset or transport._tempDataBuffer:
        return -1
    descriptor: int = transport.fileno()
    return descriptor


def send(transport: Any, descriptor: int, data: bytes) -> None:
    """Write ``data``: as much as may be directly to ``descriptor``, if that is one, and what is left to
    ``transport``, which takes a turn of the reactor longer."""
    sent = 0
    if descriptor >= 0:
        try:
            sent = os.write(descriptor, data)
        except OSError:
            pass  # full, or broken, which the transport will find out
    if sent != len(data):
        transport.write(data[sent:])


def make_writer(transport: Any, router: Router, config: Config) -> DirectWriter | BufferedWriter:
    """Return the writer that fits ``transport``, whose kernel buffer it bounds: a reader that never reads would
    otherwise hold 2.7 MiB before anybody notices."""
    bound(transport, config)
    return BufferedWriter(transport, router) if descriptor_of(transport) < 0 else DirectWriter(transport, router)


class StreamWriter:
    """What the writers of a held stream share: they are the transport's protocol.

    A transport whose client may speak sets ``received``, which is given its bytes, and none when it has gone;
    ``when_drained``, which is called once what was written is sent; and ``farewell``, which is written when the daemon
    ends the stream.
    """

    __slots__ = (
        "_ending",
        "address",
        "descriptor",
        "farewell",
        "received",
        "router",
        "subscription",
        "transport",
        "when_drained",
    )

    def __init__(self, transport: Any, router: Router) -> None:
        self.transport = transport
        self.router = router
        self.descriptor = -1
        self.address = ""
        self.subscription: Subscription | None = None
        self.received: Callable[[bytes], None] | None = None
        self.when_drained: Callable[[], None] | None = None
        self.farewell = b""
        self._ending = False

    def dataReceived(self, data: bytes) -> None:
        self.router.metrics.received_bytes[HTTP] += len(data)
        if self.received is not None:
            self.received(data)
            return
        self.router.metrics.intruded += 1
        if self.subscription is not None:
            self.router.gone(self.subscription)
        self.abort()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        self.router.metrics.http_connections -= 1
        self.router.limits.disconnected(self.address)
        if self.received is not None:
            self.received(b"")
        self.received = self.when_drained = None
        if self.subscription is not None:
            self.router.gone(self.subscription)

    def abort(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        self.transport.abortConnection()

    def peer(self) -> str:
        """See :class:`~comet.interfaces.Writer`."""
        return peer_of(self.transport)

    def _drained(self) -> None:
        if self._ending:
            self.transport.loseConnection()
        elif self.subscription is not None:
            self.router.drained(self.subscription)
        if self.when_drained is not None:
            self.when_drained()


class DirectWriter(StreamWriter):
    """Sends to a plain socket; the transport serves to notice room and the client's leaving."""

    __slots__ = ("_pulled", "_rest")

    def __init__(self, transport: Connection, router: Router) -> None:
        super().__init__(transport, router)
        self.descriptor = transport.fileno()
        self._rest: memoryview | None = None
        self._pulled = False

    def write(self, data: bytes, sent: int = 0) -> bool:
        """See :class:`~comet.interfaces.Writer`."""
        if self._rest is not None:
            self._rest = memoryview(bytes(self._rest) + data[sent:])
            return False
        rest = memoryview(data)[sent:] if sent else memoryview(data)
        return self._send(rest)

    def wait(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        if not self._pulled:
            # A pull producer is called at once, which means nothing yet, and then each time the socket has room.
            self.transport.registerProducer(self, False)
            self._pulled = True
        self.transport.startWriting()

    def finish(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        if self.farewell:
            self.write(self.farewell)
        self._ending = True
        if not self._pulled:
            self.transport.loseConnection()

    def resumeProducing(self) -> None:
        if not self._pulled:
            return
        rest, self._rest = self._rest, None
        if rest is None or self._send(rest):
            self._pulled = False
            self.transport.unregisterProducer()
            self._drained()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""

    def _send(self, rest: memoryview) -> bool:
        try:
            sent = os.write(self.descriptor, rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.wait()  # broken: the reactor says so, but only of what it watches, and perhaps nobody reads
            return False
        if sent == len(rest):
            return True
        self._rest = rest[sent:]
        if sent and self.subscription is not None:
            self.router.progressed(self.subscription)
        self.wait()
        return False


class BufferedWriter(StreamWriter):
    """Writes through the transport, which says when its buffer is too full."""

    __slots__ = ("_paused",)

    def __init__(self, transport: Any, router: Router) -> None:
        super().__init__(transport, router)
        self._paused = False
        transport.registerProducer(self, True)

    def write(self, data: bytes, sent: int = 0) -> bool:
        """See :class:`~comet.interfaces.Writer`."""
        self.transport.write(data[sent:] if sent else data)
        return not self._paused

    def wait(self) -> None:
        """See :class:`~comet.interfaces.Writer`: a full buffer has said so already, and will say that it has room."""

    def finish(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        self.transport.write(self.farewell)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._drained()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""


class AnsweringChannel(Protocol):
    """The part of the HTTP channel that a held poll needs."""

    transport: Any

    def answer_done(self) -> None:
        """The response is written: go on with the connection, in a later turn."""


class AnswerWriter:
    """One response of known length, on a connection that goes on with the next request."""

    __slots__ = ("_channel", "descriptor", "router", "subscription")

    def __init__(self, channel: AnsweringChannel, router: Router) -> None:
        self._channel = channel
        self.router = router
        self.descriptor = descriptor_of(channel.transport)
        self.subscription: Subscription | None = None

    def write(self, data: bytes, sent: int = 0) -> bool:
        """See :class:`~comet.interfaces.Writer`."""
        send(self._channel.transport, -1 if sent else self.descriptor, data[sent:] if sent else data)
        return True

    def wait(self) -> None:
        raise AssertionError("an answer is written once")

    def finish(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        self._channel.answer_done()

    def abort(self) -> None:
        """See :class:`~comet.interfaces.Writer`."""
        self._channel.transport.abortConnection()

    def peer(self) -> str:
        """See :class:`~comet.interfaces.Writer`."""
        return peer_of(self._channel.transport)

    def lost(self) -> None:
        """The client has gone."""
        if self.subscription is not None:
            self.router.gone(self.subscription)
