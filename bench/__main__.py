"""Comet beside a bare ``send()`` loop, nginx with nchan, and Node, on the same work: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.measuring import Place, build, measure
from bench.preparing import names, place_for, raise_file_limit, say
from bench.report import Run, faults, table
from bench.scenarios import QUICK_SCENARIOS, SCENARIOS, Scenario, quick
from bench.servers import FACES, Missing, Server, default_comet, servers

QUICK_SERVERS = ("floor", "comet")


class Plan(NamedTuple):
    """What is asked for: ``servers`` are those that take part."""

    servers: Mapping[str, Server]
    repetitions: int
    quick: bool


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the tables. Returns 1 if a run failed, or Comet lost something or got something wrong."""
    asked = _parser().parse_args(arguments)
    runs: list[Run] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        place = place_for(Path(work), asked.quick)
        known = servers(place.work, asked.comet)
        taking_part = asked.servers or (QUICK_SERVERS if asked.quick else known)
        plan = Plan({name: known[name] for name in taking_part}, 1 if asked.quick else asked.reps, asked.quick)
        scenarios = asked.scenarios or [SCENARIOS[name] for name in (QUICK_SCENARIOS if plan.quick else SCENARIOS)]
        raise_file_limit(max(_options(each, plan).get("subscribers", 0) for each in scenarios))
        build(place.work)
        for scenario in scenarios:
            of_scenario = list(_runs(scenario, plan, place, failures))
            runs += of_scenario
            if of_scenario:
                print("\n".join(table(scenario, of_scenario)), flush=True)
    if asked.json is not None:
        asked.json.write_text("".join(f"{json.dumps(run._asdict())}\n" for run in runs))
    failures += faults(runs)
    for failure in failures:
        say(f"FAILED {failure}")
    return 1 if failures else 0


def _runs(scenario: Scenario, plan: Plan, place: Place, failures: list[str]) -> Iterator[Run]:
    """Yield what each run of ``scenario`` brings; one that fails adds to ``failures``."""
    for repetition in range(plan.repetitions):
        for name, face, options in _turns(scenario, plan):
            try:
                figures = measure(place, plan.servers[FACES[face].server], FACES[face], scenario, options)
            except Missing as missing:
                if repetition == 0:
                    say(f"{scenario.name}, {name}: left out; there is no {missing}")
                continue
            except RuntimeError as error:
                failures.append(f"{scenario.name}, {name}: {error}")
                continue
            say(f"{scenario.name}, {name}: {_summary(scenario, figures)}")
            yield Run(scenario.name, name, repetition, figures)


def _turns(scenario: Scenario, plan: Plan) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield the name, the face and the options of each run of a repetition."""
    for face in scenario.faces:
        if FACES[face].server in plan.servers:
            yield face, face, _options(scenario, plan)
            for suffix, further in scenario.variants.items():
                yield face + suffix, face, _options(scenario, plan, further)


def _options(scenario: Scenario, plan: Plan, further: Mapping[str, float] | None = None) -> Mapping[str, float]:
    options = {**scenario.options, **(further or {})}
    return quick(options) if plan.quick else options


def _summary(scenario: Scenario, figures: Mapping[str, float | None]) -> str:
    there = ((column, figures[column.name]) for column in scenario.columns)
    return ", ".join(f"{column.title} {column.format.format(value)}" for column, value in there if value is not None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--scenarios",
        type=lambda text: [SCENARIOS[name] for name in names(text, SCENARIOS)],
        metavar="NAMES",
        help=f"which, with commas between them, of {', '.join(SCENARIOS)} [default: all; "
        f"quick: {', '.join(QUICK_SCENARIOS)}]",
    )
    known = servers(Path(), "")
    parser.add_argument(
        "--servers",
        type=lambda text: names(text, known),
        metavar="NAMES",
        help=f"which of {', '.join(known)} [default: all that are installed; quick: {', '.join(QUICK_SERVERS)}]",
    )
    parser.add_argument("--reps", type=int, default=3, help="how often each run is made [default: 3]")
    parser.add_argument("--quick", action="store_true", help="small and short, once: to see that it works")
    parser.add_argument("--comet", default=default_comet(), metavar="COMMAND", help="what starts Comet [%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run as a line of JSON")
    return parser


if __name__ == "__main__":
    # So that what was started is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
