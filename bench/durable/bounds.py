"""What the figures should be, and whether they are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.durable.scenarios import KEPT_BYTES, MEMORY
from bench.report import Run

Figures = Mapping[int, float]
"""A figure by repetition."""

Compare = Callable[[Figures, Figures], Sequence[float]]
"""What a row's figures are beside those of another row."""


def ratio_of_cheapest(mine: Figures, others: Figures) -> Sequence[float]:
    """The ratio of the lowest figures. What disturbs a machine only ever adds, and between two runs that is more than
    the few percent that are looked for."""
    return [min(mine.values()) / min(others.values())] if mine and others else []


def ratio(mine: Figures, others: Figures) -> Sequence[float]:
    """The ratio within each repetition."""
    return [figure / others[turn] for turn, figure in mine.items() if others.get(turn)]


def added(mine: Figures, others: Figures) -> Sequence[float]:
    """The difference within each repetition."""
    return [figure - others[turn] for turn, figure in mine.items() if turn in others]


class Bound(NamedTuple):
    """A figure of a row that is at least or at most ``bound``; with ``compare``, what that makes of it and of the same
    figure of the row ``against``."""

    text: str
    scenario: str
    face: str
    figure: str
    bound: float
    is_least: bool = False
    against: str = MEMORY
    compare: Compare | None = None
    format: str = "{:,.2f}"

    def is_met(self, seen: float) -> bool:
        """Whether the figure is on the right side."""
        return seen >= self.bound if self.is_least else seen <= self.bound


def _published(scenario: str, text: str) -> Bound:
    what = f"acknowledged publishes per second, {text}"
    return Bound(what, scenario, "commit", "publishes_per_second", 40_000, is_least=True, format="{:,.0f}")


def _replayed(scenario: str, text: str) -> Bound:
    what = f"messages per second to one reader, {text}"
    return Bound(what, scenario, "commit", "messages_per_second", 200_000, is_least=True, format="{:,.0f}")


def _added(figure: str, text: str) -> Bound:
    return Bound(f"1,000 messages/s: median added {text}, ms", "latency", "commit", figure, 3, compare=added)


def _fanned_out(scenario: str, text: str) -> Bound:
    what = f"10,000 subscribers, {text}: CPU per delivery against the memory store, the cheapest runs of each"
    return Bound(what, scenario, "commit", "cpu_per_delivery", 1.1, compare=ratio_of_cheapest)


def _started(face: str) -> Bound:
    return Bound(f"seconds from the start to serving, {face}", "start", face, "seconds", 3)


BOUNDS = (
    _published("publish", "lines"),
    _published("publish-arrays", "arrays"),
    _published("publish-xadd", "XADD"),
    _added("acknowledgement_p50", "to the acknowledgement"),
    _added("delivery_p50", "to a subscriber"),
    _replayed("replay", "one topic"),
    _replayed("replay-wildcard", "1,000 topics"),
    _fanned_out("fanout", "one in flight"),
    _fanned_out("fanout-32", "32 in flight"),
    _started("1,000,000 stored"),
    _started("1,000,000 stored, killed"),
    Bound(
        "largest RSS with 1,000,000 stored against 100,000, as many retained",
        "start",
        "1,000,000 stored",
        "peak",
        1.25,
        against="100,000 stored",
        compare=ratio,
    ),
    Bound(
        "20,000 messages/s: p99 that trimming adds, ms",
        "trim",
        "commit, trimming",
        "acknowledgement_p99",
        10,
        against="commit",
        compare=added,
    ),
    Bound(
        "20,000 messages/s: longest to an acknowledgement, trimming, ms",
        "trim",
        "commit, trimming",
        "acknowledgement_max",
        250,
    ),
    Bound("file of which 8 MiB are kept, MB", "trim", "commit, trimming", "file", 3 * KEPT_BYTES / 1e6),
)


class Verdict(NamedTuple):
    """What was ``seen`` of ``bound``: the median of the repetitions."""

    bound: Bound
    seen: float

    @property
    def is_met(self) -> bool:
        """Whether it is as it should be."""
        return self.bound.is_met(self.seen)

    def cells(self) -> list[str]:
        """The row of the table."""
        bound = self.bound
        sign = "≥" if bound.is_least else "≤"
        asked = f"{sign} {bound.bound:,.10g}"
        return [bound.text, asked, bound.format.format(self.seen), "yes" if self.is_met else "**no**"]


def verdicts(runs: Sequence[Run], bounds: Sequence[Bound] = BOUNDS) -> Iterator[Verdict]:
    """Yield what ``runs`` say to each bound; nothing to one of which they know nothing."""
    for bound in bounds:
        values = _values(bound, [run for run in runs if run.scenario == bound.scenario])
        if values:
            yield Verdict(bound, statistics.median(values))


def summary(found: Sequence[Verdict]) -> Iterator[str]:
    """Yield the lines of the table of all verdicts."""
    for cells in (["what", "bound", "seen", "met"], ["---", "---", "---:", "---"], *(each.cells() for each in found)):
        yield f"| {' | '.join(cells)} |"


def _values(bound: Bound, runs: Sequence[Run]) -> Sequence[float]:
    mine = _figures(bound.face, bound.figure, runs)
    if bound.compare is None:
        return list(mine.values())
    return bound.compare(mine, _figures(bound.against, bound.figure, runs))


def _figures(face: str, name: str, runs: Sequence[Run]) -> Figures:
    figures = ((run.repetition, run.figures.get(name)) for run in runs if run.face == face)
    return {turn: figure for turn, figure in figures if figure is not None}
