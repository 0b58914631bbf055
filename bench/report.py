"""The figures as Markdown: a table for each scenario, with medians, and ratios that are made within each repetition."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bench.scenarios import FAULT_COLUMNS, FAULTS, Column, Scenario

AGAINST = ("floor", "nchan")
"""To whom ratios are given."""

NONE = "–"


class Run(NamedTuple):
    """What one run of a ``face`` has brought."""

    scenario: str
    face: str
    repetition: int
    figures: dict[str, Any]


def table(scenario: Scenario, runs: Sequence[Run], against: Sequence[str] = AGAINST) -> Iterator[str]:
    """Yield the lines of the table of ``scenario``; ``runs`` are of no other. Ratios are to the faces ``against``."""
    columns = (*scenario.columns, *FAULT_COLUMNS)
    compared = _compared(scenario, runs, against)
    faces = list(dict.fromkeys(run.face for run in runs))
    repetitions = max(run.repetition for run in runs) + 1
    titles = ["", *(column.title for column in columns), *(f"{column.title} / {to}" for column, to in compared)]
    yield f"## {scenario.name}"
    yield ""
    yield f"{scenario.text[0].upper()}{scenario.text[1:]}. Median of {repetitions}."
    yield ""
    yield _row(titles)
    yield _row(["---", *["---:"] * (len(titles) - 1)])
    for face in faces:
        of_face = [run for run in runs if run.face == face]
        figures = [_written(column.format, (run.figures[column.name] for run in of_face)) for column in columns]
        ratios = [_written("{:.2f}", _ratios(column, of_face, runs, to)) for column, to in compared]
        yield _row([face, *figures, *ratios])
    yield ""


def faults(runs: Iterable[Run], of: str = "comet") -> Iterator[str]:
    """Yield a line for each run that lost something, or got something wrong, of the faces that begin with ``of``."""
    for run in runs:
        wrong = [f"{run.figures[name]} {name.replace('_', ' ')}" for name in FAULTS if run.figures[name]]
        if wrong and run.face.startswith(of):
            yield f"{run.scenario}, {run.face}: {', '.join(wrong)}"


def _compared(scenario: Scenario, runs: Sequence[Run], against: Sequence[str]) -> list[tuple[Column, str]]:
    present = {run.face for run in runs}
    return [(column, to) for column in scenario.columns if column.ratio for to in against if to in present]


def _ratios(column: Column, of_face: Iterable[Run], runs: Iterable[Run], to: str) -> Iterator[float | None]:
    others = {run.repetition: run.figures[column.name] for run in runs if run.face == to}
    for run in of_face:
        figure, other = run.figures[column.name], others.get(run.repetition)
        yield figure / other if figure is not None and other else None


def _written(form: str, values: Iterable[float | None]) -> str:
    there = [value for value in values if value is not None]
    return form.format(statistics.median(there)) if there else NONE


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
