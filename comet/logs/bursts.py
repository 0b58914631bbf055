"""Bursts: of the same thing said over and over, a few are let through and the others are counted. Pure.

There is no timer: a window is over when somebody asks. The trap is a key that a peer can choose: then the windows would
be without number, so beyond :data:`MOST_KEYS` everything new shares one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

MOST_KEYS = 1_000
_OTHERS = "others"

MORE = "… and {more:,} more of these in {seconds:g} s: "
"""How it is told, before what it was."""


class More(NamedTuple):
    """That so many more of ``key`` came within ``seconds`` than were let through."""

    key: Hashable
    more: int
    seconds: float

    def fields(self) -> dict[str, float]:
        """What :data:`MORE` is filled with."""
        return {"more": self.more, "seconds": self.seconds}


class Bursts:
    """Lets ``most`` of each key through in each window of ``seconds``."""

    def __init__(self, most: int = 5, seconds: float = 10.0) -> None:
        self._most = most
        self._seconds = seconds
        self._windows: dict[Hashable, list[float]] = {}  # when it began, and how many there were; the oldest in front

    def admits(self, key: Hashable, now: float) -> bool:
        """Count one of ``key``; returns whether it is to be let through."""
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MOST_KEYS and key != _OTHERS:
                return self.admits(_OTHERS, now)
            window = self._windows[key] = [now, 0]
        window[1] += 1
        return window[1] <= self._most

    def over(self, now: float) -> Iterator[More]:
        """Forget the windows that are over by ``now``; yields what was not let through in them."""
        for key, (began, count) in list(self._windows.items()):
            # A clock that was set back would keep a window open for long.
            if began <= now < began + self._seconds:
                return
            del self._windows[key]
            if count > self._most:
                yield More(key, int(count) - self._most, self._seconds)
