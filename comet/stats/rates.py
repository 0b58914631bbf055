"""What happened in the last seconds: the counters are sampled once a second, and the oldest sample is subtracted."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from comet.interfaces import Clock
from comet.metrics import FLUSH_BOUNDS, Metrics, quantile
from comet.stats.process import cpu_seconds

SAMPLES = 10


class Sample(NamedTuple):
    """The counters at a time. Each but ``flushes``, which are the counts of the histogram, is a number that grows."""

    time: float
    published: int
    published_bytes: int
    delivered: int
    delivered_bytes: int
    received_bytes: int
    cpu: float
    flushes: tuple[int, ...]


COUNTED = Sample._fields[1:6]
"""Those of which a rate is told."""


class Rates:
    """What happened per second in the last ten seconds or so."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.started = clock.seconds()
        self._samples = deque([self._now()], maxlen=SAMPLES)

    def sample(self) -> None:
        """To be called once a second."""
        self._samples.append(self._now())

    def per_second(self) -> dict[str, float]:
        """The rates by the name of their counter, and over how many ``seconds`` they were taken."""
        before, now, seconds = self._span()
        rates = {name: (getattr(now, name) - getattr(before, name)) / seconds if seconds else 0.0 for name in COUNTED}
        return {"seconds": round(seconds, 3), **{name: round(rate, 1) for name, rate in rates.items()}}

    def cpu(self) -> float:
        """The share of one core that the process took, 0 to 1 and above if it has threads."""
        before, now, seconds = self._span()
        return round((now.cpu - before.cpu) / seconds, 4) if seconds else 0.0

    def flushes(self) -> dict[str, float | None]:
        """How many seconds flushes took: half of them at most ``p50``, 99 of 100 at most ``p99``; None if there were
        none."""
        before, now, _ = self._span()
        counts = [later - earlier for later, earlier in zip(now.flushes, before.flushes, strict=True)]
        found = {name: quantile(share, FLUSH_BOUNDS, counts) for name, share in (("p50", 0.5), ("p99", 0.99))}
        return {name: None if value is None else round(value, 6) for name, value in found.items()}

    def _span(self) -> tuple[Sample, Sample, float]:
        before, now = self._samples[0], self._now()
        return before, now, max(0.0, now.time - before.time)

    def _now(self) -> Sample:
        counted = self._metrics
        return Sample(
            self._clock.seconds(),
            counted.published,
            counted.published_bytes,
            sum(counted.delivered.values()),
            sum(counted.delivered_bytes.values()),
            sum(counted.received_bytes.values()),
            cpu_seconds(),
            tuple(counted.flush_seconds.counts),
        )
