"""What changes while a command runs: lines that are redrawn in place on a terminal, one JSON object a second in a pipe.

The sequences are those of ECMA-48 which every terminal knows: up (CUU), erase to the end of the line and of the screen
(EL, ED), and the private mode 25 that hides the cursor. The traps: a line that is wider than the terminal wraps, and
the block is then higher than it has lines; after the window has become narrower the terminal has wrapped the old lines
by itself; and a process that is stopped or ended while the cursor is hidden leaves its user without one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, TextIO

REDRAWN = 0.1
"""Seconds between two redraws, where the caller asks :meth:`Live.due`."""

EVERY = 1.0
"""Seconds between two lines of JSON."""

_HIDE, _SHOW, _ERASE_LINE, _ERASE_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[K", "\x1b[J"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Live:
    """Shows how things stand on ``stream``, until it is closed. A context manager; what ends it leaves the last state.

    On a terminal the lines are redrawn where they are, each cut to the width, no more of them than the terminal has.
    Elsewhere the figures are written as JSON, an object a line, at most one a second, and lastly the last ones.
    """

    def __init__(self, stream: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self.on_terminal = is_terminal(stream)
        self._lines: Sequence[str] = ()
        self._figures: Mapping[str, Any] = {}
        self._drawn: list[str] = []
        self._before: dict[int, Any] = {}
        self._next = 0.0
        self._unwritten = False
        self._open = False

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        # Who read the output may have left: then there is nothing to leave there, and an error must not hide another.
        with contextlib.suppress(BrokenPipeError):
            self.close()

    def due(self) -> bool:
        """Whether it is time to show something again: for callers that have something new all the time."""
        return self._now() >= self._next

    def show(self, lines: Sequence[str], figures: Mapping[str, Any]) -> None:
        """Show ``lines`` on a terminal, or ``figures`` in a pipe, instead of those before."""
        self._lines, self._figures, self._unwritten = lines, figures, True
        if self.on_terminal:
            self._next = self._now() + REDRAWN
            self._redraw()
        elif self.due():
            self._next = self._now() + EVERY
            self._write_figures()

    def say(self, line: str) -> None:
        """Write a line that stays, above those that change."""
        if not self.on_terminal:
            print(line, file=self._stream, flush=True)
            return
        self._write(self._to_the_top() + _ERASE_BELOW + printable(line) + "\r\n")
        self._drawn = []
        if self._open:
            self._redraw()

    def close(self) -> None:
        """Leave the last state behind, and the cursor below it. Closing twice is closing once."""
        if self.on_terminal and self._open:
            self._redraw()
            self._open = False
            self._write("\r\n" * bool(self._drawn) + _SHOW)
            self._restore_signals()
        elif not self.on_terminal and self._unwritten:
            self._write_figures()
        self._drawn, self._unwritten = [], False

    # -- a terminal -------------------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        first = "" if self._open else _HIDE
        if not self._open:
            self._open = True
            self._take_signals()
        width, height = size_of(self._stream)
        top = self._to_the_top()
        # A terminal puts off the wrap behind its last column; the cursor must not rest there.
        self._drawn = [cut(printable(line), width - 1) for line in self._lines[: max(1, height - 1)]]
        block = "\r\n".join(line + _ERASE_LINE for line in self._drawn)
        self._write(first + top + block + _ERASE_BELOW)

    def _to_the_top(self) -> str:
        """The way from the end of what is drawn to its beginning; lines that no longer fit were wrapped since."""
        width, _ = size_of(self._stream)
        rows = sum(max(1, -(-cells(line) // width)) for line in self._drawn)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"

    def _write(self, text: str) -> None:
        """Write at once, past the stream's buffer, which a signal could find in the middle of a write."""
        self._stream.flush()
        data = text.encode(errors="replace")
        while data:
            try:
                data = data[os.write(self._stream.fileno(), data) :]
            except BlockingIOError:
                # Somebody else has made the terminal, which is shared, one that does not wait.
                select.select([], [self._stream], [])

    # -- signals: the user gets the cursor back -----------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number, taken in ((signal.SIGTERM, self._end), (signal.SIGTSTP, self._stop)):
            # Only what nobody else has taken; and only the main thread may.
            if signal.getsignal(number) is signal.SIG_DFL:
                with contextlib.suppress(ValueError):
                    self._before[number] = signal.signal(number, taken)

    def _restore_signals(self) -> None:
        for number, before in self._before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, before)
        self._before = {}

    def _end(self, number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._write("\r\n" + _SHOW)
        self._drawn = []
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here the process goes on, in the foreground again; the shell has written in between.
        self._write(_HIDE)

    # -- a pipe -----------------------------------------------------------------------------------------------------

    def _write_figures(self) -> None:
        self._unwritten = False
        print(json.dumps(self._figures, ensure_ascii=False, separators=(",", ":")), file=self._stream, flush=True)


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that can do more than scroll."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def size_of(stream: TextIO) -> tuple[int, int]:
    """Columns and rows of the terminal that ``stream`` is; some do not say."""
    columns, rows = os.get_terminal_size(stream.fileno())
    return columns or 80, rows or 24


def printable(line: str) -> str:
    """Return ``line`` without what a terminal obeys: control characters, and those that turn the direction of text."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", line)


def cells(text: str) -> int:
    """How many columns ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def cut(text: str, width: int) -> str:
    """Return as much of ``text`` as fits in ``width`` columns; that something is missing is shown."""
    if cells(text) <= width:
        return text
    taken, kept = 1, []
    for letter in text:
        taken += _cells_of(letter)
        if taken > width:
            break
        kept.append(letter)
    return "".join(kept) + "…" * (width > 0)


def _cells_of(letter: str) -> int:
    # Imported only for those who need it: the table is large.
    from unicodedata import combining, east_asian_width  # noqa: PLC0415

    if combining(letter):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1
