"""``comet bench``: load a running daemon from several processes, check every message at every subscriber, and measure.

One process in Python cannot load the daemon, so subscribers and publishers have processes of their own; this one only
asks them how they stand. What is measured ends with the load: what has not come by then is waited for, so that nothing
counts as lost that is only late.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from comet.commands.amounts import duration, rate, size
from comet.commands.asking import Unanswered, ask
from comet.commands.bench.options import parsed, places_of, plan_of, raise_limit
from comet.commands.bench.processes import Crew
from comet.commands.bench.publishers import publish
from comet.commands.bench.reports import End, Go
from comet.commands.bench.result import Result
from comet.commands.bench.score import Deliveries, Score
from comet.commands.bench.worker import listen
from comet.commands.terminal import Live

SHOWN = 1.0
"""Seconds between two looks at how it goes."""

ASKED = 5.0
"""Seconds that the daemon has to say how it is."""

LONGEST_PHASE = 60.0
"""Seconds that opening, and coming to an end, may take."""


def main(arguments: Sequence[str]) -> int:
    """Run a bench; returns 1 if a message was lost, repeated, damaged or out of order, and nobody said so."""
    options = parsed(arguments)
    places = places_of(options)
    plan = plan_of(options)
    raise_limit(places)
    _stats(options, needed=True)
    with Crew() as crew:
        for each in places:
            crew.begin(listen, plan, each)
        for number in range(options.publishers):
            crew.begin(publish, plan, number)
        with Live(sys.stderr) as live:
            score = Score(places, options.publishers)
            stats = Course(options, crew, live, score).run()
    result = Result(options, places, score, stats)
    if options.json:
        print(json.dumps(result.figures()))
    else:
        print("\n".join(result.lines()))
    return result.code


class Course:
    """What happens in turn, and what is shown of it."""

    def __init__(self, options: argparse.Namespace, crew: Crew, live: Live, score: Score) -> None:
        self._options = options
        self._crew = crew
        self._live = live
        self._score = score
        self._shown = time.monotonic()
        self._published = 0

    def run(self) -> Any:
        """Go through it; returns what the daemon said of itself at the height of it, or None."""
        score = self._score
        self._until(lambda: score.all_open, LONGEST_PHASE, "opening the subscribers")
        score.begin()
        score.lately = Deliveries()
        self._crew.tell(Go())
        self._until(lambda: score.all_published, self._options.seconds + LONGEST_PHASE, "publishing")
        stats = _stats(self._options)
        self._crew.tell(End(score.totals))
        self._until(lambda: score.all_told, LONGEST_PHASE, "waiting for the last messages")
        return stats

    def _until(self, condition: Callable[[], bool], longest: float, what: str) -> None:
        deadline = time.monotonic() + longest
        while not condition():
            for who, said in self._crew.heard(SHOWN / 4):
                self._score.take(who, said)
            now = time.monotonic()
            if now > deadline:
                raise SystemExit(f"comet bench: {what} takes longer than {longest:g} seconds; ask for less")
            if now >= self._shown + SHOWN:
                self._show(now)

    def _show(self, now: float) -> None:
        seconds, self._shown = now - self._shown, now
        score = self._score
        if not score.begun:
            line = f"{score.opened:,} of {sum(score.subscribers):,} subscribers are open"
            self._live.show([line], {"opened": score.opened, "subscribers": sum(score.subscribers)})
            return
        lately, score.lately = score.lately, Deliveries()
        published, self._published = score.published - self._published, score.published
        figures = {
            "seconds": round(now - score.begun, 3),
            "published_per_second": round(published / seconds, 1),
            "delivered_per_second": round(lately.messages / seconds, 1),
            "bytes_per_second": round(lately.bytes / seconds, 1),
            "p50": lately.latencies.quantile(0.5),
            "p99": lately.latencies.quantile(0.99),
            "held": score.held,
        }
        self._live.show([self._line(figures)], figures)

    def _line(self, figures: dict[str, Any]) -> str:
        score, cut_off = self._score, sum(self._score.subscribers) - self._score.held
        return "  ".join(
            (
                f"{figures['seconds']:.0f} of {self._options.seconds:g} s",
                f"in {rate(figures['published_per_second'])}",
                f"out {rate(figures['delivered_per_second'])}",
                f"{size(figures['bytes_per_second'])}/s",
                f"p50 {duration(figures['p50'])}",
                f"p99 {duration(figures['p99'])}",
                *([f"{cut_off:,} cut off"] if cut_off else []),
                *(["ending"] if score.all_published else []),
            )
        )


def _stats(options: argparse.Namespace, needed: bool = False) -> Any:
    """What the daemon says of itself, or None if it does not say that to everybody."""
    try:
        return ask(options.url, "/stats", ASKED)
    except Unanswered as error:
        if needed and not error.status:
            raise SystemExit(f"comet bench: cannot reach {options.url.geturl()}: {error}; {error.hint()}") from None
        return None
