"""How long to wait before the next attempt: full jitter, so that many clients do not come back all at once.

The pause is anything between nothing and a limit that doubles with each failure
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The trap: a daemon that accepts and drops
at once looks like a success each time, so only what was stable counts as one.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST = 0.25
"""The most seconds before the second attempt."""

LONGEST = 8.0
"""The most seconds between two attempts."""

STABLE = 5.0
"""Seconds for which a connection must have been open to count as a success."""


class Backoff:
    """Counts failures. ``chance`` gives a number from 0 to 1."""

    __slots__ = ("_chance", "_failures")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0

    def pause(self) -> float:
        """Count a failure, and return the seconds to wait."""
        longest = min(LONGEST, FIRST * 2.0**self._failures)
        # More would only make the number large.
        self._failures = min(self._failures + 1, 16)
        return self._chance() * longest

    def reset(self) -> None:
        """It went well."""
        self._failures = 0
