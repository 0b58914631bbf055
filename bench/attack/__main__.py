"""Honest subscribers beside an attack: ``python -m bench.attack``."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.attack.trial import FULL, ROWS, SMALL, Size, trial
from bench.measuring import build
from bench.preparing import place_for, raise_file_limit, say
from bench.report import Run, faults, table
from bench.scenarios import Column, Scenario
from bench.servers import default_comet

COLUMNS = (
    Column("alone_p50", "p50 alone, ms", "{:,.1f}"),
    Column("beside_p50", "p50 attacked, ms", "{:,.1f}"),
    Column("alone_p99", "p99 alone, ms", "{:,.1f}"),
    Column("beside_p99", "p99 attacked, ms", "{:,.1f}"),
    Column("ratio_p99", "p99 attacked / alone", "{:,.2f}"),
    Column("hostile", "hostile connections", "{:,.0f}"),
    Column("attempts", "connects", "{:,.0f}"),
    Column("refused", "refused", "{:,.0f}"),
    Column("idle", "RSS idle, MB", "{:,.0f}"),
    Column("alone_memory", "RSS alone, MB", "{:,.0f}"),
    Column("beside_memory", "RSS attacked, MB", "{:,.0f}"),
    Column("per_hostile", "KB/hostile connection", "{:,.1f}"),
    Column("after", "RSS afterwards, MB", "{:,.0f}"),
    Column("back", "all is back after, s", "{:,.1f}"),
)

MOST_SLOWED = 2.0
"""By how much an attack of strangers may lengthen the 99th percentile of the honest. Programs of this machine may do
everything: no limits hold them back."""

MOST_MEMORY = 64.0
"""KB that a hostile connection may cost: twice what a head may have, which is the most that a connection can make the
daemon keep before it is known to mean something."""


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the table. Returns 1 if a trial failed, if the honest lost something, if something was left
    behind, or at the full size if a bound was missed."""
    asked = _parser().parse_args(arguments)
    size = SMALL if asked.small else FULL
    runs: list[Run] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        place = place_for(Path(work), asked.small)
        raise_file_limit(1.3 * size.honest)
        build(place.work)
        for repetition in range(asked.reps):
            for name, strangers in ROWS.items():
                try:
                    figures = trial(place, asked.comet, size, strangers)
                except (OSError, RuntimeError) as error:
                    failures.append(f"{name}: {error}")
                    continue
                runs.append(Run("attack", name, repetition, figures))
                there = (f"{column.title} {column.format.format(figures[column.name])}" for column in COLUMNS)
                say(f"{name}: {', '.join(there)}")
    if runs:
        print("\n".join(table(_scenario(size), runs, ())), flush=True)
    if asked.json is not None:
        asked.json.write_text("".join(f"{json.dumps(run._asdict())}\n" for run in runs))
    failures += faults(runs, of="")
    if not asked.small:
        failures += missed(runs)
    for failure in failures:
        say(f"FAILED {failure}")
    return 1 if failures else 0


def missed(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the bounds that were missed, by the medians."""
    for name in dict.fromkeys(run.face for run in runs):
        of_row = [run.figures for run in runs if run.face == name]
        slowed = statistics.median(figures["ratio_p99"] for figures in of_row)
        memory = statistics.median(figures["per_hostile"] for figures in of_row)
        if ROWS[name] and slowed > MOST_SLOWED:
            yield f"{name}: the honest p99 is {slowed:.2f} times what it is alone; {MOST_SLOWED:g} at most were wanted"
        if memory > MOST_MEMORY:
            yield f"{name}: a hostile connection costs {memory:.0f} KB; {MOST_MEMORY:g} at most were wanted"


def _scenario(size: Size) -> Scenario:
    text = f"{size.honest:,} honest streams, {size.rate:g} messages a second, without attackers and with"
    return Scenario("attack", text, tuple(ROWS), {}, COLUMNS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.attack", description=__doc__)
    parser.add_argument(
        "--small", action="store_true", help="1,000 honest and 200 hostile, briefly: to see that it works"
    )
    parser.add_argument("--reps", type=int, default=1, help="how often each trial is made [default: 1]")
    parser.add_argument("--comet", default=default_comet(), metavar="COMMAND", help="what starts Comet [%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial as a line of JSON")
    return parser


if __name__ == "__main__":
    # So that what was started is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
