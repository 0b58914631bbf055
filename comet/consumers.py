"""Acknowledged consumers: a cursor that the daemon keeps for a reader.

A consumer is a name, patterns, and how far its reader has said that it is done. Wherever the reader comes from and
however often, it begins behind what it has acknowledged: everything else comes again, nothing is skipped. It has one
reader at a time. The trap: an acknowledgement that is answered before it is kept; and a thousand of them a second, each
a write: so what waits for the store is written once, in its newest state.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from comet.audience import Subscription
from comet.errors import BadAcknowledgement, BadName, ConsumerExists, TooManyConsumers, UnknownConsumer, shown
from comet.kept import Record
from comet.log import Since
from comet.message import Message, Page, Position
from comet.polling import poll
from comet.router import Router
from comet.topics import Pattern, parse_patterns

KIND = "consumer"

LONGEST_NAME = 255
"""Bytes of a name."""

MOST_PENDING = 10_000
"""Messages that may be delivered and not acknowledged, where they are acknowledged one by one."""

LOOKED_AT = 1_000
"""Messages that are counted to say how far a consumer is behind."""


class Kept(Struct, frozen=True, array_like=True):
    """What survives of a consumer. ``owner`` is what else it belongs to, such as a hook; empty for none."""

    patterns: list[str]
    epoch: str
    acked: int
    created: float
    owner: str = ""


_encode = Encoder().encode
_decode = Decoder(Kept).decode


class Consumer:
    """One of them. ``acked`` is the position up to which its reader is done; ``owner`` as in :class:`Kept`."""

    __slots__ = (
        "_again",
        "_router",
        "_saving",
        "_waiting",
        "acked",
        "created",
        "delivered",
        "name",
        "owner",
        "patterns",
        "pending",
        "reader",
    )

    def __init__(self, router: Router, name: str, kept: Kept) -> None:
        self._router = router
        self.name = name
        self.patterns = parse_patterns(kept.patterns)
        self.acked = Position(kept.epoch, kept.acked)
        self.created = kept.created
        self.owner = kept.owner
        self.reader: Subscription | None = None
        """Who was seated last; gone, if it has no audience."""
        self.pending: dict[int, None] = {}
        """Offsets that were delivered and are acknowledged one by one, by rising offset."""
        self.delivered = self.acked
        """How far they reach."""
        self._saving = False
        self._again = False
        self._waiting: list[Deferred[None]] = []

    def record(self) -> Record:
        """What is to be kept."""
        patterns = [pattern.text for pattern in self.patterns]
        return Record(
            KIND, self.name, _encode(Kept(patterns, self.acked.epoch, self.acked.offset, self.created, self.owner))
        )

    # -- acknowledging ----------------------------------------------------------------------------------------------

    def ack(self, position: Position) -> Deferred[None]:
        """Have everything up to ``position`` done; one that is behind changes nothing. Fires once that is kept; fails
        with :exc:`~comet.errors.BadAcknowledgement` or :exc:`~comet.errors.StoreFailed`."""
        log = self._router.log
        if position.epoch != log.epoch or position.offset > log.end:
            raise BadAcknowledgement(f"{position} is no position of this log; acknowledge the id of a message")
        if self.acked.epoch == position.epoch and position.offset <= self.acked.offset:
            return succeed(None) if not self._saving else self._kept()
        self.acked = position
        return self._kept()

    def ack_each(self, offsets: Iterable[int]) -> Deferred[int]:
        """Have the messages at ``offsets`` done, each for itself. Fires, once it is kept, with how many of them were
        delivered and not acknowledged before. ``acked`` goes as far as there is no hole."""
        done = [offset for offset in dict.fromkeys(offsets) if offset in self.pending]
        for offset in done:
            del self.pending[offset]
        if not done:
            return succeed(0)
        oldest = next(iter(self.pending), None)
        reached = self.delivered if oldest is None else Position(self.delivered.epoch, oldest - 1)
        return self.ack(reached).addCallback(lambda _: len(done))

    def deliver(self, page: Page) -> Sequence[Message]:
        """Note that the messages of ``page`` are given to a reader who acknowledges them one by one."""
        for message in page.messages:
            self.pending[message.offset] = None
        self.delivered = page.position
        return page.messages

    def begin_again(self) -> None:
        """Another reader comes, which is given everything that is not acknowledged."""
        self.pending.clear()
        self.delivered = self.acked

    def _kept(self) -> Deferred[None]:
        """Fire once the state as it is now is kept."""
        kept: Deferred[None] = Deferred()
        self._waiting.append(kept)
        if self._saving:
            self._again = True
        else:
            self._save()
        return kept

    def _save(self) -> None:
        self._saving, self._again = True, False
        waiting, self._waiting = self._waiting, []
        self._router.records.put(self.record()).addBoth(self._saved, waiting)

    def _saved(self, result: Failure | None, waiting: Sequence[Deferred[None]]) -> None:
        self._saving = False
        if self._again:
            self._save()
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(None)

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, after: Position, limit: int, wait: float, transport: str) -> Deferred[Page]:
        """The first messages after ``after``; see :func:`comet.polling.poll`."""
        return poll(self._router, self.patterns, after, limit=limit, wait=wait, transport=transport)

    def seat(self, reader: Subscription) -> None:
        """Make ``reader`` the one; that of before is ended."""
        before, self.reader = self.reader, reader
        if before is not None and before is not reader and before.audience is not None:
            self._router.end(before, "replaced")

    def unseat(self) -> None:
        """End the reader, if there is one."""
        reader, self.reader = self.reader, None
        if reader is not None and reader.audience is not None:
            self._router.end(reader, "ended")

    # -- what people ask --------------------------------------------------------------------------------------------

    def has(self, position: Position) -> bool:
        """Whether it has acknowledged the message at ``position``."""
        return self.acked.epoch == position.epoch and position.offset <= self.acked.offset

    def wants(self, topic: str) -> bool:
        """Whether messages of ``topic`` are for it."""
        return any(pattern.matches(topic) for pattern in self.patterns)

    def described(self) -> dict[str, Any]:
        """What there is to say of it: how many messages it has not acknowledged (``more`` if there are more than were
        counted), the age of the first of them in seconds, and whether some are gone (``gap``)."""
        log = self._router.log
        after = self.acked.offset if self.acked.epoch == log.epoch else 0
        messages, reached = log.look(self.patterns, after, LOOKED_AT)
        lost = log.lost(self.patterns, after) > after
        described: dict[str, Any] = {
            "topics": [pattern.text for pattern in self.patterns],
            "acked": str(self.acked),
            "behind": {
                "messages": len(messages),
                "more": reached < log.end or lost,
                "offsets": log.end - after,
            },
            "gap": self._router.history.is_gone(self.acked, self.patterns),
            "created": round(self.created, 3),
        }
        if messages:
            described["behind"]["seconds"] = round(max(0.0, self._router.time() - messages[0].time), 3)
        return described

    def reader_described(self) -> dict[str, str] | None:
        """Who reads now, or None."""
        reader = self.reader
        if reader is None or reader.audience is None:
            return None
        return {
            "stream": reader.stream,
            "transport": reader.audience.key.transport,
            "address": reader.writer.peer(),
        }


class Consumers:
    """All consumers of a daemon."""

    def __init__(self, router: Router) -> None:
        self.router = self._router = router
        self._consumers: dict[str, Consumer] = {}
        self._coming: set[str] = set()

    def start(self) -> None:
        """Go on with those that are kept."""
        for name, body in self._router.records.of(KIND).items():
            self._consumers[name] = Consumer(self._router, name, _decode(body))

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
        if consumer is None:
            raise UnknownConsumer(f"there is no consumer {shown(name)}; GET /consumers lists them")
        return consumer

    def create(self, name: str, patterns: Sequence[Pattern], since: Since, owner: str = "") -> Deferred[Consumer]:
        """Begin a consumer at ``since``. Fires once it is kept. Fails with :exc:`~comet.errors.BadName`,
        :exc:`~comet.errors.ConsumerExists`, :exc:`~comet.errors.TooManyConsumers` or
        :exc:`~comet.errors.StoreFailed`."""
        return Deferred.fromCoroutine(self._create(name, patterns, since, owner))

    async def _create(self, name: str, patterns: Sequence[Pattern], since: Since, owner: str) -> Consumer:
        check_name(name)
        if name in self._consumers or name in self._coming:
            raise ConsumerExists(f"there is a consumer {shown(name)} already; DELETE it first, or choose another name")
        most = self._router.config.max_consumers
        if len(self._consumers) + len(self._coming) >= most:
            raise TooManyConsumers(f"there are {most} consumers (max-consumers); delete one first")
        self._coming.add(name)
        try:
            begin = await self._resolved(since, patterns)
            kept = Kept([each.text for each in patterns], begin.epoch, begin.offset, self._router.time(), owner)
            consumer = Consumer(self._router, name, kept)
            await self._router.records.put(consumer.record())
        finally:
            self._coming.discard(name)
        self._consumers[name] = consumer
        return consumer

    async def _resolved(self, since: Since, patterns: Sequence[Pattern]) -> Position:
        """The position behind which a reader begins that asks for ``since``."""
        log = self._router.log
        if isinstance(since, Position):
            return since
        if isinstance(since, int):
            return log.position(await self._router.history.before_newest(patterns, log.end, since))
        if since == "last":
            return log.position(await self._router.history.before_newest(patterns, log.end, 1))
        if since == "first":
            return log.position(self._router.history.first(patterns))
        return log.position(log.end)

    def remove(self, name: str) -> Deferred[None]:
        """Forget a consumer, and end its reader. Fires once it is forgotten; fails with
        :exc:`~comet.errors.UnknownConsumer` or :exc:`~comet.errors.StoreFailed`."""
        return Deferred.fromCoroutine(self._remove(self.found(name)))

    async def _remove(self, consumer: Consumer) -> None:
        await self._router.records.remove(KIND, consumer.name)
        if self._consumers.get(consumer.name) is consumer:
            del self._consumers[consumer.name]
        consumer.unseat()

    def counts(self) -> Mapping[str, int]:
        """How many there are, and how many are being read."""
        reading = sum(each.reader is not None and each.reader.audience is not None for each in self)
        return {"consumers": len(self._consumers), "reading": reading}


def check_name(name: str) -> str:
    """Return ``name``, or raise :exc:`~comet.errors.BadName`."""
    if not name or len(name.encode()) > LONGEST_NAME or "/" in name:
        raise BadName(f"{shown(name)} cannot name a consumer: at most {LONGEST_NAME} bytes and no '/'")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise BadName(f"{shown(name)} cannot name a consumer: it has control characters")
    return name
