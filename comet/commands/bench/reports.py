"""What the processes of a bench tell each other, over pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from comet.commands.bench.latencies import Latencies
from comet.commands.bench.sequences import Faults
from comet.commands.bench.subscribers import Target


class Place(NamedTuple):
    """A subscriber to be: by which transport, of which topic."""

    way: str
    topic: int


class Plan(NamedTuple):
    """What all processes know. ``topics`` are their names; ``rate`` is that of each publisher in messages a second, 0
    if only acknowledgements slow it; ``window`` is how many of its messages may be without one."""

    target: Target
    server: str
    topics: Sequence[str]
    publishers: int
    size: int
    rate: float
    window: int
    seconds: float
    keys: bool

    def sources(self, topic: int) -> list[int]:
        """The sources of a topic."""
        return [self.source(publisher, topic) for publisher in range(self.publishers)]

    def source(self, publisher: int, topic: int) -> int:
        """What a publisher sends on a topic."""
        return publisher * len(self.topics) + topic


class Opened(NamedTuple):
    """How many subscribers of a process are open."""

    subscribers: int


class Failed(NamedTuple):
    """Why a process cannot go on."""

    text: str


class Given(NamedTuple):
    """What a process was given over a transport since it last said so."""

    way: str
    messages: int
    bytes: int
    latencies: Latencies


class Sample(NamedTuple):
    """How a process of subscribers stands; ``newest`` is when something last came."""

    given: Sequence[Given]
    held: int
    newest: float


class Outcome(NamedTuple):
    """What became of the subscribers of a process, by transport; ``busy`` is the share of its time in which it had
    something to do."""

    faults: Mapping[str, Faults]
    busy: float


class Published(NamedTuple):
    """How many messages a publisher has had acknowledged so far."""

    messages: int


class Finished(NamedTuple):
    """What a publisher has published, by source, in how many seconds; ``busy`` as above."""

    totals: Mapping[int, int]
    seconds: float
    busy: float


class Go(NamedTuple):
    """To all: everybody is there."""


class End(NamedTuple):
    """To the subscribers: this is what was published."""

    totals: Mapping[int, int]
