"""Waits: who waits for what, without a timer each. The router's sweep finds those that have waited long enough."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from comet.audience import Subscription
from comet.interfaces import Clock, Writer

TICK = 0.25
"""Seconds: how precisely a poll's wait ends."""


class Waits:
    """Polls that wait for messages; subscriptions that wait for their writers to be drained; writers that were finished
    and wait to have sent the rest. Each kind stands in the order in which it will be found."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._polls: dict[int, dict[Subscription, None]] = {}
        self._stuck: dict[Subscription, float] = {}
        self._ending: deque[tuple[float, Writer]] = deque()

    def __len__(self) -> int:
        """How many subscriptions wait."""
        return len(self._stuck) + sum(map(len, self._polls.values()))

    def begin_wait(self, subscription: Subscription) -> None:
        """Have a poll found once its ``wait`` is over."""
        subscription.deadline = round((self._clock.seconds() + subscription.wait) / TICK)
        self._polls.setdefault(subscription.deadline, {})[subscription] = None

    def begin_drain(self, subscription: Subscription) -> None:
        """Note that a subscription's writer keeps something. Of one that keeps something already the time stands."""
        self._stuck.setdefault(subscription, self._clock.seconds())

    def begin_end(self, writer: Writer) -> None:
        """Note that a finished writer keeps something."""
        self._ending.append((self._clock.seconds(), writer))

    def is_stuck(self, subscription: Subscription) -> bool:
        """Whether the subscription waits to be drained."""
        return subscription in self._stuck

    @property
    def stuck(self) -> list[Subscription]:
        """The subscriptions that wait to be drained, the longest waiting first."""
        return list(self._stuck)

    @property
    def stuck_count(self) -> int:
        """How many there are."""
        return len(self._stuck)

    def stuck_since(self, subscription: Subscription) -> float | None:
        """Since when the subscription has waited to be drained, or None if it does not."""
        return self._stuck.get(subscription)

    def progress(self, subscription: Subscription) -> None:
        """A part of what is kept was sent: begin anew to count the time."""
        if self._stuck.pop(subscription, None) is not None:
            self._stuck[subscription] = self._clock.seconds()

    def end_drain(self, subscription: Subscription) -> None:
        """The subscription's writer is drained."""
        self._stuck.pop(subscription, None)

    def forget(self, subscription: Subscription) -> None:
        """The subscription is gone."""
        self._stuck.pop(subscription, None)
        if subscription.deadline:
            waiting = self._polls.get(subscription.deadline, {})
            waiting.pop(subscription, None)
            if not waiting:  # or whoever waits for ever, and leaves, would leave that behind
                self._polls.pop(subscription.deadline, None)

    def over(self) -> Iterator[Subscription]:
        """Yield the polls whose wait is over."""
        due = int(self._clock.seconds() / TICK)
        for deadline in [deadline for deadline in self._polls if deadline <= due]:
            yield from list(self._polls.pop(deadline))

    def stuck_for(self, seconds: float) -> Iterator[Subscription]:
        """Yield the subscriptions that have been stuck for so long."""
        limit = self._clock.seconds() - seconds
        for subscription, since in list(self._stuck.items()):
            if since > limit:
                break
            yield subscription

    def ending_for(self, seconds: float) -> Iterator[Writer]:
        """Yield, and forget, the writers that were finished so long ago."""
        limit = self._clock.seconds() - seconds
        while self._ending and self._ending[0][0] <= limit:
            yield self._ending.popleft()[1]
