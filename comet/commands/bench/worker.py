"""A process of subscribers: it opens them, listens, and tells the bench how things stand, over a pipe.

The trap: a process whose parent was killed would listen for ever, so it looks after its parent once in a while.
"""

from __future__ import annotations

import gc
import random
import selectors
import time
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count

from comet.commands.bench.latencies import Latencies
from comet.commands.bench.processes import Link
from comet.commands.bench.reports import End, Failed, Given, Go, Opened, Outcome, Place, Plan, Sample
from comet.commands.bench.sequences import Faults
from comet.commands.bench.subscribers import Group, Lost, Subscriber
from comet.commands.bench.ways import WAYS

OPENING = 64
"""Connections that are being opened at a time: fewer than wait at any listening socket."""

TURN = 0.1
SAMPLED = 0.5
"""Seconds between two looks at what is due, and between two samples."""

QUIET = 3.0
PATIENCE = 20.0
"""Seconds without a message after which those that are missing are given up; the second if somebody was cut off."""

LONGEST_PAUSE = 4.0


def listen(plan: Plan, places: Sequence[Place], link: Link) -> None:
    """Be the subscribers at ``places`` until the bench ends."""
    gc.disable()  # nothing here is garbage in cycles, and a collection looks at all of it
    Worker(plan, places, link).run()


class Worker:
    """The subscribers of one process."""

    def __init__(self, plan: Plan, places: Sequence[Place], link: Link) -> None:
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._groups = {way: Group(WAYS[way], plan.target, plan.size) for way in {place.way for place in places}}
        self._subscribers = [
            Subscriber(self._groups[place.way], f"/topics/{plan.topics[place.topic]}", plan.sources(place.topic))
            for place in places
        ]
        self._closed = deque(self._subscribers)
        self._opening: set[Subscriber] = set()
        self._failures: dict[Subscriber, int] = {}
        self._due: list[tuple[float, int, Subscriber]] = []
        self._number = count()
        self._totals: Mapping[int, int] | None = None
        self._next_turn = self._next_sample = self._newest = self._ended = 0.0
        self._since, self._waited, self._busy = time.monotonic(), 0.0, 0.0

    def run(self) -> None:
        """Listen until the end."""
        try:
            while not self._over():
                self._turn()
        except Lost as lost:
            self._link.tell(Failed(str(lost)))
            return
        self._tell_sample()
        self._link.tell(self._outcome())

    def _turn(self) -> None:
        """Wait for what comes, and take it: this is the hot path."""
        begin = time.monotonic()
        ready = self._selector.select(TURN)
        now = time.monotonic()
        self._waited += now - begin
        for key, mask in ready:
            try:
                if mask == selectors.EVENT_READ:
                    key.data.read()
                else:
                    self._ask(key.data)
            except Lost as lost:
                self._lose(key.data, lost)
        if ready:
            self._newest = now
        if self._opening or self._closed:
            self._open()
        if now >= self._next_turn:
            self._look(now)

    def _look(self, now: float) -> None:
        """Do what is due, and see what the bench says."""
        self._next_turn = now + TURN
        self._failures = {subscriber: number for subscriber, number in self._failures.items() if not subscriber.held}
        while self._due and self._due[0][0] <= now:
            self._connect(heappop(self._due)[2])
        for said in self._link.heard():
            if isinstance(said, Go):
                self._since, self._waited = now, 0.0
            elif isinstance(said, End):
                self._totals = said.totals
                self._busy = 1 - self._waited / max(TURN, now - self._since)
                self._ended = now
        if now >= self._next_sample:
            self._next_sample = now + SAMPLED
            self._tell_sample()

    def _over(self) -> bool:
        """Whether everything has come, or no more will."""
        if self._totals is None:
            return False
        quiet = time.monotonic() - max(self._newest, self._ended)
        if quiet > (PATIENCE if self._failures else QUIET):
            return True
        return quiet > TURN and all(subscriber.sequences.complete(self._totals) for subscriber in self._subscribers)

    # -- connections ------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open those that have not been, a few at a time."""
        self._opening = {subscriber for subscriber in self._opening if not subscriber.opened}
        while self._closed and len(self._opening) < OPENING:
            subscriber = self._closed.popleft()
            self._opening.add(subscriber)
            self._connect(subscriber)
        if not self._opening:
            self._tell_sample()

    def _connect(self, subscriber: Subscriber) -> None:
        try:
            self._selector.register(subscriber.connect(), selectors.EVENT_WRITE, subscriber)
        except Lost as lost:
            self._lose(subscriber, lost)

    def _ask(self, subscriber: Subscriber) -> None:
        subscriber.ask()
        assert subscriber.socket is not None
        self._selector.modify(subscriber.socket, selectors.EVENT_READ, subscriber)

    def _lose(self, subscriber: Subscriber, lost: Lost) -> None:
        """Have ``subscriber`` come back later, if it has been there."""
        if subscriber.socket is not None and subscriber.socket.fileno() in self._selector.get_map():
            self._selector.unregister(subscriber.socket)
        subscriber.close()
        if not subscriber.opened:
            raise Lost(f"a subscriber by {subscriber.group.way.name} cannot be opened: {lost}")
        failures = self._failures.get(subscriber, 0)
        self._failures[subscriber] = failures + 1
        if not failures:
            subscriber.sequences.faults.dropped += 1
        pause = lost.pause or min(LONGEST_PAUSE, 0.1 * 2**failures) * random.uniform(0.5, 1)
        heappush(self._due, (time.monotonic() + pause, next(self._number), subscriber))

    # -- what is told -----------------------------------------------------------------------------------------------

    def _tell_sample(self) -> None:
        waiting = len(self._opening) + len(self._closed)
        if waiting:
            self._link.tell(Opened(len(self._subscribers) - waiting))
            return
        given = []
        for name, group in self._groups.items():
            latencies = Latencies()
            latencies.add(group.ticks)
            given.append(Given(name, group.messages, group.bytes, latencies))
            group.ticks.clear()
            group.messages = group.bytes = 0
        self._link.tell(Sample(given, len(self._subscribers) - len(self._failures), self._newest))

    def _outcome(self) -> Outcome:
        assert self._totals is not None
        faults = {name: Faults() for name in self._groups}
        for subscriber in self._subscribers:
            faults[subscriber.group.way.name].add([subscriber.sequences.end(self._totals)])
        return Outcome(faults, self._busy)
