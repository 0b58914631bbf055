"""Where ``comet pub`` gets its messages from: its arguments, the lines of a pipe, or files. And how fast it takes them.

A supply says whether it has a message at once, and if not, which descriptor to wait for; only then is that read: a pipe
that pauses holds up neither what was read of it nor the replies of the daemon.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from comet.commands.lines import Lines

CHUNK = 65_536

BEHIND = 0.1
"""Seconds that a pace may fall behind and still catch up; what is later than that is not made up for in a burst."""


class Piece(NamedTuple):
    """A message to be published, of a content type if the supply knows it."""

    payload: bytes
    content_type: str = ""


class Supply(Protocol):
    """Messages, one after another."""

    def ready(self) -> bool:
        """Whether a message is there at once."""

    def next(self) -> Piece:
        """That message."""

    def source(self) -> int | None:
        """The descriptor to wait for if none is ready; None at the end."""

    def read(self) -> None:
        """Read from the descriptor, now that something has come."""

    def name(self, number: int) -> str:
        """What a person calls the message of that number, from 1 on; empty if there is only one."""


class LineSupply:
    """The lines of a pipe or a file; also a last one without its end, and empty ones."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lines = Lines()
        self._read: deque[bytes] = deque()

    def ready(self) -> bool:
        """Whether a line was read."""
        return bool(self._read)

    def next(self) -> Piece:
        """The oldest line that was read."""
        return Piece(self._read.popleft())

    def source(self) -> int | None:
        """The pipe, until it has ended."""
        return self._descriptor

    def read(self) -> None:
        """Read what has come."""
        assert self._descriptor is not None
        data = os.read(self._descriptor, CHUNK)
        self._read.extend(self._lines.feed(data))
        if not data:
            self._descriptor = None
            if self._lines.begun():
                self._read.append(self._lines.begun())

    def name(self, number: int) -> str:
        """The number of the line."""
        return f"line {number}"


class PieceSupply:
    """Messages that are there when they are asked for."""

    def __init__(self, pieces: Iterator[Piece], name: Callable[[int], str]) -> None:
        self._pieces = pieces
        self._next: Piece | None = None
        self.name = name

    def ready(self) -> bool:
        """Whether there is a further one."""
        if self._next is None:
            self._next = next(self._pieces, None)
        return self._next is not None

    def next(self) -> Piece:
        """The next one."""
        piece, self._next = self._next, None
        assert piece is not None
        return piece

    def source(self) -> int | None:
        """Nothing: what there is, is there."""
        return None

    def read(self) -> None:
        """Never called."""
        raise AssertionError


def one(payload: bytes) -> PieceSupply:
    """Return a supply of one message."""
    return PieceSupply(iter((Piece(payload),)), lambda _: "")


def files(paths: Sequence[Path], rounds: Iterator[object]) -> PieceSupply:
    """Return a supply of ``paths``, each a message, once for each of ``rounds``."""
    pieces = (_piece(path) for _ in rounds for path in paths)
    return PieceSupply(pieces, lambda number: str(paths[(number - 1) % len(paths)]))


def _piece(path: Path) -> Piece:
    # Only here: it reads the tables of the system.
    import mimetypes  # noqa: PLC0415

    content_type, encoding = mimetypes.guess_type(path.name)
    return Piece(path.read_bytes(), content_type if content_type and not encoding else "")


class Pace:
    """When the next message is due, if one is sent every ``interval`` seconds; with 0, at once."""

    def __init__(self, interval: float, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._now = now
        self._due = now()

    def wait(self) -> float:
        """The seconds until the next message is due: 0 if it is."""
        return max(0.0, self._due - self._now()) if self._interval else 0.0

    def count(self) -> None:
        """A message was sent."""
        self._due = max(self._due, self._now() - BEHIND) + self._interval
