"""Control: what the daemon says in-band, beside the messages. On JSON transports an object with a member ``comet``.

=========  ====================================================================================================
``open``   the first thing on every stream: its id, the position to resume from, the longest silence in seconds
``beat``   nothing happened; everything up to ``position`` is yours
``gap``    messages after ``since``, up to and including ``until``, may be missing
``topics`` from here on the stream carries these patterns
``bye``    the stream ends; come back after ``retry`` milliseconds
``ok``     WebSocket: the publish with that ``ref`` is stored under ``id``
``error``  WebSocket: the frame with that ``ref`` was refused
=========  ====================================================================================================
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from comet.message import Gap, Position

_encode = msgspec.json.Encoder().encode


class Open(NamedTuple):
    """The first control of a stream. ``position`` is None while a snapshot is under way."""

    stream: str
    position: Position | None
    silence: float

    def json(self) -> bytes:
        """The control object, one line."""
        where = {} if self.position is None else {"position": str(self.position)}
        return _encode({"comet": "open", "stream": self.stream, **where, "silence": self.silence})


class Beat(NamedTuple):
    """Nothing happened; everything up to ``position`` was sent."""

    position: Position

    def json(self) -> bytes:
        """The control object, one line."""
        return b'{"comet":"beat","position":"%b"}' % str(self.position).encode()


class Topics(NamedTuple):
    """The patterns that the stream carries from here on. ``position`` is None if a replay comes first, which resuming
    there would skip."""

    patterns: tuple[str, ...]
    position: Position | None

    def json(self) -> bytes:
        """The control object, one line."""
        where = {} if self.position is None else {"position": str(self.position)}
        return _encode({"comet": "topics", "topics": self.patterns, **where})


UNREADABLE = "store_failed"
"""The reason of a ``bye`` to who asks for what cannot be read from disk."""


class Bye(NamedTuple):
    """The stream ends; ``retry`` is how many milliseconds to wait before coming back."""

    reason: str
    retry: int
    position: Position | None = None

    def json(self) -> bytes:
        """The control object, one line."""
        where = {} if self.position is None else {"position": str(self.position)}
        return _encode({"comet": "bye", "reason": self.reason, "retry": self.retry, **where})


def gap_json(gap: Gap) -> bytes:
    """The control object of a gap, one line."""
    return b'{"comet":"gap","since":"%b","until":"%b"}' % (str(gap.since).encode(), str(gap.until).encode())


Control = Beat | Topics | Bye
