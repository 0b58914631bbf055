"""Amounts as people read them, three digits and a unit, and tables whose columns are in line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from comet.commands.terminal import cells, cut

_DECIMAL = ("", "k", "M", "G", "T", "P")


def short(value: float, unit: str = "") -> str:
    """Return ``value`` with a decimal prefix: ``12.3k``, or with a unit ``12.3 kB``."""
    prefix = 0
    while abs(value) >= 999.5 and prefix < len(_DECIMAL) - 1:
        value /= 1000
        prefix += 1
    text = digits(value) if prefix or value % 1 else f"{value:.0f}"
    return f"{text} {_DECIMAL[prefix]}{unit}" if unit else f"{text}{_DECIMAL[prefix]}"


def rate(value: float) -> str:
    """How many a second."""
    return f"{short(value)}/s"


def size(value: float) -> str:
    """So many bytes."""
    return short(round(value), "B")


def duration(seconds: float | None) -> str:
    """A time from microseconds to minutes; a dash for None."""
    if seconds is None:
        return "–"
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{digits(seconds * factor)} {unit}" if seconds else "0 ms"
    return f"{digits(seconds)} s"


def age(seconds: float) -> str:
    """How long something is there: ``4 s``, ``3 min``, ``5 h 12 min``, ``12 d 5 h``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def share(value: float) -> str:
    """A share in percent."""
    return f"{value * 100:.0f} %"


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Return ``rows``, the first of which are the titles, as lines with their columns below each other: the first
    ``words`` columns to the left, as words are, and the others to the right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_placed(row, widths, words)).rstrip() for row in rows]


def _placed(row: Iterable[str], widths: Sequence[int], words: int) -> Iterable[str]:
    for place, (text, width) in enumerate(zip(row, widths, strict=True)):
        yield padded(text, width) if place < words else " " * (width - cells(text)) + text


def padded(text: str, width: int) -> str:
    """Return ``text`` in just ``width`` columns: cut, or followed by blanks."""
    text = cut(text, width)
    return text + " " * (width - cells(text))


def digits(value: float) -> str:
    """Three digits, or as many as the whole part has."""
    for decimals, below in ((2, 9.995), (1, 99.95)):
        if abs(value) < below:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"
