"""One acknowledged consumer: a cursor that the daemon keeps for a reader.

It is a name, patterns, and how far its reader has said that it is done. Wherever the reader comes from and however
often, it begins behind what it has acknowledged: everything else comes again, nothing is skipped. It has one reader at
a time. The trap: an acknowledgement that counts before it is kept. A store that fails, or a crash, takes it back, and
nobody would be given those messages again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from comet.audience import Subscription, address_of
from comet.errors import BadAcknowledgement, UnknownConsumer, shown
from comet.kept import Record
from comet.latest import Latest
from comet.message import Message, Page, Position
from comet.polling import poll
from comet.router import Router
from comet.topics import parse_patterns

KIND = "consumer"

MOST_PENDING = 10_000
"""Messages that may be delivered and not acknowledged, where they are acknowledged one by one."""

LOOKED_AT = 1_000
"""Messages that are counted to say how far a consumer is behind."""


class Kept(Struct, frozen=True, array_like=True):
    """What survives of a consumer. ``owner`` is what else it belongs to, such as a hook; empty for none. It began
    with what there was, so that losses up to ``told`` are no news."""

    patterns: list[str]
    epoch: str
    acked: int
    created: float
    owner: str = ""
    told: int = 0

    @classmethod
    def parse(cls, body: bytes) -> Kept:
        """Return what the body of a record says."""
        return _decode(body)


_encode = Encoder().encode
_decode = Decoder(Kept).decode


class Consumer:
    """One of them. ``owner`` and ``told`` are as in :class:`Kept`."""

    __slots__ = (
        "_place",
        "_router",
        "_stream",
        "_told",
        "created",
        "delivered",
        "leaving",
        "name",
        "owner",
        "patterns",
        "pending",
        "sitting",
        "told",
    )

    def __init__(self, router: Router, name: str, kept: Kept) -> None:
        self._router = router
        self._place = Latest(Position(kept.epoch, kept.acked), self._keep)
        self._stream = ""
        self._told: int | None = None
        self.name = name
        self.patterns = parse_patterns(kept.patterns)
        self.created = kept.created
        self.owner = kept.owner
        self.told = kept.told
        self.leaving = False
        """Whether it is being forgotten."""
        self.pending: dict[int, None] = {}
        """Offsets that were delivered and are acknowledged one by one, by rising offset."""
        self.delivered = self.acked
        """How far they reach."""
        self.sitting: object = object()
        """Another one for each reader that acknowledges one by one."""

    @property
    def acked(self) -> Position:
        """Up to where its reader is done, as far as that is kept."""
        return self._place.kept

    def record(self, acked: Position) -> Record:
        """What is to be kept."""
        patterns = [pattern.text for pattern in self.patterns]
        kept = Kept(patterns, acked.epoch, acked.offset, self.created, self.owner, self.told)
        return Record(KIND, self.name, _encode(kept))

    def _keep(self, acked: Position) -> Deferred[None]:
        if self.leaving:  # or its record would outlive it
            return fail(UnknownConsumer(f"the consumer {shown(self.name)} is being deleted"))
        return self._router.records.put(self.record(acked))

    # -- acknowledging ----------------------------------------------------------------------------------------------

    def ack(self, position: Position) -> Deferred[None]:
        """Have everything up to ``position`` done; one that is behind changes nothing. Raises
        :exc:`~comet.errors.BadAcknowledgement`. Fires once it is kept; fails with :exc:`~comet.errors.StoreFailed` or
        :exc:`~comet.errors.Draining`, and then the place is where it was."""
        log = self._router.log
        if position.epoch != log.epoch or position.offset > log.end:
            raise BadAcknowledgement(f"{position} is no position of this log; acknowledge the id of a message")
        return self.reach(position).addCallback(self._count)

    def reach(self, position: Position) -> Deferred[None]:
        """As :meth:`ack`, for who knows that up to ``position``, which is one of the log, nothing is left to do."""
        newest = self._place.newest
        if newest.epoch == position.epoch:
            position = max(position, newest)
        return self._place.put(position).addCallback(self._settle)

    def ack_each(self, offsets: Iterable[int]) -> Deferred[int]:
        """Have the messages at ``offsets`` done, each for itself. Fires, once it is kept, with how many of them were
        delivered and not acknowledged before. The place goes as far as there is no hole. Fails as :meth:`ack`."""
        pending = self.pending
        done = [offset for offset in dict.fromkeys(offsets) if offset in pending]
        for offset in done:
            del pending[offset]
        if not done:
            return succeed(0)

        def undo(failure: Failure) -> Failure:
            offsets = sorted((*pending, *done))
            pending.clear()
            pending.update(dict.fromkeys(offsets))
            return failure

        oldest = next(iter(pending), None)
        reached = self.delivered if oldest is None else Position(self.delivered.epoch, oldest - 1)
        return self.ack(reached).addCallbacks(lambda _: len(done), undo)

    def deliver(self, page: Page) -> Sequence[Message]:
        """Note that the messages of ``page``, which follow those ``delivered``, are given to a reader who acknowledges
        them one by one. Only the reader of this ``sitting`` may: what is given to another, in between, would go by."""
        for message in page.messages:
            self.pending[message.offset] = None
        self.delivered = page.position
        return page.messages

    def begin_again(self) -> object:
        """Another reader comes, which is given everything that is not acknowledged. Returns its ``sitting``."""
        self.pending = {}  # another one: what fails now of what was acknowledged before is no news
        self.delivered = self.acked
        self.sitting = object()
        return self.sitting

    def _settle(self, _: None) -> None:
        """Who acknowledges one by one need not do so for what was acknowledged together."""
        acked = self.acked
        for offset in list(takewhile(lambda offset: offset <= acked.offset, self.pending)):
            del self.pending[offset]
        if self.delivered.epoch != acked.epoch or self.delivered < acked:
            self.delivered = acked

    def _count(self, _: None) -> None:
        self._router.metrics.acks += 1

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, after: Position, limit: int, wait: float, transport: str) -> Deferred[Page]:
        """The first messages after ``after``; see :func:`comet.polling.poll`."""
        return poll(self._router, self.patterns, after, limit=limit, wait=wait, transport=transport, told=self.told)

    def begin_stream(self) -> tuple[Position, int]:
        """Where a stream begins, and up to where losses are no news to it."""
        return self.acked, self.told

    def begin_poll(self) -> tuple[Position, int]:
        """As :meth:`begin_stream`.

        A gap is answered at once. So whoever has no message to acknowledge would be told of the same gap again and
        again, as fast as it can ask; it is told once, and then waits. (That there is a gap, ``GET /consumers`` says.)
        """
        told, self._told = self._told, self._router.history.first(self.patterns)
        if told is None or self.acked.epoch == self._router.epoch:
            return self.acked, max(self.told, told or 0)
        return self._router.log.position(0), told

    @property
    def reader(self) -> Subscription | None:
        """Who reads now. It is looked up, so that a connection is not kept in memory once it is gone."""
        return self._router.streams.get(self._stream)

    def seat(self, reader: Subscription) -> None:
        """Make ``reader`` the one; that of before is ended. Its topics stay what they are."""
        before, self._stream = self.reader, reader.stream
        reader.fixed = True
        if before is not None and before is not reader:
            self._router.end(before, "replaced")

    def unseat(self) -> None:
        """End the reader, if there is one."""
        reader = self.reader
        if reader is not None:
            self._router.end(reader, "ended")

    # -- what people ask --------------------------------------------------------------------------------------------

    def has(self, position: Position) -> bool:
        """Whether it has acknowledged the message at ``position``."""
        return self.acked.epoch == position.epoch and position.offset <= self.acked.offset

    def wants(self, topic: str) -> bool:
        """Whether messages of ``topic`` are for it."""
        return any(pattern.matches(topic) for pattern in self.patterns)

    def is_behind_a_gap(self) -> bool:
        """Whether messages that it has not acknowledged may be gone."""
        acked = self.acked
        return self._router.history.is_gone(Position(acked.epoch, max(acked.offset, self.told)), self.patterns)

    def described(self) -> dict[str, Any]:
        """What there is to say of it: how many messages it has not acknowledged (``more`` if there are more than were
        counted), the age of the first of them in seconds, and whether some are gone (``gap``)."""
        log = self._router.log
        after = self.acked.offset if self.acked.epoch == log.epoch else 0
        messages, reached = log.look(self.patterns, after, LOOKED_AT)
        lost = log.has_lost(self.patterns, after)
        described: dict[str, Any] = {
            "topics": [pattern.text for pattern in self.patterns],
            "acked": str(self.acked),
            "behind": {
                "messages": len(messages),
                "more": reached < log.end or lost,
                "offsets": log.end - after,
            },
            "gap": self.is_behind_a_gap(),
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
            "transport": reader.audience.key.transport,
            "address": address_of(reader),
        }
