"""The values that travel: a message, its position, what a publisher hands in, and what one read of the log gives.

They are made a hundred thousand times a second and kept by the million. A message holds no other container, so it can
be a ``msgspec.Struct`` outside the garbage collector's sight (0.1 µs to make; a frozen dataclass takes 0.9 µs).
"""

from __future__ import annotations

import re

from msgspec import Struct

from comet.errors import BadSince, shown

_POSITION = re.compile(r"([0-9a-f]{8,32})-(0|[1-9][0-9]{0,17})", re.ASCII)


class Position(Struct, frozen=True, gc=False, order=True):
    """Where a message stands: the epoch of the log and the offset in it. To clients it is an opaque string."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that ``text`` spells, or raise :exc:`~comet.errors.BadSince`."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise BadSince(f"{shown(text)} is not a position: it looks like 5f0c1a2b-1042")
        return cls(match[1], int(match[2]))


class Draft(Struct, frozen=True, gc=False):
    """What a publisher hands in: not yet numbered, not yet stored.

    ``content_type`` is empty for none. ``key`` makes the publish safe to repeat.
    """

    topic: str
    payload: bytes
    content_type: str = ""
    key: str = ""


class Message(Struct, frozen=True, gc=False, array_like=True):
    """A message of the log. ``time`` is in seconds since 1970; the epoch of its position is the log's."""

    topic: str
    payload: bytes
    content_type: str
    time: float
    offset: int


class Gap(Struct, frozen=True):
    """Messages after ``since``, up to and including ``until``, may be missing."""

    since: Position
    until: Position


class Page(Struct, frozen=True):
    """What one read of the log gives, or what one flush gives an audience.

    The reader has everything up to ``position`` once it has ``messages``. ``gap`` comes before the messages.
    """

    messages: list[Message]
    position: Position
    gap: Gap | None = None
