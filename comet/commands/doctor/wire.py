"""Connections, looked at with plain sockets: all of them in one loop, so that each byte is stamped when it comes.

The trap: TLS has bytes ready that the socket no longer shows, so a connection is read until it has nothing more.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from comet.commands.arguments import reason
from comet.commands.doctor.responses import Unreadable
from comet.commands.doctor.target import Target

CONNECT = 3.0
"""Seconds that a connection, its TLS included, may take."""

ANSWER = 5.0
"""Seconds that an answer may take: HAProxy takes three to say that Comet is down."""

_CHUNK = 65_536
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Unreachable(Exception):
    """Nobody is there, or nobody who speaks what the URL says. ``mend`` says what to try."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Trust:
    """How a certificate is checked: against ``ca`` if that names a file, not at all if ``verified`` is not set."""

    ca: str | None = None
    verified: bool = True

    def context(self, *protocols: str) -> ssl.SSLContext:
        """What TLS is spoken with; ``protocols`` are offered by ALPN (RFC 7301)."""
        context = ssl.create_default_context(cafile=self.ca)
        if not self.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols))
        return context


class Reader(Protocol):
    """What makes sense of the bytes of a connection."""

    complete: bool

    def feed(self, data: bytes, now: float) -> None:
        """Take what came. Raises :exc:`~comet.commands.doctor.responses.Unreadable`."""

    def end(self, now: float) -> None:
        """Take that nothing more will come."""


R_co = TypeVar("R_co", bound=Reader, covariant=True)


class Conversation(Generic[R_co]):
    """A connection and what is read from it. ``trouble`` says in words what ended it, if something did."""

    def __init__(self, connection: socket.socket, reader: R_co) -> None:
        self.connection = connection
        self.reader = reader
        self.sent_at = 0.0
        self.trouble = ""

    def ask(self, request: bytes) -> None:
        """Send ``request``, and note when."""
        self.sent_at = time.monotonic()
        self.say(request)

    def say(self, data: bytes) -> None:
        """Send ``data``, which is small."""
        try:
            self.connection.settimeout(ANSWER)
            self.connection.sendall(data)
            self.connection.setblocking(False)
        except OSError as error:
            self._ended(reason(error))

    def receive(self) -> None:
        """Read what is there."""
        while not self.reader.complete:
            try:
                data = self.connection.recv(_CHUNK)
            except _WAIT:
                return
            except OSError as error:
                self._ended(reason(error))
                return
            now = time.monotonic()
            if not data:
                self._ended("")
                return
            try:
                self.reader.feed(data, now)
            except Unreadable:
                self._ended("what came is not HTTP/1.1")
                return

    def close(self) -> None:
        """Leave."""
        self.connection.close()

    def _ended(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble
        self.reader.end(time.monotonic())


def connect(target: Target, trust: Trust, *protocols: str) -> socket.socket:
    """Return a connection on which ``target`` can be spoken to. Raises :exc:`Unreachable`, and
    :exc:`ssl.SSLCertVerificationError` for a certificate that is not to be trusted."""
    try:
        plain = socket.create_connection((target.host, target.port), timeout=CONNECT)
    except socket.gaierror as error:
        raise Unreachable(
            f"the name {target.host} is not known: {reason(error)}", "check the name, and that DNS has it"
        ) from None
    except OSError as error:
        raise Unreachable(f"{target.host}:{target.port}: {reason(error)}", _nobody(error)) from None
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.scheme == "http":
        return plain
    return _secured(plain, target, trust.context(*(protocols or ("http/1.1",))))


def _secured(plain: socket.socket, target: Target, context: ssl.SSLContext) -> socket.socket:
    try:
        return context.wrap_socket(plain, server_hostname=target.name())
    except ssl.SSLCertVerificationError:
        plain.close()
        raise
    except OSError as error:
        plain.close()
        said = getattr(error, "reason", None) or reason(error)
        mend = "look into the log of what listens there; openssl s_client -connect shows more"
        if said == "WRONG_VERSION_NUMBER":
            said, mend = "what answers is no TLS", "if this port speaks plain HTTP, write http:// in the URL"
        if isinstance(error, TimeoutError):
            said = f"nothing came within {CONNECT:g} s"
        raise Unreachable(f"{target.host}:{target.port}: TLS fails: {said}", mend) from None


def _nobody(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "a firewall drops the packets, or the address is wrong: try it from the server itself"
    return "start what is to listen there (the proxy, or the daemon with comet serve), or correct the URL"


def listen(conversations: Iterable[Conversation[Reader]], until: Callable[[], bool], seconds: float) -> None:
    """Read from all until ``until`` is true or nothing can come any more, for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in conversations:
            each.receive()
            if not each.reader.complete:
                selector.register(each.connection, selectors.EVENT_READ, each)
        while selector.get_map() and not until() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                key.data.receive()
                if key.data.reader.complete:
                    selector.unregister(key.fileobj)
