"""How far a command is: a line that is redrawn on a terminal, and nothing in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from comet.commands.terminal import Live, is_terminal

SOON = 0.5
"""Seconds within which what is over needs no progress."""


class Screen:
    """Standard error. A context manager; ``leave`` says whether the last line stays when it ends."""

    def __init__(self, *, leave: bool = False, quiet: bool = False) -> None:
        self._live = Live(sys.stderr) if is_terminal(sys.stderr) and not quiet else None
        self._leave = leave
        self._line = ""
        self._is_shown = False
        self._begin = time.monotonic() + SOON

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is not None:
            if self._leave and self._line:
                self._live.show([self._line], {})
            elif self._is_shown:
                self._live.show([], {})
            self._live.__exit__(kind, error, None)

    def show(self, line: str) -> None:
        """Show ``line`` instead of the one before, if it is time to."""
        self._line = line
        if self._live is not None and self._live.due() and time.monotonic() > self._begin:
            self._is_shown = True
            self._live.show([line], {})

    def say(self, line: str) -> None:
        """Write a line that stays, behind what was printed."""
        sys.stdout.flush()
        if self._live is None:
            print(line, file=sys.stderr)
        else:
            self._live.say(line)
