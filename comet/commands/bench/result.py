"""The result of a bench: a table for people, an object for programs, and the sentences that say what to make of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any, NamedTuple

from comet.commands.amounts import aligned, digits, duration, rate, share, short, size
from comet.commands.bench.reports import Place
from comet.commands.bench.score import Deliveries, Score
from comet.commands.bench.sequences import Faults

LIMIT = 0.9
"""The share of its time that a process is busy, from which on it is what limits the figures."""

REACHED = 0.95
"""The share of the rate that was asked for, below which it was not reached."""

WIDTH = 79

TITLES = ("transport", "subs", "msgs/s", "MB/s", "p50 ms", "p99", "max", "lost", "twice", "order", "gaps")


class Row(NamedTuple):
    """One transport, or all of them."""

    name: str
    subscribers: int
    delivered: Deliveries
    faults: Faults
    seconds: float

    def cells(self) -> list[str]:
        """The row of the table."""
        times = self.delivered.latencies
        return [
            self.name,
            f"{self.subscribers:,}",
            short(self.delivered.messages / self.seconds),
            digits(self.delivered.bytes / self.seconds / 1e6),
            *map(_milliseconds, (times.quantile(0.5), times.quantile(0.99), times.maximum())),
            *map(short, (self.faults.lost, self.faults.twice, self.faults.disordered, self.faults.gaps)),
        ]

    def figures(self) -> dict[str, Any]:
        """The row as an object; durations are in seconds."""
        times = self.delivered.latencies
        return {
            "transport": self.name,
            "subscribers": self.subscribers,
            "delivered": self.delivered.messages,
            "bytes": self.delivered.bytes,
            "delivered_per_second": round(self.delivered.messages / self.seconds, 1),
            "bytes_per_second": round(self.delivered.bytes / self.seconds, 1),
            "p50": times.quantile(0.5),
            "p99": times.quantile(0.99),
            "max": times.maximum(),
            **asdict(self.faults),
        }


class Result:
    """What came of ``score``; ``stats`` is what the daemon said of itself when the publishers had finished, or None."""

    def __init__(
        self,
        options: argparse.Namespace,
        places: Iterable[Sequence[Place]],
        score: Score,
        stats: Mapping[str, Any] | None,
    ) -> None:
        self._options = options
        self._score = score
        self._stats = stats
        subscribers = Counter(place.way for each in places for place in each)
        self._rows = [
            Row(way, count, score.delivered[way], score.faults[way], score.seconds)
            for way, count in subscribers.items()
        ]
        self._all = Row(
            "all",
            subscribers.total(),
            Deliveries().add(score.delivered.values()),
            Faults().add(score.faults.values()),
            score.seconds,
        )

    @property
    def code(self) -> int:
        """The exit code: 1 if a message is not where it should be, and nobody said so."""
        return 1 if self._all.faults.wrong() else 0

    def lines(self) -> Iterator[str]:
        """Yield the table, and what else there is to say."""
        rows = self._rows if len(self._rows) == 1 else [*self._rows, self._all]
        yield from aligned([TITLES, *(row.cells() for row in rows)])
        yield ""
        for name, text in self._sentences():
            yield from wrap(text, WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)
        for remark in self._remarks():
            yield from ("", *wrap(remark, WIDTH))

    def figures(self) -> dict[str, Any]:
        """All of it as an object."""
        options, score = self._options, self._score
        return {
            "topics": options.topics,
            "size": options.size,
            "rate": options.rate,
            "publishers": options.publishers,
            "processes": len(score.subscribers),
            "seconds": round(score.seconds, 3),
            "published": score.published,
            "publish_seconds": round(score.publish_seconds, 3),
            "transports": [row.figures() for row in self._rows],
            "all": self._all.figures(),
            "busy": {"subscribers": round(score.busy_listening, 3), "publishers": round(score.busy_publishing, 3)},
            "remarks": list(self._remarks()),
            "daemon": self._stats,
        }

    def _sentences(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say, and of what."""
        score = self._score
        yield "published", self._published()
        if self._stats is not None:
            yield "daemon", _told(self._stats)
        yield "bench", f"busy {share(score.busy_listening)} of the time, publishing {share(score.busy_publishing)}"
        yield "messages", _verdict(self._all.faults)

    def _published(self) -> str:
        score, asked = self._score, self._options.rate
        reached = score.published / max(score.publish_seconds, 1e-3)
        wanted = f", of {rate(asked)} asked for" if asked else ", as fast as acknowledged"
        return f"{score.published:,} messages of {size(self._options.size)}, {rate(reached)}{wanted}"

    def _remarks(self) -> Iterator[str]:
        """Yield what the figures are to be read with."""
        score, asked = self._score, self._options.rate
        if score.busy_listening >= LIMIT:
            yield (
                "The subscribers were the bottleneck: their processes had no time to spare. The daemon can do better "
                "than these figures; use more --processes, or another machine for the bench."
            )
        if score.busy_publishing >= LIMIT:
            yield "The publishers were the bottleneck: use more --publishers, or another machine for the bench."
        if asked and score.published < REACHED * asked * self._options.seconds and score.busy_publishing < LIMIT:
            yield "The rate was not reached: acknowledgements came too slowly for it."


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else digits(seconds * 1000)


def _told(stats: Mapping[str, Any]) -> str:
    """What the daemon said of itself, of what it may be expected to say."""
    rates, flush = stats.get("rates") or {}, stats.get("flush") or {}
    parts = []
    if "cpu" in stats:
        parts.append(f"CPU {share(stats['cpu'])} (last {rates.get('seconds', 0):.0f} s)")
    if "p99" in flush:
        parts.append(f"flush p99 {duration(flush['p99'])}")
    if "reactor_lag_max" in stats:
        parts.append(f"lag max {duration(stats['reactor_lag_max'])}")
    if "memory" in stats:
        parts.append(size(stats["memory"]))
    return ", ".join(parts) or "says nothing of itself"


def _verdict(faults: Faults) -> str:
    """What became of the messages, in words."""
    wrong = [
        f"{count:,} {text}"
        for count, text in (
            (faults.lost, "lost without a word"),
            (faults.twice, "came twice"),
            (faults.disordered, "came out of order"),
            (faults.damaged, "came damaged"),
            (faults.misrouted, "came to the wrong subscriber"),
        )
        if count
    ]
    text = ", ".join(wrong) or "each came once and in order"
    if faults.skipped:
        text += f", but for {faults.skipped:,} that subscribers know they have missed ({faults.gaps:,} gaps)"
    if faults.dropped:
        text += f"; {faults.dropped:,} connections were cut off and made again"
    return text
