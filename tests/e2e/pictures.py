"""Pictures that a test can tell apart: PNG (RFC 2083), written by hand."""

from __future__ import annotations

import struct
import zlib

HEIGHT = 40


def png(width: int) -> bytes:
    """A picture that is ``width`` wide, in a colour of its own."""
    colour = bytes((width * 7 % 256, width * 13 % 256, 160))
    rows = (b"\0" + colour * width) * HEIGHT  # each row begins with the number of its filter
    head = struct.pack(">IIBBBBB", width, HEIGHT, 8, 2, 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
