"""Whether a history is one of a daemon that loses nothing that it acknowledged. Pure: values in, faults in words out.

What is asked, of every history: one epoch; offsets that rise, for each reader, for each publisher and by the clock; an
acknowledged message is in the log in the end, under the position that was answered, and once, however often it was
repeated; every reader has every message of the log that it wants, or a gap that covers it; and nobody was given a
message that the log does not have in the end, which would have been delivered before it was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tests.crash.accounts import History, Publication, Reading, Seen, Told, offset_of, wants

MOST = 5
"""Faults of one kind that are told of one reader or publisher; a hundred thousand say no more."""


def faults(history: History) -> list[str]:
    """Return what is wrong, a line each; nothing if all is well."""
    case = _Case(history)
    kinds = (case.epochs(), case.contents(), case.acknowledged(), case.refused(), case.stored_twice(), case.clock())
    found = [fault for kind in kinds for fault in few(kind)]
    for writer, publications in _by_writer(history.publications).items():
        found += [f"{writer}: {fault}" for fault in few(case.order_of_writer(publications))]
    for reading in (*history.readings, history.log):
        for kind in (_order(reading), case.missing(reading), case.taken_back(reading), case.gaps(reading)):
            found += [f"{reading.name}: {fault}" for fault in few(kind)]
    return found


class _Case:
    def __init__(self, history: History) -> None:
        self._history = history
        self._log = history.log.seen()
        self._kept = {offset_of(seen.position): seen for seen in self._log}
        self._offsets = {seen.payload: offset_of(seen.position) for seen in self._log}
        self._trimmed = min(self._kept, default=1) - 1 if history.trims else 0
        """Everything up to this offset may have been forgotten on purpose."""

    # -- the whole -----------------------------------------------------------------------------------------------------

    def epochs(self) -> Iterator[str]:
        history = self._history
        positions = [position for publication in history.publications for position in publication.positions if position]
        for reading in (*history.readings, history.log):
            positions += [seen.position for seen in reading.seen()]
            positions += [position for told in reading.told() for position in told]
        found = {position.rpartition("-")[0] for position in positions}
        if len(found) > 1:
            yield f"there are {len(found)} epochs: {', '.join(sorted(found))}"

    def contents(self) -> Iterator[str]:
        """A position is one message, the same for all, and somebody has published it."""
        published = {publication.payload: publication.topic for publication in self._history.publications}
        known: dict[str, Seen] = {}
        for reading in (self._history.log, *self._history.readings):
            for seen in reading.seen():
                first = known.setdefault(seen.position, seen)
                if first is seen and published.get(seen.payload) != seen.topic:
                    yield f"nobody has published {_shown(seen)}"
                if first != seen:
                    yield f"{reading.name} has {_shown(seen)}, others have {_shown(first)}"

    def acknowledged(self) -> Iterator[str]:
        for publication in self._history.publications:
            answers = set(filter(None, publication.positions))
            if len(answers) > 1:
                yield f"{_named(publication)} was answered with {len(answers)} positions: {sorted(answers)}"
            if publication.position and offset_of(publication.position) > self._trimmed:
                yield from self._found(publication)
            elif publication.positions and not publication.position and self._lost(publication):
                yield f"{_named(publication)} was acknowledged, and is lost"

    def _lost(self, publication: Publication) -> bool:
        return publication.payload not in self._offsets and not self._trimmed

    def _found(self, publication: Publication) -> Iterator[str]:
        kept = self._kept.get(offset_of(publication.position))
        if kept is None:
            yield f"{_named(publication)} was acknowledged as {publication.position}, and is lost"
        elif (kept.topic, kept.payload) != (publication.topic, publication.payload):
            yield f"{_named(publication)} was acknowledged as {publication.position}, which is {_shown(kept)}"

    def refused(self) -> Iterator[str]:
        """What was answered with an error, and never tried again, is nowhere."""
        for each in self._history.publications:
            refused = each.refusals and not each.repeated and not each.positions
            if refused and each.payload in self._offsets:
                yield f"{_named(each)} was refused ({each.refusals[0]}), and is in the log"

    def stored_twice(self) -> Iterator[str]:
        for seen in self._log:
            if self._offsets[seen.payload] != offset_of(seen.position):
                yield f"{_shown(seen)} is in the log twice: {self._offsets[seen.payload]} has it, too"

    def clock(self) -> Iterator[str]:
        """What was begun after something else was acknowledged comes after it."""
        placed = [each for each in self._history.publications if each.position]
        heard = sorted(placed, key=lambda each: each.heard)
        most, latest, index = 0, None, 0
        for publication in sorted(placed, key=lambda each: each.begun):
            while heard[index].heard < publication.begun:
                if offset_of(heard[index].position) > most:
                    most, latest = offset_of(heard[index].position), heard[index]
                index += 1
            if latest is not None and offset_of(publication.position) < most:
                yield f"{_named(publication)} got {publication.position}, after {_named(latest)} had {latest.position}"

    # -- each publisher ------------------------------------------------------------------------------------------------

    def order_of_writer(self, publications: Sequence[Publication]) -> Iterator[str]:
        """Its messages are in the log in the order in which it sent them; one that was refused before may be late."""
        found = [
            (self._offsets[each.payload], each)
            for each in publications
            if each.payload in self._offsets and not each.refusals
        ]
        for (before, first), (after, second) in pairwise(found):
            if after < before:
                yield f"number {second.number} is at {after}, before number {first.number} at {before}"

    # -- each reader ---------------------------------------------------------------------------------------------------

    def missing(self, reading: Reading) -> Iterator[str]:
        offsets = {offset_of(seen.position) for seen in reading.seen()}
        gaps = [(offset_of(told.since), offset_of(told.until)) for told in reading.told()]
        # Who has had nothing yet is not told what was forgotten before it came.
        gaps.append((0, min(self._trimmed, min(offsets, default=0) - 1)))
        for seen in self._due():
            offset = offset_of(seen.position)
            if offset in offsets or not wants(reading.patterns, seen.topic):
                continue
            if not any(since < offset <= until for since, until in gaps):
                yield f"{_shown(seen)} was not delivered"

    def _due(self) -> Iterator[Seen]:
        """What is certain to have been in the log."""
        yield from self._log
        for each in self._history.publications:
            if each.position and offset_of(each.position) not in self._kept:
                yield Seen(each.position, each.topic, each.payload)

    def taken_back(self, reading: Reading) -> Iterator[str]:
        for seen in reading.seen():
            offset = offset_of(seen.position)
            if offset > self._trimmed and offset not in self._kept:
                yield f"{_shown(seen)} was delivered, and is not in the log"

    def gaps(self, reading: Reading) -> Iterator[str]:
        reached = 0
        for item in reading.items:
            if isinstance(item, Seen):
                reached = offset_of(item.position)
                continue
            if not self._history.trims or offset_of(item.until) > self._trimmed:
                yield f"a gap was told from {item.since} to {item.until}, of what is not lost"
            if offset_of(item.since) < reached:
                yield f"a gap was told from {item.since}, behind {reached}, which had come"
        yield from _in_gaps(reading.items)


def _in_gaps(items: Sequence[Seen | Told]) -> Iterator[str]:
    until = 0
    for item in items:
        if isinstance(item, Told):
            until = offset_of(item.until)
        elif offset_of(item.position) <= until:
            yield f"{item.position} came, although a gap up to {until} was told"


def _order(reading: Reading) -> Iterator[str]:
    for before, after in pairwise(reading.seen()):
        if offset_of(after.position) <= offset_of(before.position):
            yield f"{after.position} came after {before.position}"


def _by_writer(publications: Iterable[Publication]) -> dict[str, list[Publication]]:
    found: dict[str, list[Publication]] = {}
    for publication in sorted(publications, key=lambda each: each.number):
        found.setdefault(publication.writer, []).append(publication)
    return found


def few(kind: Iterable[str]) -> list[str]:
    """The first faults of a kind, and how many more there are."""
    found = list(kind)
    return found if len(found) <= MOST else [*found[:MOST], f"… and {len(found) - MOST} more of that kind"]


def _named(publication: Publication) -> str:
    return f"number {publication.number} of {publication.writer}"


def _shown(seen: Seen) -> str:
    return f"{seen.position} ({seen.topic}): {seen.payload[:40]!r}"
