"""Whether a tab had what it was to have: each message once, in order, or a gap that covers what is missing.

The judge knows the lives of the log (epochs) in their order, and every message that is known to have been in it. Each
subscription has a topic of its own, the last it names, so that a gap says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A position that can be compared with any other."""

    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What a subscription has had: ``had`` are positions; ``begun`` is where it was when messages began to come, if it
    was to begin there; ``lost`` are its gaps; it is ``over`` if it was closed before the end."""

    name: str
    topics: Sequence[str]
    since: str
    begun: str | None
    had: Sequence[str]
    lost: Sequence[Mapping[str, Any]]
    over: bool

    def wants(self, topic: str) -> bool:
        """Whether it is to have messages of ``topic``."""
        return any(topic == one or (one.endswith("/**") and topic.startswith(one[:-2])) for one in self.topics)


def watched(tab: str, report: Mapping[str, Any], *, over: bool) -> Iterable[Watched]:
    """What ``tab`` reports of its subscriptions; ``over`` if the tab is gone."""
    for name, record in report["records"].items():
        lost = [gap for gap in report["gaps"] if record["topics"][-1] in gap["topics"]]
        had = [position for position, _ in report["had"][name]]
        begun = record["from"] if record["since"] == "now" else None
        yield Watched(f"{tab} {name}", record["topics"], record["since"], begun, had, lost, over or record["closed"])


class Judge:
    """``epochs`` are the lives of the log; ``known`` has the topic of each message that was certainly in it."""

    def __init__(self, epochs: Sequence[str], known: Mapping[str, str]) -> None:
        self._epochs = {epoch: number for number, epoch in enumerate(epochs)}
        self._known = sorted((self.place(position), topic) for position, topic in known.items())

    def place(self, position: str) -> Place:
        """Where ``position`` is."""
        epoch, _, offset = position.rpartition("-")
        return Place(self._epochs[epoch], int(offset))

    def faults(self, of: Watched) -> list[str]:
        """What is wrong, in words; nothing if all is well."""
        had = [self.place(position) for position in of.had]
        gaps = [(self.place(gap["since"]), self.place(gap["until"])) for gap in of.lost]
        found = [f"{after} after {before}" for before, after in pairwise(had) if after <= before]
        found += [f"{place} is missing" for place in self._missing(of, had) if not _covered(place, gaps)]
        found += [f"there is no gap from {since} to {until}" for since, until in gaps if since.epoch == until.epoch]
        found += [
            f"{place} came, in the gap from {since}"
            for since, _ in gaps
            for place in had
            if place.epoch == since.epoch and place > since
        ]
        epochs = [since.epoch for since, _ in gaps]
        found += [f"life {epoch} ends twice: {gaps}" for epoch in set(epochs) if epochs.count(epoch) > 1]
        return [f"{of.name} ({of.since}, {of.topics}): {fault}" for fault in found]

    def _missing(self, of: Watched, had: Sequence[Place]) -> list[Place]:
        after, until = self._bounds(of, had)
        there = set(had)
        wanted = [place for place, topic in self._known if of.wants(topic) and after < place <= until]
        return [place for place in wanted if place not in there]

    def _bounds(self, of: Watched, had: Sequence[Place]) -> tuple[Place, Place]:
        """Behind what, and up to what it must have everything."""
        begins = [had[0]] if had else []
        if of.begun is not None:
            begins.append(self.place(of.begun))
        elif of.since == "first" and had:
            begins = [Place(had[0].epoch, 0)]
        elif had and "-" in of.since[1:]:
            begins.append(self.place(of.since))
        last = Place(len(self._epochs), 0)
        end = had[-1] if had and of.over else Place(0, 0) if of.over else last
        return min(begins, default=Place(0, 0)), end


def _covered(place: Place, gaps: Iterable[tuple[Place, Place]]) -> bool:
    return any(since < place <= until for since, until in gaps)
