"""HTTP/1.1 and HTTP/2 as a proxy speaks them, one response at a time: ``send``, then ``head``, then ``data`` until it
gives nothing more.

Strict where a proxy could do harm unseen: a chunk's size is checked against what comes, HTTP/2 is checked by ``h2``.
A WebSocket over HTTP/2 is an extended CONNECT (RFC 8441).
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from base64 import b64encode
from collections import deque
from typing import NamedTuple, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from tests.e2e.held import connected

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ ]*\r\n")


class Head(NamedTuple):
    """The status of a response and its header; names are in lower case."""

    status: int
    header: dict[str, str]


class Wire(Protocol):
    """One connection, on which one request follows the other."""

    socket: socket.socket

    def send(self, method: str, target: str, header: dict[str, str], body: bytes) -> None:
        """Send a request; ``header`` has ``Host``."""

    def send_websocket(self, target: str, header: dict[str, str]) -> None:
        """Ask for a WebSocket."""

    def head(self) -> Head:
        """Wait for the head of the response."""

    def data(self) -> bytes:
        """Wait for more of the body; empty when it is over."""

    def leave(self) -> None:
        """Go away while the response is held."""


def connect(address: str, ca: str | None, name: str, protocol: str) -> Wire:
    """A connection that speaks ``protocol`` (as ALPN names it), to the server ``name``; with TLS if ``ca`` is given."""
    plain = connected(address)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as browsers do
    if ca is None:
        assert protocol == "http/1.1", "HTTP/2 is for TLS"
        return Http1(plain)
    return shaken(plain, ca, name, protocol)


def shaken(plain: socket.socket, ca: str, name: str, protocol: str) -> Wire:
    """The same on a connection that is there already, after the handshake of TLS."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols([protocol])
    secured = context.wrap_socket(plain, server_hostname=name)
    if protocol == "h2":
        assert secured.selected_alpn_protocol() == "h2", "the proxy does not offer HTTP/2"
        return Http2(Connection2(secured))
    return Http1(secured)


class Http1:
    """RFC 9112, from the client's side."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._rest = b""
        self._left: int | None = 0
        self._chunked = False

    def send(self, method: str, target: str, header: dict[str, str], body: bytes) -> None:
        """See :class:`Wire`."""
        length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (header | length).items())
        self.socket.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def send_websocket(self, target: str, header: dict[str, str]) -> None:
        """See :class:`Wire`."""
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": b64encode(os.urandom(16)).decode()}
        self.send("GET", target, header | upgrade | key, b"")

    def head(self) -> Head:
        """See :class:`Wire`."""
        while b"\r\n\r\n" not in self._rest:
            more = self.socket.recv(65_536)
            assert more, f"the connection ended in the head: {self._rest!r}"
            self._rest += more
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        header = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        self._chunked = header.get("transfer-encoding") == "chunked"
        length = header.get("content-length")
        self._left = None if length is None or status == 101 else int(length)
        return Head(status, header)

    def data(self) -> bytes:
        """See :class:`Wire`."""
        if self._chunked:
            return self._chunk()
        if self._left == 0:
            return b""
        data, self._rest = self._rest or self.socket.recv(65_536), b""
        if self._left is not None:
            assert len(data) <= self._left, "more than Content-Length says"
            self._left -= len(data)
        return data

    def _chunk(self) -> bytes:
        """The next chunk, or as much of a cut one as came."""
        match = self._more_until(_CHUNK)
        if match is None:
            return b""
        size = int(match[1], 16)
        whole = match.end() + size + 2
        while len(self._rest) < whole:
            more = self.socket.recv(65_536)
            if not more:
                return b""
            self._rest += more
        data, self._rest = self._rest[match.end() : whole], self._rest[whole:]
        assert data[-2:] == b"\r\n", "a chunk is not as long as it says"
        return data[:-2]

    def _more_until(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        while (match := pattern.match(self._rest)) is None:
            assert len(self._rest) < 16, f"not a chunk: {self._rest[:50]!r}"
            more = self.socket.recv(65_536)
            if not more:
                return None
            self._rest += more
        return match

    def leave(self) -> None:
        """See :class:`Wire`."""
        self.socket.close()


class Connection2:
    """A connection of HTTP/2, and what has happened to each of its streams."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: dict[int, deque[Event]] = {}
        self.h2.initiate_connection()
        self.flush()

    def takes_websockets(self) -> bool:
        """Whether the proxy has said in its settings that it does (RFC 8441, section 3)."""
        while SettingCodes.MAX_CONCURRENT_STREAMS not in self.h2.remote_settings:
            assert self.receive(), "the connection ended before the settings"
        return bool(self.h2.remote_settings.enable_connect_protocol)

    def receive(self) -> bool:
        """Wait for something to happen; False if the connection is over."""
        data = self.socket.recv(65_536)
        for event in self.h2.receive_data(data) if data else ():
            if isinstance(event, ResponseReceived | DataReceived | StreamEnded | StreamReset):
                assert event.stream_id is not None
                self.events[event.stream_id].append(event)
        self.flush()
        return bool(data)

    def flush(self) -> None:
        """Send what there is to send."""
        self.socket.sendall(self.h2.data_to_send())


class Http2:
    """RFC 9113, from the client's side: a stream of a connection, which others may share."""

    def __init__(self, connection: Connection2) -> None:
        self.socket = connection.socket
        self.connection = connection
        self._stream = 0

    def send(self, method: str, target: str, header: dict[str, str], body: bytes) -> None:
        """See :class:`Wire`."""
        self._begin([(":method", method), (":scheme", "https"), (":path", target)], header, not body)
        h2 = self.connection.h2
        while body:
            most = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size, len(body))
            if not most:
                assert self.connection.receive(), "the connection ended in the body"
                continue
            h2.send_data(self._stream, body[:most], most == len(body))
            body = body[most:]
            self.connection.flush()

    def send_websocket(self, target: str, header: dict[str, str]) -> None:
        """See :class:`Wire`."""
        assert self.connection.takes_websockets(), "the proxy does not offer WebSocket over HTTP/2"
        asked = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", target)]
        self._begin(asked, header | {"Sec-WebSocket-Version": "13"}, False)

    def _begin(self, asked: list[tuple[str, str]], header: dict[str, str], over: bool) -> None:
        self._stream = self.connection.h2.get_next_available_stream_id()
        self.connection.events[self._stream] = deque()
        fields = [(name.lower(), value) for name, value in header.items() if name != "Host"]
        self.connection.h2.send_headers(self._stream, [*asked, (":authority", header["Host"]), *fields], over)
        self.connection.flush()

    def head(self) -> Head:
        """See :class:`Wire`."""
        found = self._next()
        assert isinstance(found, ResponseReceived), found
        assert found.headers is not None
        header = {str(name): str(value) for name, value in found.headers}
        return Head(int(header.pop(":status")), header)

    def data(self) -> bytes:
        """See :class:`Wire`."""
        while isinstance(found := self._next(), DataReceived):
            assert found.flow_controlled_length is not None
            self.connection.h2.acknowledge_received_data(found.flow_controlled_length, self._stream)
            self.connection.flush()
            if found.data:
                return bytes(found.data)
        return b""

    def _next(self) -> Event | None:
        """The next thing that happens to the stream; None if the connection is over."""
        events = self.connection.events[self._stream]
        while not events:
            if not self.connection.receive():
                return None
        return events.popleft()

    def leave(self) -> None:
        """See :class:`Wire`. The connection stays: only the stream is cancelled, as a browser does it."""
        self.connection.h2.reset_stream(self._stream, ErrorCodes.CANCEL)
        self.connection.flush()
