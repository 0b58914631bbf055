"""The sweep: one look around a few times a second, instead of a timer for each client.

It finds polls that have waited long enough, audiences that have been quiet for too long, and writes that stay stuck.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from comet.config import Config
from comet.delivery import ONE_SHOT
from comet.interfaces import Clock
from comet.metrics import Metrics
from comet.turns import Turns, delivery_of
from comet.waits import TICK


class Sweep:
    """Looks around every :data:`~comet.waits.TICK` seconds. ``now`` gives the wall clock's time."""

    _log = Logger()

    def __init__(self, turns: Turns, config: Config, metrics: Metrics, clock: Clock, now: Callable[[], float]) -> None:
        self._turns = turns
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._now = now
        # Streams that were open at this time were told this silence, or a longer one.
        self._promised = (float("-inf"), 0.0)
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock  # type: ignore[assignment, unused-ignore]
        self._looked = 0.0
        self._second_due = 0.0
        self.each_tick: list[Callable[[], None]] = []
        """What else is to be done at each look."""
        self.each_second: list[Callable[[], None]] = []
        """What else is to be done once a second."""

    def start(self) -> None:
        """Begin."""
        self._looked = self._clock.seconds()
        self._looking.start(TICK, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def configure(self, config: Config) -> None:
        """Go by ``config`` from now on."""
        self._promised = (self._now(), self._silence())
        self._config = config

    def _silence(self) -> float:
        """The silence to keep to. A longer one has to wait for the streams that were told a shorter: their clients
        would take the daemon for dead, and come back all at once."""
        since, promised = self._promised
        oldest = self._turns.oldest()
        if promised < self._config.silence and oldest is not None and oldest.born <= since:
            return promised
        return self._config.silence

    def look(self) -> None:
        """Look around now."""
        try:
            self._look_around()
        except Exception:  # a mistake of ours must not end heartbeats, expiry and waits for good
            self._log.failure("a sweep failed")

    def _look_around(self) -> None:
        now = self._clock.seconds()
        self._metrics.note_lag(max(0.0, now - self._looked - TICK), now)
        self._looked = now
        for call in self.each_tick:
            call()
        self._turns.pages.forget()
        for subscription in self._turns.waits.over():
            delivery_of(subscription).wait_over(self._turns, subscription)
        if now >= self._second_due:
            # Half a tick early, or a look that comes a little early would put it off by a whole one.
            self._second_due = max(self._second_due, now - TICK / 2) + 1
            self._mark_beats(now)
            self._abort_stuck()
            for call in self.each_second:
                call()

    def _mark_beats(self, now: float) -> None:
        quiet_since = now - self._silence()
        for audience in self._turns.audiences:
            if audience.wrote <= quiet_since and audience.rows and audience.key.delivery is not ONE_SHOT:
                audience.wrote = now
                for row in audience.rows:
                    row.beat = True
                self._turns.queue(audience)

    def _abort_stuck(self) -> None:
        waits = self._turns.waits
        for subscription in waits.stuck_for(self._config.stall):
            self._metrics.stalled += 1
            self._turns.detach(subscription)
            subscription.writer.abort()
        for writer in waits.ending_for(self._config.stall):
            writer.abort()
