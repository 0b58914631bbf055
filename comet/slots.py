"""Slots: how many may do something at once. Who comes when there is none waits, and the longest waiting is next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed


class Slots:
    """As many as ``most`` says at the time, which may change."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._taken = 0
        self._waiting: deque[Deferred[None]] = deque()

    @property
    def is_free(self) -> bool:
        """Whether one could be taken without waiting."""
        return self._taken < self._most() and not self._waiting

    def take(self) -> Deferred[None]:
        """Fires once there is one: it is to be given back. Cancelling it gives up the place in the line."""
        if self.is_free:
            self._taken += 1
            return succeed(None)
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        return turn

    def give_back(self) -> None:
        """What was to be done is done."""
        self._taken -= 1
        while self._waiting and self._taken < self._most():
            self._taken += 1
            self._waiting.popleft().callback(None)
