"""The screen of ``comet top``: pure, from figures to lines. Made for 80 by 24, and it uses what there is more.

What stands in topics, patterns and addresses comes from outside: control characters are replaced before anything is
measured or shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from comet.commands.amounts import age, aligned, duration, padded, rate, share, short, size
from comet.commands.terminal import cells, cut, printable
from comet.commands.watch import Daemon, Stream, Topic

FEWEST = 3
"""Topics that have room, however many streams are slow."""

LONGEST_TOPIC = 100

LEAST = (18, 6, 0)
"""Columns that the values take at least, so that what is beside them stays where it is."""


class Screen(NamedTuple):
    """How many columns and lines there are."""

    width: int
    height: int


class Shown(NamedTuple):
    """What is shown."""

    url: str
    state: str
    daemon: Daemon
    topics: Sequence[Topic]
    streams: Sequence[Stream]


def dashboard(shown: Shown, screen: Screen) -> list[str]:
    """Return the lines of the screen, at most as many as there is room for."""
    lines = [_head(shown, screen.width), "", *_grid(shown.daemon), ""]
    room = screen.height - len(lines) - 1 - 3  # a blank and the two titles
    slow = min(len(shown.streams), max(1, room - max(FEWEST, min(len(shown.topics), room // 2))) // 2)
    lines += _topics(shown.topics[: max(1, room - max(1, 2 * slow))], screen.width)
    lines += ["", *_streams(shown.streams[:slow], shown.daemon.reading)]
    return [cut(line.rstrip(), screen.width - 1) for line in lines[: screen.height - 1]]


def _head(shown: Shown, width: int) -> str:
    daemon = shown.daemon
    left = f"Comet {printable(daemon.version)}   {printable(shown.url)}   up {age(daemon.uptime)}"
    state = "draining" if daemon.draining and shown.state == "live" else printable(shown.state)
    return padded(left, max(0, width - 1 - cells(state) - 2)) + "  " + state


def _grid(daemon: Daemon) -> list[str]:
    """The figures of the daemon as a whole, four columns of labels and values."""
    rates, reading, stuck = daemon.rates, daemon.reading, daemon.stuck
    subscribers = sum(daemon.subscriptions.values())
    columns: tuple[Sequence[tuple[str, str]], ...] = (
        (
            ("in", _pair(rate(rates.published), f"{size(rates.published_bytes)}/s")),
            ("out", _pair(rate(rates.delivered), f"{size(rates.delivered_bytes)}/s")),
            ("retained", _pair(short(daemon.retained), size(daemon.retained_bytes))),
            ("topics", f"{daemon.topics:,}"),
        ),
        (
            ("subscribers", f"{subscribers:,}"),
            ("live", f"{subscribers - reading:,}"),
            ("reading", f"{reading - stuck:,}"),
            ("stuck", f"{stuck:,}"),
        ),
        (
            ("memory", size(daemon.memory)),
            ("CPU", share(daemon.cpu)),
            ("lag", f"{duration(daemon.reactor_lag)}, max {duration(daemon.reactor_lag_max)}"),
            ("flush", f"{duration(daemon.flush.p50)}, p99 {duration(daemon.flush.p99)}"),
        ),
    )
    blocks = [_block(column, least) for column, least in zip(columns, LEAST, strict=True)]
    lines = ["  ".join(row) for row in zip(*blocks, strict=True)]
    lines.append(f"{padded('by transport', 12)}  {_counts(daemon.subscriptions) or 'nobody is subscribed'}")
    troubles = {"gaps": daemon.gaps, "slow": daemon.slow, "stalled": daemon.stalled}
    lines.append(f"{padded('so far', 12)}  {_counts(troubles, zeros=True)}")
    lines.append(f"{padded('refused', 12)}  {_counts(daemon.refused) or 'nothing'}")
    return lines


def _pair(first: str, second: str) -> str:
    """Two values, the second of which stands below those of other pairs."""
    return f"{padded(first, 7)}  {second}"


def _block(column: Sequence[tuple[str, str]], least: int) -> list[str]:
    """Labels and values, the values below each other."""
    label = max(len(name) for name, _ in column)
    value = max(least, *(cells(text) for _, text in column))
    return [f"{padded(name, label)}  {padded(text, value)}" for name, text in column]


def _counts(counts: Mapping[str, int], zeros: bool = False) -> str:
    """Names with their counts, the largest in front."""
    items = counts.items() if zeros else sorted(counts.items(), key=lambda item: -item[1])
    return "   ".join(f"{printable(name)} {count:,}" for name, count in items if count or zeros)


def _topics(topics: Sequence[Topic], width: int) -> list[str]:
    if not topics:
        return ["BUSIEST TOPICS", "nothing is published"]
    rows = [
        [
            rate(topic.published),
            f"{size(topic.published_bytes)}/s",
            f"{topic.retained:,}",
            f"{topic.subscribers:,}",
        ]
        for topic in topics
    ]
    figures = aligned([["in", "bytes", "retained", "subscribers"], *rows], words=0)
    room = max(16, min(LONGEST_TOPIC, width - 1 - 2 - max(map(cells, figures))))
    names = ["BUSIEST TOPICS", *(printable(topic.topic) for topic in topics)]
    right = max(map(cells, figures))
    return [f"{padded(name, room)}  {text:>{right}}" for name, text in zip(names, figures, strict=True)]


def _streams(streams: Sequence[Stream], slow: int) -> list[str]:
    """Two lines for each: who and how far behind, and what becomes of it."""
    if not streams:
        return ["SLOW STREAMS", "nobody" if not slow else f"{slow:,}, for which there is no room here"]
    title = "SLOW STREAMS" if len(streams) >= slow else f"SLOW STREAMS, {len(streams)} of {slow:,}"
    rows = [
        [stream.transport, stream.address, _state(stream), _behind(stream), _patterns(stream)] for stream in streams
    ]
    lines = [title]
    for head, stream in zip(aligned([[*map(printable, row)] for row in rows], words=5), streams, strict=True):
        lines += [head, f"  {printable(stream.treatment)}"]
    return lines


def _state(stream: Stream) -> str:
    return stream.state if stream.stuck is None else f"{stream.state} for {age(stream.stuck)}"


def _behind(stream: Stream) -> str:
    behind = stream.behind
    return f"{behind.messages:,}{'+' if behind.more else ''} behind ({size(behind.bytes)})"


def _patterns(stream: Stream) -> str:
    more = stream.pattern_count - len(stream.patterns)
    return " ".join(stream.patterns) + (f" and {more:,} more" if more > 0 else "")
