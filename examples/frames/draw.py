"""Draw a dot that goes round, as a folder of PNG files (RFC 2083): pictures for those without a camera."""

import math
import struct
import sys
import zlib
from pathlib import Path

SIZE, DOT, FRAMES = 160, 12, 40


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(turn: float) -> bytes:
    """Return the PNG in which the dot has gone that part of a turn."""
    x, y = (SIZE / 2 + SIZE / 3 * side(turn * 2 * math.pi) for side in (math.cos, math.sin))
    rows = (bytes(255 * (math.hypot(x - column, y - row) > DOT) for column in range(SIZE)) for row in range(SIZE))
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))  # each row begins with the number of its filter
    head = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 0, 0, 0, 0)  # 8 bits of grey
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for number in range(FRAMES):
    (folder / f"{number:02}.png").write_bytes(picture(number / FRAMES))
