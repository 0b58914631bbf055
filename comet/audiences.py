"""The audiences that there are: by key, and by topic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from comet.audience import Audience, Key
from comet.interfaces import Clock
from comet.metrics import Metrics
from comet.topics import PatternIndex


class Audiences:
    """Makes an audience when its first member enters, and forgets it when the last one leaves."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._by_key: dict[Key, Audience] = {}
        self._index: PatternIndex[Audience] = PatternIndex()
        self.match: Callable[[str], Iterable[Audience]] = self._index.match
        """From a topic to the audiences that want it; bound here, which saves the hot path a call."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._by_key.values())

    @property
    def topics(self) -> Collection[str]:
        """The topics that are wanted by their names."""
        return self._index.topics

    @property
    def wildcards(self) -> int:
        """How many patterns with a wildcard are wanted."""
        return self._index.wildcards

    def named(self, topic: str) -> int:
        """How many subscriptions want ``topic`` by its name."""
        return sum(audience.size for audience in self._index.exactly(topic))

    def enter(self, key: Key) -> Audience:
        """Return the audience of ``key``, with one member more."""
        audience = self._by_key.get(key)
        if audience is None:
            audience = self._by_key[key] = Audience(key, self._metrics.tally(key.transport), self._clock.seconds())
            for pattern in key.patterns:
                self._index.add(pattern, audience)
        audience.size += 1
        audience.tally.subscriptions += 1
        return audience

    def leave(self, audience: Audience) -> None:
        """Note that a member has left ``audience``."""
        audience.size -= 1
        audience.tally.subscriptions -= 1
        if audience.size:
            return
        del self._by_key[audience.key]
        for pattern in audience.key.patterns:
            self._index.remove(pattern, audience)
        if audience.tick is not None:
            audience.tick.cancel()
            audience.tick = None
