"""Arriving: requests of the bytes of one connection, held against its rates, and what is there of the next one.

A command that is not whole yet is in memory, and somebody may never finish it: a thousand connections with a payload
each that lacks its end. So it takes room as the bodies of HTTP requests do, from the same bound, and brings so many
bytes a second. A program on this machine, which has no guard, may take its time.
"""

from __future__ import annotations

from math import inf

from comet.errors import CometError, TooManyBodies
from comet.resp.guard import Guard
from comet.resp.rates import within_rates
from comet.resp.session import Intake
from comet.resp.wire import Request, RequestParser

COMMAND_RATE = 1_024
"""Bytes a second that a command must bring, beyond the time that every command has."""


def ends_waiting(request: Request) -> bool:
    """Whether a client says with ``request`` that it does not wait for its answers any longer."""
    return not isinstance(request, CometError) and request[0].upper() in (b"RESET", b"QUIT")


class Arriving:
    """What one connection has sent."""

    __slots__ = ("_held", "_intake", "_parser", "due")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._parser = RequestParser(intake.max_payload)
        self._held = 0
        """The bytes of the command that is under way, as far as they are counted."""
        self.due = inf
        """When all of it has to be here, in seconds since 1970. Who has yet to say who it is has another time."""

    def bound(self, max_payload: int) -> None:
        """Take payloads of that size."""
        self._parser.bound(max_payload)

    def restrict(self) -> None:
        """Take only small commands, until ``bound`` is called."""
        self._parser.restrict()

    def feed(self, data: bytes, guard: Guard | None) -> list[Request]:
        """Return the requests that ``data`` completes, with a refusal in the place of each that is over a rate of who
        has ``guard``. If there is no room for the command that begins behind them, the last is a
        :exc:`~comet.errors.TooManyBodies`, and after that there are none."""
        requests = self._parser.feed(data)
        if guard is None:
            if self._held:
                self._forget()
            return requests
        if requests:
            self.due = inf
            requests = within_rates(requests, guard.who, self._intake.limits)
        held = self._parser.held()
        if held or self._held:
            try:
                self._hold(held, timed=not guard.is_unknown)
            except TooManyBodies as refusal:
                self.leave()
                requests = [*requests, refusal]
        return requests

    def _hold(self, held: int, timed: bool) -> None:
        """Count the ``held`` bytes of the command that is under way."""
        bodies = self._intake.limits.bodies
        more, self._held = held - self._held, held
        if more < 0:
            bodies.give_back(-more)
        if timed and held:
            latest = self._intake.router.time() + self._intake.config.body_timeout
            # What comes quickly wins no more time than every command has.
            self.due = latest if self.due == inf else min(latest, self.due + max(more, 0) / COMMAND_RATE)
        else:
            self.due = inf
        if more > 0:
            bodies.take(more, held)

    def patience(self, guard: Guard | None) -> float:
        """In how many seconds something has to be here: an AUTH, or the rest of a command; perhaps never."""
        if guard is None:
            return inf
        now = self._intake.router.time()
        return min(guard.patience(now, self._intake.config), self.due - now)

    def leave(self) -> None:
        """The connection is gone, or no command is taken from it any more."""
        self._parser.break_off()
        self._forget()

    def _forget(self) -> None:
        self._intake.limits.bodies.give_back(self._held)
        self._held, self.due = 0, inf
