"""``comet log export``: the messages of a file as lines of JSON, one block at a time.

Each look at the file is over at once, so that a daemon which has it open is never kept from tidying up. What cannot be
read is told on standard error, and as a ``gap`` among the lines, where a reader of them meets it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from comet.commands.log.bounds import Bound, Bounds
from comet.commands.log.file import UNKNOWN, LogFile
from comet.commands.log.objects import written
from comet.commands.log.screen import Screen
from comet.commands.log.walk import Hole, Part, walk
from comet.control import gap_json
from comet.message import Gap, Message, Position
from comet.store.wanted import matching
from comet.topics import Pattern


def export(file: LogFile, since: Bound | None, until: Bound | None, patterns: list[Pattern] | None) -> int:
    """Print what is asked for; returns 1 if something cannot be read."""
    bounds = Bounds.of(since, until, file.epoch())
    # Where the lines themselves are on the screen, another one among them would only be in the way.
    with Screen(leave=True, quiet=sys.stdout.isatty()) as screen:
        return Export(file, bounds, patterns, screen).run()


class Export:
    """The messages of ``patterns`` (of all topics, if there is none) within ``bounds``."""

    def __init__(self, file: LogFile, bounds: Bounds, patterns: list[Pattern] | None, screen: Screen) -> None:
        self._file = file
        self._screen = screen
        self._epoch = file.epoch()
        self._begin = file.offset("trimmed") if bounds.after is None else bounds.after
        self._end = bounds.until
        self._wanted = bounds.test()
        self._patterns = patterns
        self._printed = 0
        self._damaged = False

    def run(self) -> int:
        """Print; returns 1 if something cannot be read."""
        if self._epoch == UNKNOWN:
            self._damaged = True
            self._screen.say(f"comet: the epoch of the positions cannot be read; {UNKNOWN} stands for it")
        for each in walk(self._file, self._begin):
            if isinstance(each, Hole):
                if self._end is not None and each.since >= self._end:
                    break
                self._tell(each)
            else:
                self._print(each)
                self._screen.show(f"{self._printed:,} messages, up to {self._epoch}-{each.block.last}")
                if self._end is not None and each.block.last >= self._end:
                    break
            self._file.renew()
        sys.stdout.buffer.flush()
        return int(self._damaged)

    def _print(self, part: Part) -> None:
        messages: Iterable[Message] = filter(self._wanted, part.messages)
        if self._patterns is not None:
            messages = matching(messages, self._patterns)
        lines = self._lines(list(messages))
        if lines:
            sys.stdout.buffer.write(lines)

    def _lines(self, messages: list[Message]) -> bytes:
        self._printed += len(messages)
        epoch = self._epoch.encode()
        return b"".join([written(epoch, message) for message in messages])

    def _tell(self, hole: Hole) -> None:
        since = Position(self._epoch, hole.since)
        self._damaged = self._damaged or hole.damage
        if hole.until is None:
            self._screen.say(
                f"comet: what follows {since} cannot be read: {hole.why}; if you import this, leave out --keep-ids"
            )
            return
        until = Position(self._epoch, hole.until)
        sys.stdout.buffer.write(gap_json(Gap(since, until)) + b"\n")
        self._screen.say(f"comet: messages after {since} up to {until} are missing: {hole.why}")
