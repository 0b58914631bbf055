"""Moments worth dying in: whoever comes to one says so, and if something was laid there, it goes off in that thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Moments:
    """``lay`` is for who wants something to happen, ``reached`` for those to whom it happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moment = ""
        self._left = 0
        self._act: Callable[[], object] = bool
        self.over = threading.Event()
        """Set while nothing is laid: it went off."""

    def lay(self, moment: str, count: int, act: Callable[[], object]) -> None:
        """Have ``act`` called when ``moment`` is reached for the ``count``-th time from now on."""
        with self._lock:
            self._moment, self._left, self._act = moment, count, act
            self.over.clear()

    def reached(self, moment: str) -> None:
        """This is ``moment``."""
        if moment != self._moment:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._moment = ""
                self._act()
                self.over.set()
