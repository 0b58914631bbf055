"""Counts of what each one has open: a number for each who has any."""

from __future__ import annotations

from collections.abc import Iterator


class Counts:
    """How many each has. Nothing is kept of one who has none."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield those who have any."""
        return iter(self._counts)

    def of(self, key: str) -> int:
        """How many ``key`` has."""
        return self._counts.get(key, 0)

    def add(self, key: str) -> None:
        """``key`` has one more."""
        self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, key: str) -> None:
        """``key`` has one less."""
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]

    def highest(self) -> int:
        """How many the one has who has most."""
        return max(self._counts.values(), default=0)
