"""WebSocket frames as an attacker makes them (RFC 6455, section 5.2): any bits, any length, with or without a mask."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.attacks.attacker import push, request, rest_of
from tests.e2e.held import connected

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL = 0x80
COMPRESSED = 0x40
"""RSV1, which permessage-deflate (RFC 7692) gives a meaning."""

HANDSHAKE = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def frame(first: int, payload: bytes = b"", *, length: bytes | None = None, mask: bytes | None = b"\0\0\0\0") -> bytes:
    """A frame whose first byte is ``first``; ``length`` is what it says of the length, if not the truth. The mask of
    zeros changes nothing; without one the frame is not masked."""
    if length is None:
        length = _length(len(payload))
    bit = 0x80 if mask is not None else 0
    return bytes((first, bit | length[0])) + length[1:] + (mask or b"") + payload


def _length(length: int) -> bytes:
    if length < 126:
        return bytes((length,))
    return b"\x7e" + length.to_bytes(2) if length < 65_536 else b"\x7f" + length.to_bytes(8)


def text(message: object) -> bytes:
    """``message`` as JSON in one frame."""
    return frame(FINAL | TEXT, json.dumps(message).encode())


@contextmanager
def opened(address: str, topic: str, *lines: str) -> Iterator[tuple[socket.socket, bytes]]:
    """A WebSocket that is subscribed to ``topic``, and what has come on it so far."""
    with connected(address) as connection:
        push(connection, request("GET", f"/topics/{topic}", *HANDSHAKE, *lines))
        data = b""
        while b'"open"' not in data:
            more = connection.recv(65_536)
            assert more, data
            data += more
        yield connection, data


def close_code(connection: socket.socket) -> int:
    """The code of the close frame with which the daemon ends the connection; 0 if there is none."""
    data = rest_of(connection)
    at = data.rfind(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4]) if at >= 0 else 0
