"""Work on a long list without holding up the reactor: a few milliseconds of it per turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator

from comet.interfaces import Clock

T = TypeVar("T")
R = TypeVar("R")


class Piecemeal:
    """Does such work on ``clock``."""

    def __init__(self, clock: Clock) -> None:
        self._cooperator = Cooperator(scheduler=lambda step: clock.callLater(0, step))

    def each(self, work_out: Callable[[T], R | None], things: Iterable[T], most: int) -> Deferred[list[R]]:
        """Fire with what ``work_out`` makes of ``things``, the first ``most`` of it; None is nothing."""
        found: list[R] = []

        def steps() -> Iterator[None]:
            for thing in things:
                result = work_out(thing)
                if result is not None:
                    found.append(result)
                    if len(found) >= most:
                        return
                yield

        done: Deferred[Any] = self._cooperator.coiterate(steps())
        return done.addCallback(lambda _: found)
