"""How subscriptions stand: who is behind, by how much, and what becomes of them.

The figure that matters is what a client has not been given of what is retained for it, and that takes reading the log.
So it is counted up to a bound, once for all who stand at the same place, and only of those that are not live; and of
many that are not live only the ones are looked at that seem to be furthest behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import islice
from math import ceil
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from comet.audience import Audience, Subscription, address_of
from comet.interfaces import Clock
from comet.log import Log
from comet.message import Message
from comet.router import Router
from comet.stats.piecemeal import Piecemeal
from comet.topics import Pattern

LIVE, READING, STUCK = STATES = ("live", "reading", "stuck")

COUNTED = 1_000
"""Messages that are counted of those a subscription is behind."""

LOOKED_AT = 100_000
"""Subscriptions that are looked at for a list: a few milliseconds to copy."""

SLOWEST = 10_000
"""Subscriptions that are not live among which the slowest are looked for, those that are stuck first."""

SPARE = 100
"""Of those that seem slowest, how many more than asked for are worked out, because the offset alone misleads."""

PATTERNS_SHOWN = 10

STREAM_SHOWN = 6
"""Characters of a stream's id, which is a secret: whoever knows the whole may end the stream."""


class Behind(NamedTuple):
    """What is retained for a subscription and was not given to it: so many, or with ``more`` at least so many."""

    messages: int
    bytes: int
    more: bool


NOT_BEHIND = Behind(0, 0, more=False)


class Wanted(NamedTuple):
    """Which subscriptions to list: at most ``most``, all of a ``state`` or a ``transport`` if those are given."""

    most: int
    state: str = ""
    transport: str = ""


class Standing:
    """Lists the subscriptions of ``router``."""

    def __init__(self, router: Router, clock: Clock) -> None:
        self._router = router
        self._piecemeal = Piecemeal(clock)

    def oldest(self, wanted: Wanted) -> Deferred[list[dict[str, Any]]]:
        """Fire with the subscriptions that are ``wanted``, the oldest in front."""
        if wanted.state in (READING, STUCK):
            candidates = self._router.reading()
        else:
            candidates = list(islice(self._router.streams.values(), LOOKED_AT))
        return self._listed(wanted, candidates, wanted.most)

    def slowest(self, wanted: Wanted) -> Deferred[list[dict[str, Any]]]:
        """Fire with those that are ``wanted`` and not live, the one furthest behind in front."""
        reading = (each for each in self._router.reading()[:SLOWEST] if self._is_wanted(wanted, each))
        candidates = nlargest(wanted.most + SPARE, reading, key=lambda each: -_cursor(each))
        listed = self._listed(wanted, candidates, len(candidates))
        return listed.addCallback(lambda found: sorted(found, key=_slowness, reverse=True)[: wanted.most])

    def _listed(self, wanted: Wanted, candidates: list[Subscription], most: int) -> Deferred[list[dict[str, Any]]]:
        counts = Counts(self._router.log)

        def described(subscription: Subscription) -> dict[str, Any] | None:
            if not self._is_wanted(wanted, subscription):
                return None
            assert subscription.audience is not None
            return self._described(subscription, subscription.audience, counts)

        return self._piecemeal.each(described, candidates, most)

    def _is_wanted(self, wanted: Wanted, subscription: Subscription) -> bool:
        audience = subscription.audience
        return (
            audience is not None
            and wanted.transport in ("", audience.key.transport)
            and wanted.state in ("", self._state(subscription))
        )

    def _state(self, subscription: Subscription) -> str:
        if subscription.row is not None:
            return LIVE
        return STUCK if self._router.is_stuck(subscription) else READING

    def _described(self, subscription: Subscription, audience: Audience, counts: Counts) -> dict[str, Any]:
        key, state = audience.key, self._state(subscription)
        described = {
            "stream": f"{subscription.stream[:STREAM_SHOWN]}…",
            "transport": key.transport,
            "address": address_of(subscription),
            "patterns": [pattern.text for pattern in key.patterns[:PATTERNS_SHOWN]],
            "pattern_count": len(key.patterns),
            "state": state,
            "behind": counts.behind(subscription, self._router.position_of(subscription))._asdict(),
            "age": round(self._router.age(subscription), 3),
            "conflate": key.conflate,
            "pace": round(key.pace * 1000),
        }
        if state == LIVE:
            return described
        stuck = self._router.stuck_seconds(subscription)
        if stuck is not None:
            described["stuck"] = round(stuck, 3)
        return {**described, "treatment": treatment(key.conflate, stuck, self._router.config.stall)}


class Counts:
    """How far behind subscriptions are, worked out once for each place in the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[object, Behind] = {}

    def behind(self, subscription: Subscription, position: int) -> Behind:
        """What was not given to ``subscription``, which has everything up to ``position`` but for its replays."""
        assert subscription.audience is not None
        parts = [self._behind(subscription.audience.key.patterns, position, self._log.end)]
        parts += [self._behind(each.patterns, each.after, each.until, each.newest) for each in subscription.replays]
        messages, sizes, more = zip(*parts, strict=True)
        return Behind(sum(messages), sum(sizes), any(more))

    def _behind(self, patterns: tuple[Pattern, ...], after: int, until: int, newest: bool = False) -> Behind:
        if after >= until:
            return NOT_BEHIND
        place = patterns, after, until, newest
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._counted(patterns, after, until, newest)
        return known

    def _counted(self, patterns: tuple[Pattern, ...], after: int, until: int, newest: bool) -> Behind:
        messages, reached = self._log.look(patterns, after, COUNTED)
        sizes = [len(message.payload) for message in self._wanted(messages, until, newest)]
        return Behind(len(sizes), sum(sizes), more=reached < until)

    def _wanted(self, messages: Iterable[Message], until: int, newest: bool) -> Iterator[Message]:
        for message in messages:
            topic = self._log.topic(message.topic)
            if message.offset <= until and (not newest or (topic is not None and topic.newest() is message)):
                yield message


def treatment(conflate: bool, stuck: float | None, stall: float) -> str:
    """What becomes of a subscription that is not live, in words; ``stuck`` is for how long it has taken nothing."""
    pages = "given only the newest message of each topic" if conflate else "given pages"
    usual = f"{pages} as it reads, told a gap if it falls out of retention"
    if stuck is None:
        return usual
    return f"dropped in {max(0, ceil(stall - stuck))} s unless it reads (stall); then {usual}"


def _cursor(subscription: Subscription) -> int:
    """The offset up to which a subscription that is not live has everything."""
    return min((subscription.cursor, *(replay.after for replay in subscription.replays)))


def _slowness(described: dict[str, Any]) -> tuple[int, int, float]:
    behind = described["behind"]
    return behind["messages"], behind["bytes"], described.get("stuck", 0.0)
