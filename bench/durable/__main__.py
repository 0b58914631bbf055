"""The durable log beside the memory store, on the same work: ``python -m bench.durable``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.durable.bounds import summary, verdicts
from bench.durable.scenarios import CASES, MEMORY, Case, scaled
from bench.durable.stores import STORES, Ground, Row
from bench.measuring import Figures, build
from bench.preparing import names, place_for, raise_file_limit, say
from bench.report import Run, faults, table
from bench.servers import default_comet


class Plan(NamedTuple):
    """What is asked for."""

    stores: Sequence[str]
    repetitions: int
    scale: float

    def rows(self, case: Case) -> dict[str, Row]:
        """The rows of ``case`` that take part."""
        return {name: row for name, row in case.rows.items() if row.store in self.stores}


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the tables. Returns 1 if a run failed or lost something, or at full size missed a bound."""
    asked = _parser().parse_args(arguments)
    plan = Plan(asked.stores, asked.reps, asked.scale)
    cases = [CASES[name] for name in asked.scenarios]
    runs: list[Run] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir=asked.directory) as files:
        place = place_for(Path(work), asked.scale < 1)
        if asked.everywhere:
            place = place._replace(server_cpu=-1)
        raise_file_limit(max(case.scenario.options.get("subscribers", 0) for case in cases))
        build(place.work)
        ground = Ground(place, asked.comet, Path(files))
        for case in cases:
            of_case = list(_runs(case, plan, ground, failures))
            runs += of_case
            if of_case:
                print("\n".join(table(case.scenario, of_case, (MEMORY,))), flush=True)
    if asked.json is not None:
        asked.json.write_text("".join(f"{json.dumps(run._asdict())}\n" for run in runs))
    return judge(runs, failures, asked.scale)


def _runs(case: Case, plan: Plan, ground: Ground, failures: list[str]) -> Iterator[Run]:
    """Yield what each run of ``case`` brings, by turns; one that fails adds to ``failures``."""
    scenario = case.scenario
    for repetition in range(plan.repetitions):
        for name, row in plan.rows(case).items():
            options = scaled({**scenario.options, **row.options}, plan.scale)
            try:
                figures = case.measure(ground, row, options)
            except (OSError, RuntimeError) as error:
                failures.append(f"{scenario.name}, {name}: {error}")
                continue
            say(f"{scenario.name}, {name}: {_summary(case, figures)}")
            yield Run(scenario.name, name, repetition, figures)


def _summary(case: Case, figures: Figures) -> str:
    there = ((column, figures.get(column.name)) for column in case.scenario.columns)
    return ", ".join(f"{column.title} {column.format.format(value)}" for column, value in there if value is not None)


def judge(runs: Sequence[Run], failures: list[str], scale: float) -> int:
    """Print what the figures say to the bounds, and what failed; return the exit code."""
    found = list(verdicts(runs))
    if found:
        print("## In short\n\n" + "\n".join(summary(found)), flush=True)
    failures += faults(runs, of="")
    if scale >= 1:
        failures += [f"not met: {each.bound.text}: {each.seen:,.2f}" for each in found if not each.is_met]
    elif found:
        say("the bounds are those of the full size; at this one they say little")
    for failure in failures:
        say(f"FAILED {failure}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.durable", description=__doc__)
    parser.add_argument(
        "--scenarios",
        type=lambda text: names(text, CASES),
        default=list(CASES),
        metavar="NAMES",
        help=f"which, with commas between them, of {', '.join(CASES)} [default: all]",
    )
    parser.add_argument(
        "--stores",
        type=lambda text: names(text, STORES),
        default=[MEMORY, "commit"],
        metavar="NAMES",
        help=f"which of {', '.join(STORES)} [default: memory,commit]",
    )
    parser.add_argument("--reps", type=int, default=3, help="how often each run is made [default: 3]")
    parser.add_argument("--scale", type=_share, default=1.0, help="share of the full size, such as 0.01 [default: 1]")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where the files are, on a disk that matters")
    parser.add_argument("--everywhere", action="store_true", help="let the daemon use every CPU, the load's too")
    parser.add_argument("--comet", default=default_comet(), metavar="COMMAND", help="what starts Comet [%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run as a line of JSON")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


if __name__ == "__main__":
    # So that what was started is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
