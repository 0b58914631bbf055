"""Numbered messages that are published the whole time, and whether somebody has had each of them, once and in order."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import NamedTuple

from tests.e2e.held import publish
from tests.e2e.waiting import until

PAUSE = 0.02
"""Seconds between two messages."""


class Sent(NamedTuple):
    """A message that the daemon has acknowledged."""

    id: str
    topic: str
    data: str


class Flow:
    """Publishes on ``topics`` at ``address``, in turns of chance, as long as the block takes.

    ``sent`` are those that were acknowledged, in their order. Whether one of the ``doubtful`` was published nobody
    knows: the daemon was gone before it answered.
    """

    def __init__(self, address: str, topics: Sequence[str], chance: random.Random | None = None) -> None:
        self.sent: list[Sent] = []
        self.doubtful: set[str] = set()
        self._address = address
        self._topics = topics
        self._chance = chance or random.Random(0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Flow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def go_on(self, count: int) -> None:
        """Wait until ``count`` further messages were published."""
        goal = len(self.sent) + count
        until(lambda: len(self.sent) >= goal, f"{goal} messages are published")

    def end(self) -> None:
        """Publish no more."""
        self._over.set()
        self._thread.join()

    def publish(self, topic: str, data: str) -> None:
        """Publish one, or doubt it."""
        try:
            position = publish(self._address, topic, data)
        except (OSError, AssertionError, IndexError):
            self.doubtful.add(data)
        else:
            self.sent.append(Sent(position, topic, data))

    def _run(self) -> None:
        number = 0
        while not self._over.wait(PAUSE):
            number += 1
            self.publish(self._chance.choice(self._topics), str(number))
