"""Where an export begins and ends: ``--since`` and ``--until``, each a position, a time, or how long ago."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from comet.errors import BadSince
from comet.message import Message, Position

_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_STAMP = re.compile(r"[0-9]{9,11}(?:\.[0-9]+)?", re.ASCII)

Bound = Position | float


def bound(text: str) -> Bound:
    """Return the position, or the time in seconds since 1970, that ``text`` spells; for arguments."""
    try:
        return Position.parse(text)
    except BadSince:
        pass
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time() - float(ago[1]) * _SECONDS[ago[2]]
    if _STAMP.fullmatch(text):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be used: write a position such as 5f0c1a2b-1042, a time such as 2026-01-31T12:00, "
            "or how long ago, such as 90m, 2h or 7d"
        ) from None


class Bounds(NamedTuple):
    """Which messages are wanted: those after the offset ``after`` and up to ``until``, published at ``from_time`` or
    later and before ``to_time``."""

    after: int | None = None
    until: int | None = None
    from_time: float | None = None
    to_time: float | None = None

    @classmethod
    def of(cls, since: Bound | None, until: Bound | None, epoch: str) -> Bounds:
        """Return what is asked for of a file whose positions have ``epoch``. Raises SystemExit for positions of another
        one."""
        for each in (since, until):
            if isinstance(each, Position) and each.epoch != epoch:
                raise SystemExit(f"comet: {each} is no position of this file, whose positions begin with {epoch}-")
        (after, from_time), (last, to_time) = _split(since), _split(until)
        return cls(after, last, from_time, to_time)

    def test(self) -> Callable[[Message], bool]:
        """Return what says of a message whether it is wanted, by its time and its offset."""
        after, until = self.after or 0, self.until
        first, last = self.from_time, self.to_time

        def wanted(message: Message) -> bool:
            return (
                message.offset > after
                and (until is None or message.offset <= until)
                and (first is None or message.time >= first)
                and (last is None or message.time < last)
            )

        return wanted


def _split(each: Bound | None) -> tuple[int | None, float | None]:
    """The offset, or the time, that is meant."""
    if isinstance(each, Position):
        return each.offset, None
    return None, each
