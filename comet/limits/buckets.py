"""Token buckets, one for each who does something: at most ``rate`` a second, and ``burst`` seconds' worth at once.

A bucket is one number: the time at which it will be full again (the generic cell rate algorithm). Taking from it moves
that time on, and time itself refills it. One who was not seen for ``burst`` seconds has a full bucket, which is the
same as none; so nothing is searched for what can be forgotten: there are two generations, those who were seen lately
and those who were seen before that, and the older one is dropped whole.

The trap is a flood of addresses: a generation has a bound, and when that is reached it becomes the older one early. Who
keeps coming is in the newer one all the same, so a flood of others does not make an offender forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

MOST = 65_536
"""How many a generation holds: 8 MB or so for both."""


class Buckets:
    """The buckets of everybody. Keys are strings, times are in seconds."""

    def __init__(self, rate: float, burst: float, most: int = MOST) -> None:
        self.rate = rate
        self.burst = max(burst, 1 / rate)  # one at a time always goes
        self._most = most
        self._newer: dict[str, float] = {}
        self._older: dict[str, float] = {}
        self._turned = 0.0

    def __iter__(self) -> Iterator[str]:
        """Yield those who are remembered, some of them twice."""
        return chain(self._newer, self._older)

    @property
    def most_at_once(self) -> int:
        """The largest count that can be taken at once."""
        return int(self.rate * self.burst)

    def take(self, key: str, count: int, now: float) -> float:
        """Take ``count`` out of the bucket of ``key``. Returns 0, or in how many seconds there will be so many, and
        then nothing is taken."""
        newer = self._newer
        if not 0 <= now - self._turned < self.burst or len(newer) >= self._most:
            newer = self._turn(now)
        full = newer.get(key) or self._older.get(key, now)
        full = min(max(full, now), now + self.burst)  # it is later than that if the clock was put back
        after = full + count / self.rate
        wait = after - now - self.burst
        if wait > 1e-9:  # what was waited for exactly is not refused for the last bit of a sum
            newer[key] = full
            return wait
        newer[key] = after
        return 0.0

    def give_back(self, key: str, count: int) -> None:
        """Undo a ``take``, of which nothing came."""
        self._newer[key] -= count / self.rate

    def fullest_use(self, now: float) -> float:
        """The share of its bucket that the one who uses most of it has used."""
        latest = max(max(each.values(), default=now) for each in (self._newer, self._older))
        return max(0.0, latest - now) / self.burst

    def sweep(self, now: float) -> None:
        """Forget those who were not seen for long enough, if nobody else comes who would bring that about."""
        if now - self._turned >= self.burst and (self._newer or self._older):
            self._turn(now)

    def _turn(self, now: float) -> dict[str, float]:
        self._older, self._newer, self._turned = self._newer, {}, now
        return self._newer
