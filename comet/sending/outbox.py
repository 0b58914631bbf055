"""What is still to be acknowledged, over any number of connections. No I/O.

A message waits, is sent, and is answered; or its connection is lost, and it waits again, before those that were not
sent. One that is refused for a while is postponed: it is sent again, under the same key, once the rest is answered.
The trap: replies name no message. The n-th reply of a connection belongs to the n-th message sent on it.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from comet.sending.wire import Outgoing, Reply

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts: at first, and at most."""


class Item(NamedTuple):
    """A message and the number that its publisher knows it by."""

    number: int
    outgoing: Outgoing


class Outbox:
    """Messages in order, and how far each has come."""

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()
        self._sent: deque[Item] = deque()
        self._postponed: list[Item] = []
        self.size = 0
        """Bytes of payload that are not settled."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent) + len(self._postponed)

    def put(self, item: Item) -> None:
        """Have ``item`` sent."""
        self._waiting.append(item)
        self.size += len(item.outgoing.payload)

    @property
    def waiting(self) -> int:
        """How many may be sent."""
        return len(self._waiting)

    @property
    def outstanding(self) -> int:
        """How many were sent, and have no reply yet."""
        return len(self._sent)

    @property
    def postponed(self) -> int:
        """How many were refused for a while."""
        return len(self._postponed)

    @property
    def unanswered(self) -> list[Item]:
        """All that are not settled, by their numbers."""
        return sorted(chain(self._postponed, self._sent, self._waiting))

    def take(self, most: int, most_bytes: int) -> list[Outgoing]:
        """Return what is to be sent next: at most so many, and no more once they have so many bytes."""
        taken: list[Outgoing] = []
        size, waiting = 0, self._waiting
        while waiting and len(taken) < most and size < most_bytes:
            item = waiting.popleft()
            self._sent.append(item)
            taken.append(item.outgoing)
            size += len(item.outgoing.payload)
        return taken

    def answer(self, reply: Reply) -> Item:
        """Return the item that ``reply`` belongs to. With ``reply.retry`` it is not settled."""
        item = self._sent.popleft()
        if reply.retry:
            self._postponed.append(item)
        else:
            self.size -= len(item.outgoing.payload)
        return item

    def lost(self) -> None:
        """The connection is gone: what was sent on it and not answered is to be sent again."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()

    def drop_keys(self) -> None:
        """Have what is sent from now on sent without its key."""
        self._waiting = deque(_keyless(item) for item in self._waiting)
        self._postponed = [_keyless(item) for item in self._postponed]

    def resume(self) -> None:
        """Have what was postponed sent again, before what has a higher number."""
        assert not self._sent
        if self._postponed:
            self._waiting = deque(self.unanswered)
            self._postponed = []


def _keyless(item: Item) -> Item:
    return Item(item.number, item.outgoing._replace(key=""))


class Patience:
    """How long to wait before the next attempt, and when to give up.

    Pauses double from attempt to attempt, with a random part, so that many publishers do not come back in step.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._attempts = 0
        self._deadline = now() + seconds

    def renew(self) -> None:
        """Something was acknowledged: begin anew."""
        self._attempts = 0
        self._deadline = self._now() + self._seconds

    def pause(self) -> float | None:
        """The seconds to wait before the next attempt; None when patience is over."""
        left = self._deadline - self._now()
        if left <= 0:
            return None
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._attempts, 10))
        self._attempts += 1
        return min(left, longest * random.uniform(0.5, 1))
