"""What every message of the bench carries, and how it is found again in the bytes of any transport::

    payload = "~bench." source sequence sent filler

``source`` is the publisher and the topic in 6 hexadecimal digits, ``sequence`` numbers what this publisher sends on
this topic, in 8, and ``sent`` is the clock in 12. The filler follows from the sequence, so that a wrong byte, or the
middle of another message, is noticed. No byte of it is escaped in JSON, and none of it is in what is around it.

The trap is the cost: a subscriber in Python that looked at each message would be slower than the daemon. So a piece of
bytes is read once, with the searches of ``bytes``, and what was read is kept for the other subscribers that are given
the same piece: the daemon writes the same block to all of an audience.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import NamedTuple

START = b"~bench."
HEAD = 26
"""Characters between the start and the filler."""

SMALLEST = len(START) + HEAD
UNIT = 10_000
"""Nanoseconds of a tick of the clock in a payload."""

GAP = -1
"""What stands in place of a source where the daemon tells a gap."""

KEPT = 16 * 1024**2
"""Bytes of pieces that are remembered."""

LARGE = 8_192
"""Messages of this size are quicker to read than a piece of them is to find."""

_RETRY = re.compile(rb'\bretry\\?":([0-9]{1,9})')
_TURN = 16
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Run = tuple[int, int, int]
"""A source, and the first and last sequence of its messages that came one after the other; or a gap."""


def clock() -> int:
    """The ticks of a clock that is the same for all processes of the machine."""
    return time.monotonic_ns() // UNIT


def fillers(size: int) -> tuple[bytes, ...]:
    """The fillers of messages of ``size`` bytes; that of a sequence is at its place modulo their number."""
    length = size - SMALLEST
    letters = _LETTERS * (length // len(_LETTERS) + 2)
    return tuple(letters[start : start + length] for start in range(_TURN))


def head(source: int, sequence: int, sent: int) -> bytes:
    """What stands before the filler."""
    return b"~bench.%06x%08x%012x" % (source, sequence, sent)


class Signs(NamedTuple):
    """What a transport's bytes have around the payloads: ``gap`` is in what tells a gap, ``position`` before the
    position of a message (empty if it says none), and ``ends`` is how a message or control ends. With ``late`` a gap is
    told right behind the first message after it."""

    gap: bytes
    position: bytes
    ends: bytes
    late: bool = False


@dataclass(slots=True)
class Block:
    """What a piece of bytes says. ``sent`` has how many of its messages were sent at which tick; ``rest`` is what is
    to be put before the next piece, once ``missing`` bytes have come; ``cursor`` is the position of the last message,
    empty if there is none; ``retry`` is after how many milliseconds to come back, if the daemon says that it ends."""

    runs: list[Run] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    messages: int = 0
    damaged: int = 0
    cursor: bytes = b""
    rest: bytes = b""
    missing: int = 0
    retry: int = 0


class Blocks:
    """Reads the pieces of one transport."""

    def __init__(self, signs: Signs, size: int) -> None:
        self._signs = signs
        self._position = re.compile(re.escape(signs.position) + rb"([0-9A-Za-z_-]+)") if signs.position else None
        self._body = size - len(START)
        self._fillers = fillers(size)
        self._size = size
        self._kept: dict[bytes, Block] = {}
        self._kept_bytes = 0

    def read(self, data: bytes) -> Block:
        """Return what ``data`` says, which begins with the rest of the piece before it."""
        if self._size > LARGE:
            return self._read(data)
        block = self._kept.get(data)
        if block is None:
            block = self._kept[data] = self._read(data)
            self._kept_bytes += len(data)
            if self._kept_bytes > KEPT:
                self._kept.clear()
                self._kept_bytes = 0
        return block

    def _read(self, data: bytes) -> Block:
        """The trap: a position stands before its message, and a rest that is let go must not hold it."""
        first, *pieces = data.split(START)
        cut = START + pieces.pop() if pieces and self._is_cut(pieces[-1]) else b""
        told = self._signs.gap if self._signs.gap in data else None
        texts = [first, *(piece[self._body :] for piece in pieces)]  # before and behind each message
        reading = _Reading()
        for piece, text in zip(pieces, texts[self._signs.late :], strict=False):
            if told and told in text:
                reading.gap()
            self._take(piece, reading)
        block, last = reading.block, texts[-1]
        if cut or not last.endswith(self._signs.ends) or (self._position and self._position.search(last)):
            block.rest = last + cut
            block.missing = self._body + len(START) - len(cut) if cut else 0
        elif told and told in last and not (self._signs.late and pieces):
            reading.gap()
        if pieces and self._position is not None and (found := self._position.findall(texts[-2])):
            block.cursor = found[-1]
        if b"retry" in data and (asked := _RETRY.search(data)):
            block.retry = int(asked[1])
        block.sent = list(reading.sent.items())
        return block

    def _is_cut(self, piece: bytes) -> bool:
        """Whether there is more to come of the message that ``piece`` begins with."""
        return len(piece) < self._body or (self._signs.late and not piece.endswith(self._signs.ends))

    def _take(self, piece: bytes, reading: _Reading) -> None:
        """Take the message that ``piece`` begins with."""
        try:
            source, sequence, sent = int(piece[:6], 16), int(piece[6:14], 16), int(piece[14:HEAD], 16)
        except ValueError:
            reading.block.damaged += 1
            return
        if piece.startswith(self._fillers[sequence % _TURN], HEAD):
            reading.message(source, sequence, sent)
        else:
            reading.block.damaged += 1


class _Reading:
    """A block that is being read."""

    def __init__(self) -> None:
        self.block = Block()
        self.sent: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def gap(self) -> None:
        """A gap is told here."""
        self.block.runs.append((GAP, 0, 0))
        self._last.clear()

    def message(self, source: int, sequence: int, sent: int) -> None:
        """A message that is as it was sent."""
        runs, self.block.messages = self.block.runs, self.block.messages + 1
        self.sent[sent] = self.sent.get(sent, 0) + 1
        place = self._last.get(source)
        if place is not None and runs[place][2] + 1 == sequence:
            runs[place] = (source, runs[place][1], sequence)
        else:
            self._last[source] = len(runs)
            runs.append((source, sequence, sequence))
