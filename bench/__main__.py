"""Comet beside a bare ``send()`` loop, nginx with nchan, and Node, on the same work: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.measuring import Place, build, measure
from bench.report import Run, faults, table
from bench.scenarios import QUICK_SCENARIOS, SCENARIOS, Scenario, quick
from bench.servers import FACES, Missing, Server, default_comet, servers

SPARE_FILES = 200
"""Descriptors that a process needs beside its subscribers'."""

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
        place = _place(Path(work), asked.quick)
        known = servers(place.work, asked.comet)
        names = asked.servers or (QUICK_SERVERS if asked.quick else known)
        plan = Plan({name: known[name] for name in names}, 1 if asked.quick else asked.reps, asked.quick)
        scenarios = asked.scenarios or [SCENARIOS[name] for name in (QUICK_SCENARIOS if plan.quick else SCENARIOS)]
        _raise_file_limit(max(_options(each, plan).get("subscribers", 0) for each in scenarios))
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
        _say(f"FAILED {failure}")
    return 1 if failures else 0


def _runs(scenario: Scenario, plan: Plan, place: Place, failures: list[str]) -> Iterator[Run]:
    """Yield what each run of ``scenario`` brings; one that fails adds to ``failures``."""
    for repetition in range(plan.repetitions):
        for name, face, options in _turns(scenario, plan):
            try:
                figures = measure(place, plan.servers[FACES[face].server], FACES[face], scenario, options)
            except Missing as missing:
                if repetition == 0:
                    _say(f"{scenario.name}, {name}: left out; there is no {missing}")
                continue
            except RuntimeError as error:
                failures.append(f"{scenario.name}, {name}: {error}")
                continue
            _say(f"{scenario.name}, {name}: {_summary(scenario, figures)}")
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


def _place(work: Path, hasty: bool) -> Place:
    """The load and the server each on a CPU of its own, if there are two."""
    settle = 0.05 if hasty else 0.3
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        return Place(work, cpus[1], cpus[0], settle)
    _say("there is one CPU: the load and the servers share it, and the figures say little")
    return Place(work, -1, -1, settle)


def _raise_file_limit(subscribers: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = int(subscribers) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"bench: {needed} open files are needed, the limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--scenarios",
        type=lambda text: [SCENARIOS[name] for name in _names(text, SCENARIOS)],
        metavar="NAMES",
        help=f"which, with commas between them, of {', '.join(SCENARIOS)} [default: all; "
        f"quick: {', '.join(QUICK_SCENARIOS)}]",
    )
    names = servers(Path(), "")
    parser.add_argument(
        "--servers",
        type=lambda text: _names(text, names),
        metavar="NAMES",
        help=f"which of {', '.join(names)} [default: all that are installed; quick: {', '.join(QUICK_SERVERS)}]",
    )
    parser.add_argument("--reps", type=int, default=3, help="how often each run is made [default: 3]")
    parser.add_argument("--quick", action="store_true", help="small and short, once: to see that it works")
    parser.add_argument("--comet", default=default_comet(), metavar="COMMAND", help="what starts Comet [%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run as a line of JSON")
    return parser


def _names(text: str, known: Mapping[str, object]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return names


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # So that what was started is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
