"""How far ``comet pub`` has come: a line on the terminal, or JSON objects in a pipe."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

OVER = 3.0
"""Seconds over which the rate that is shown is taken."""


class Sample(NamedTuple):
    """How many were acknowledged at a time."""

    time: float
    acknowledged: int


class Progress:
    """Counts, and says them in words and as figures."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun = now()
        self._samples = deque([Sample(self._begun, 0)])
        self.acknowledged = 0
        self.refused = 0
        self.outstanding = 0

    def sample(self) -> None:
        """Take note of the rate: before each look."""
        now = self._now()
        self._samples.append(Sample(now, self.acknowledged))
        while len(self._samples) > 2 and self._samples[1].time < now - OVER:
            self._samples.popleft()

    def rate(self) -> float:
        """Acknowledged messages per second, lately."""
        return _rate(self._samples[0], self._samples[-1])

    def line(self) -> str:
        """How it goes."""
        return ", ".join((f"{self.acknowledged:,} acknowledged", f"{self.rate():,.0f}/s", *self._further()))

    def summary(self) -> str:
        """How it went."""
        whole = Sample(self._begun, 0), Sample(self._now(), self.acknowledged)
        took = f"{self.acknowledged:,} acknowledged in {whole[1].time - whole[0].time:.1f} s ({_rate(*whole):,.0f}/s)"
        return ", ".join((took, *self._further()))

    def figures(self) -> dict[str, float]:
        """How it goes, for programs."""
        return {
            "seconds": round(self._now() - self._begun, 3),
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "outstanding": self.outstanding,
            "rate": round(self.rate(), 1),
        }

    def _further(self) -> list[str]:
        counts = ((self.outstanding, "outstanding"), (self.refused, "refused"))
        return [f"{count:,} {what}" for count, what in counts if count]


def _rate(before: Sample, after: Sample) -> float:
    seconds = after.time - before.time
    return (after.acknowledged - before.acknowledged) / seconds if seconds > 0 else 0.0
