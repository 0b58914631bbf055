"""A comet on its way round the sun, as a PNG of 256 colours (RFC 2083), drawn with the standard library.

It moves as Kepler has it: fast where it is near the sun, and there the tail is long; the tail points away from the sun.
Brightness is the number of a colour, so that what glows is drawn by taking the larger number.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from functools import cache

WIDTH, HEIGHT = 480, 270
PERIOD = 12.0
"""Seconds that the comet takes to go round."""

_HALF, _FLATNESS = 180.0, 0.83  # half of the orbit's length, and its eccentricity
_SUN = (126.0, 138.0)
_TILT = 0.12


def picture(seconds: float) -> bytes:
    """Return the PNG of that moment."""
    canvas = bytearray(_sky())
    x, y, distance = _place(2 * math.pi * seconds / PERIOD)
    away = math.atan2(y - _SUN[1], x - _SUN[0])
    length = 5_000 / (distance + 12)
    for step in range(60, -1, -1):
        part = step / 60
        bend = away + 0.25 * part * part
        _glow(
            canvas,
            x + math.cos(bend) * length * part,
            y + math.sin(bend) * length * part,
            round(3 + 7 * part),
            round(250 * (1 - part) ** 1.6) + 4,
        )
    _glow(canvas, x, y, 7, 255)
    rows = (b"\0" + canvas[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH))
    return _BEGINNING + _chunk(b"IDAT", zlib.compress(b"".join(rows), 4)) + _chunk(b"IEND", b"")


def _place(mean: float) -> tuple[float, float, float]:
    """Where the comet is when that much of its mean way is done, and how far from the sun."""
    eccentric = mean
    for _ in range(8):  # Kepler's equation, by Newton's method
        eccentric -= (eccentric - _FLATNESS * math.sin(eccentric) - mean % (2 * math.pi)) / (
            1 - _FLATNESS * math.cos(eccentric)
        )
    along = _HALF * (math.cos(eccentric) - _FLATNESS)
    across = _HALF * math.sqrt(1 - _FLATNESS**2) * math.sin(eccentric)
    cos, sin = math.cos(_TILT), math.sin(_TILT)
    return _SUN[0] - along * cos + across * sin, _SUN[1] + along * sin + across * cos, math.hypot(along, across)


def _glow(canvas: bytearray, x: float, y: float, radius: int, brightness: int) -> None:
    """Draw a spot that is brightest in its middle."""
    left, top = round(x), round(y)
    for right, down, part in _spot(radius):
        column, row = left + right, top + down
        if 0 <= column < WIDTH and 0 <= row < HEIGHT:
            at = row * WIDTH + column
            level = int(brightness * part)
            canvas[at] = max(canvas[at], level)


@cache
def _spot(radius: int) -> tuple[tuple[int, int, float], ...]:
    reach = range(-radius, radius + 1)
    near = ((right, down, 1 - math.hypot(right, down) / (radius + 0.5)) for down in reach for right in reach)
    return tuple((right, down, part) for right, down, part in near if part > 0)


@cache
def _sky() -> bytes:
    """What does not move: stars, and the sun."""
    canvas = bytearray(WIDTH * HEIGHT)
    drawn = random.Random(1758)  # the year in which Halley's comet came back as foretold
    for _ in range(260):
        canvas[drawn.randrange(len(canvas))] = drawn.randrange(40, 190)
    _glow(canvas, *_SUN, 24, 235)
    _glow(canvas, *_SUN, 8, 255)
    return bytes(canvas)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _colours() -> bytes:
    """From night over blue to white."""
    return b"".join(
        bytes((min(255, 8 + level * level // 255), min(255, 12 + level * 9 // 10), min(255, 28 + level * 11 // 10)))
        for level in range(256)
    )


_BEGINNING = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0))  # 8 bits, of a palette
    + _chunk(b"PLTE", _colours())
)
