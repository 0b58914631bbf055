"""Consumers for which nothing comes: their place goes on with the log.

Who has everything has nothing to acknowledge, and stays where the last message was, for weeks. Once the log has lost
what was published since then, on whatever topics, it cannot tell any more that none of it was for that consumer: its
reader would be told of a gap where nothing is missing. So from time to time those are found who have nothing before
them, and that is kept. The trap: to take for nothing what is only not in memory any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.python.failure import Failure

from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.errors import CometError
from comet.history import Ask
from comet.router import Router

AT_ONCE = 20
"""Consumers that are looked at each second. One with wildcards may take a scan of some thousand messages."""

ROUND = 10
"""Seconds that a look at all of them takes at least: each that is moved is written."""


class Quiet:
    """Moves such ``consumers`` on. :meth:`each_second` is to be called once a second."""

    def __init__(self, router: Router, consumers: Consumers) -> None:
        self._router = router
        self._consumers = consumers
        self._round: Iterator[Consumer] = iter(())
        self._rest = 0
        self._is_reading = False

    def each_second(self) -> None:
        """Look at some of them."""
        self._rest -= 1
        for _ in range(AT_ONCE):
            consumer = next(self._round, None)
            if consumer is None:
                break
            self._look(consumer)
        else:
            return
        if self._rest <= 0:
            self._round, self._rest = iter(tuple(self._consumers)), ROUND

    def _look(self, consumer: Consumer) -> None:
        log, acked, patterns = self._router.log, consumer.acked, consumer.patterns
        if acked.epoch != log.epoch or acked.offset >= log.end or consumer.leaving:
            return
        messages, reached = log.look(patterns, acked.offset, 1)
        if messages:
            return
        if not log.has_lost(patterns, max(acked.offset, consumer.told)):
            self._move(consumer, reached)
        elif not (self._is_reading or consumer.is_behind_a_gap()):
            self._is_reading = True  # one at a time: most of them will be behind, and have to be read again
            self._read(consumer, Ask(patterns, acked.offset, log.end, 1))

    def _read(self, consumer: Consumer, ask: Ask) -> None:
        """Look at what memory has lost, on disk."""

        def ready(failure: Failure | None) -> None:
            self._is_reading = False
            piece = None if failure else self._router.history.at_hand(ask, ask.after)
            if piece is not None and not piece.messages and piece.trimmed <= ask.after:
                self._move(consumer, piece.reached)

        self._router.history.fetch(ask, ready)

    def _move(self, consumer: Consumer, reached: int) -> None:
        moving = consumer.reach(self._router.log.position(reached))
        moving.addErrback(lambda failure: failure.trap(CometError))  # the next round tries again
