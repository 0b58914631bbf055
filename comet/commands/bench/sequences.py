"""Whether a subscriber was given every message once, and in order: a number per source, and what is not as it should.

A source is what one publisher sends on one topic, numbered from 0. A message that is missing may still come, out of
order; what has not come by the end is lost. The trap: what the daemon has told as a gap is not lost silently. A gap
stands before the first message behind it, so the next jump of each source is put down to it, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from comet.commands.bench.payload import GAP, Run


@dataclass(slots=True)
class Faults:
    """What was not as it should be, in messages; ``gaps`` is how often the daemon said so, and ``skipped`` how many
    messages these took."""

    lost: int = 0
    twice: int = 0
    disordered: int = 0
    damaged: int = 0
    misrouted: int = 0
    gaps: int = 0
    skipped: int = 0
    dropped: int = 0
    """Connections that ended, and were made again."""

    def add(self, others: Iterable[Faults]) -> Faults:
        """Add those of others; returns this."""
        for other in others:
            for each in fields(self):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self

    def wrong(self) -> int:
        """How many of them a daemon must never do."""
        return self.lost + self.twice + self.disordered + self.damaged + self.misrouted


class Sequences:
    """What one subscriber was given, of the sources that it is to hear."""

    __slots__ = ("_missing", "_told", "expected", "faults")

    def __init__(self, sources: Iterable[int]) -> None:
        self.expected = dict.fromkeys(sources, 0)
        self.faults = Faults()
        self._missing: list[Run] = []
        self._told: set[int] = set()

    def take(self, runs: list[Run]) -> None:
        """Take what has come."""
        expected, told = self.expected, self._told
        for run in runs:
            source, first, last = run
            if not told and expected.get(source) == first:
                expected[source] = last + 1
            else:
                self._take_slowly(run)

    def excuse(self) -> None:
        """From here on messages may be missing, as the subscriber knows."""
        self._told.update(self.expected)

    def complete(self, totals: Mapping[int, int]) -> bool:
        """Whether everything has come up to what each source has sent."""
        return all(count >= totals.get(source, 0) for source, count in self.expected.items())

    def end(self, totals: Mapping[int, int]) -> Faults:
        """Return what was wrong, now that no more will come."""
        for source, count in self.expected.items():
            if count < totals.get(source, 0):
                self._jump(source, count, totals[source])
        self.faults.lost = sum(last - first + 1 for _, first, last in self._missing)
        return self.faults

    def _take_slowly(self, run: Run) -> None:
        source, first, last = run
        if source == GAP:
            self.faults.gaps += 1
            self.excuse()
            return
        count = self.expected.get(source)
        if count is None:
            self.faults.misrouted += last - first + 1
            return
        for sequence in range(first, min(last + 1, count)):
            self._repeat(source, sequence)
        if last >= count:
            self._jump(source, count, max(first, count))
            self.expected[source] = last + 1
        self._told.discard(source)

    def _jump(self, source: int, count: int, to: int) -> None:
        if source in self._told:
            self.faults.skipped += to - count
        elif to > count:
            self._missing.append((source, count, to - 1))

    def _repeat(self, source: int, sequence: int) -> None:
        """Take a message from before: one that was missing, or one that has come already."""
        for place, (of, first, last) in enumerate(self._missing):
            if of == source and first <= sequence <= last:
                parts = ((of, first, sequence - 1), (of, sequence + 1, last))
                self._missing[place : place + 1] = [part for part in parts if part[1] <= part[2]]
                self.faults.disordered += 1
                return
        self.faults.twice += 1
