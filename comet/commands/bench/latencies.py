"""How long messages took: values in ticks of the payload's clock, of which two digits and more are kept.

A value is rounded down to 8 significant bits, which is under 1 %; so a minute of a million messages a second takes a
few hundred numbers, and those of several processes are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comet.commands.bench.payload import UNIT

BITS = 8


class Latencies:
    """How many messages took how long."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._longest = 0

    def add(self, ticks: Mapping[int, int]) -> None:
        """Add how many messages took how many ticks."""
        counts = self._counts
        for value, count in ticks.items():
            shift = max(0, value.bit_length() - BITS)
            rounded = max(0, value >> shift << shift)
            counts[rounded] = counts.get(rounded, 0) + count
        self._longest = max(self._longest, max(ticks, default=0))

    def merge(self, others: Iterable[Latencies]) -> Latencies:
        """Add those of others; returns this."""
        for other in others:
            for value, count in other._counts.items():
                self._counts[value] = self._counts.get(value, 0) + count
            self._longest = max(self._longest, other._longest)
        return self

    def quantile(self, share: float) -> float | None:
        """The seconds within which ``share`` of the messages came; None if there were none."""
        left = share * sum(self._counts.values())
        for value in sorted(self._counts):
            left -= self._counts[value]
            if left <= 0:
                return value * UNIT / 1e9
        return None

    def maximum(self) -> float | None:
        """The longest time in seconds; None if there were no messages."""
        return self._longest * UNIT / 1e9 if self._counts else None
