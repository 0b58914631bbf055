"""All acknowledged consumers of a daemon: made, found, forgotten."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec import structs
from twisted.internet.defer import Deferred, succeed

from comet.consumer import KIND, Consumer, Kept
from comet.errors import BadName, BadSince, CometError, ConsumerExists, TooManyConsumers, UnknownConsumer, shown
from comet.log import Since
from comet.message import Position
from comet.router import Router
from comet.topics import Pattern

T = TypeVar("T")

LONGEST_NAME = 255
"""Bytes of a name."""


class Consumers:
    """The consumers of ``router``, by name."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._consumers: dict[str, Consumer] = {}
        self._coming: dict[str, Deferred[Consumer]] = {}
        router.metrics.consumer_count = self.__len__

    def start(self) -> None:
        """Go on with those that are kept."""
        for name, body in self._router.records.of(KIND).items():
            self._consumers[name] = Consumer(self._router, name, self._sound(Kept.parse(body)))

    def _sound(self, kept: Kept) -> Kept:
        """Nothing that is yet to come was acknowledged, whatever became of what was: it would never be delivered. And
        what was told of another log says nothing of this one."""
        log = self._router.log
        if kept.epoch != log.epoch:
            return structs.replace(kept, told=0)
        return structs.replace(kept, acked=min(kept.acked, log.end))

    def __len__(self) -> int:
        return len(self._consumers)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(self._consumers.values())

    def get(self, name: str) -> Consumer | None:
        """The consumer of that name, or None."""
        return self._consumers.get(name)

    def found(self, name: str) -> Consumer:
        """The consumer of that name; raises :exc:`~comet.errors.UnknownConsumer`."""
        consumer = self._consumers.get(name)
        if consumer is None or consumer.leaving:
            raise UnknownConsumer(f"there is no consumer {shown(name)}; GET /consumers lists them")
        return consumer

    def settled(self, name: str) -> Deferred[None]:
        """Fires when nobody is making a consumer of that name, after whoever was making it was told."""
        coming = self._coming.get(name)
        if coming is None:
            return succeed(None)
        settled: Deferred[None] = Deferred()

        def settle(result: T) -> T:
            settled.callback(None)
            return result

        coming.addBoth(settle)
        return settled

    def create(self, name: str, patterns: Sequence[Pattern], since: Since, owner: str = "") -> Deferred[Consumer]:
        """Begin a consumer at ``since``. Fires once it is kept. Fails with :exc:`~comet.errors.BadName`,
        :exc:`~comet.errors.BadSince`, :exc:`~comet.errors.ConsumerExists`, :exc:`~comet.errors.TooManyConsumers`,
        :exc:`~comet.errors.StoreFailed` or :exc:`~comet.errors.Draining`."""
        coming = Deferred.fromCoroutine(self._create(name, patterns, since, owner))
        if not coming.called:
            self._coming[name] = coming
        return coming

    async def _create(self, name: str, patterns: Sequence[Pattern], since: Since, owner: str) -> Consumer:
        check_name(name)
        if name in self._consumers or name in self._coming:
            raise ConsumerExists(f"there is a consumer {shown(name)} already; DELETE it first, or choose another name")
        most = self._router.config.max_consumers
        if len(self._consumers) + len(self._coming) >= most:
            raise TooManyConsumers(f"there are {most} consumers (max-consumers); delete one first")
        try:
            # Who asks for what there is need not be told what was lost before.
            told = 0 if isinstance(since, Position) or since == "now" else self._router.history.first(patterns)
            begin = await self._resolved(since, patterns)
            texts = [pattern.text for pattern in patterns]
            consumer = Consumer(
                self._router, name, Kept(texts, begin.epoch, begin.offset, self._router.time(), owner, told)
            )
            await self._router.records.put(consumer.record(begin))
            self._consumers[name] = consumer
        finally:
            self._coming.pop(name, None)
        return consumer

    async def _resolved(self, since: Since, patterns: Sequence[Pattern]) -> Position:
        """The position behind which a reader begins that asks for ``since``."""
        log, history = self._router.log, self._router.history
        if isinstance(since, Position):
            if since.epoch == log.epoch and since.offset > log.end:  # what comes would count as acknowledged
                raise BadSince(f"{since} is beyond the newest message, {log.position(log.end)}")
            return since
        if isinstance(since, int):
            return log.position(await history.before_newest(patterns, log.end, since))
        if since == "last":
            return log.position(await history.before_newest(patterns, log.end, 1))
        return log.position(log.end if since == "now" else 0)

    def remove(self, name: str) -> Deferred[None]:
        """Forget a consumer, and end its reader. Fires once it is forgotten; raises
        :exc:`~comet.errors.UnknownConsumer`, fails with :exc:`~comet.errors.StoreFailed` or
        :exc:`~comet.errors.Draining`."""
        return Deferred.fromCoroutine(self._remove(self.found(name)))

    async def _remove(self, consumer: Consumer) -> None:
        consumer.leaving = True
        try:
            await self._router.records.remove(KIND, consumer.name)
        except CometError:
            consumer.leaving = False
            raise
        if self._consumers.get(consumer.name) is consumer:
            del self._consumers[consumer.name]
        consumer.unseat()


def check_name(name: str) -> str:
    """Return ``name``, or raise :exc:`~comet.errors.BadName`."""
    if not name or len(name.encode()) > LONGEST_NAME or "/" in name:
        raise BadName(f"{shown(name)} cannot name a consumer: at most {LONGEST_NAME} bytes and no '/'")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise BadName(f"{shown(name)} cannot name a consumer: it has control characters")
    return name
