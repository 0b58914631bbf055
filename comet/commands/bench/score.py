"""What the processes of a bench have said so far, put together."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from comet.commands.bench.latencies import Latencies
from comet.commands.bench.reports import Finished, Opened, Outcome, Place, Published, Sample
from comet.commands.bench.sequences import Faults


@dataclass(slots=True)
class Deliveries:
    """What was delivered, by one transport or by all."""

    messages: int = 0
    bytes: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, others: Iterable[Deliveries]) -> Deliveries:
        """Add those of others; returns this."""
        for other in others:
            self.messages += other.messages
            self.bytes += other.bytes
            self.latencies.merge([other.latencies])
        return self


class Score:
    """The figures of a bench whose subscribers are at ``places``."""

    def __init__(self, places: list[list[Place]], publishers: int) -> None:
        self.subscribers = [len(each) for each in places]
        self.publishers = publishers
        self.delivered: dict[str, Deliveries] = defaultdict(Deliveries)
        self.lately = Deliveries()
        """What was delivered since somebody made it a new one."""
        self.faults: dict[str, Faults] = defaultdict(Faults)
        self.totals: dict[int, int] = {}
        self.busy_listening = self.busy_publishing = 0.0
        self.begun = self.newest = 0.0
        self._opened = [0] * len(places)
        self._listening: set[int] = set()
        self._held = [0] * len(places)
        self._published: dict[int, int] = {}
        self._finished: list[Finished] = []
        self._outcomes = 0

    def take(self, who: int, said: Any) -> None:
        """Take what a process has said; those of subscribers have the first numbers."""
        if isinstance(said, Opened):
            self._opened[who] = said.subscribers
        elif isinstance(said, Sample):
            self._take_sample(who, said)
        elif isinstance(said, Published):
            self._published[who] = said.messages
        elif isinstance(said, Finished):
            self._finished.append(said)
            self.totals.update(said.totals)
            self.busy_publishing = max(self.busy_publishing, said.busy)
        else:
            assert isinstance(said, Outcome)
            self._outcomes += 1
            self.busy_listening = max(self.busy_listening, said.busy)
            for way, faults in said.faults.items():
                self.faults[way].add([faults])

    def begin(self) -> None:
        """From here on it counts."""
        self.begun = self.newest = time.monotonic()

    # -- how far it has come ----------------------------------------------------------------------------------------

    @property
    def opened(self) -> int:
        """How many subscribers have been opened."""
        return sum(self._opened)

    @property
    def all_open(self) -> bool:
        """Whether all have."""
        return len(self._listening) == len(self.subscribers)

    @property
    def held(self) -> int:
        """How many subscribers are connected."""
        return sum(self._held)

    @property
    def published(self) -> int:
        """How many messages were acknowledged."""
        return sum(self._published.values())

    @property
    def all_published(self) -> bool:
        """Whether all publishers have finished."""
        return len(self._finished) == self.publishers

    @property
    def all_told(self) -> bool:
        """Whether all subscribers have said what became of them."""
        return self._outcomes == len(self.subscribers)

    @property
    def publish_seconds(self) -> float:
        """How long the publishers took."""
        return max((each.seconds for each in self._finished), default=0.0)

    @property
    def seconds(self) -> float:
        """From the first publish to the last delivery."""
        return max(self.newest - self.begun, 1e-3)

    def _take_sample(self, who: int, sample: Sample) -> None:
        self._listening.add(who)
        self._opened[who], self._held[who] = self.subscribers[who], sample.held
        for given in sample.given:
            deliveries = Deliveries(given.messages, given.bytes, given.latencies)
            self.delivered[given.way].add([deliveries])
            self.lately.add([deliveries])
            if given.messages:
                self.newest = max(self.newest, sample.newest)
