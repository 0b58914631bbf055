"""Subscriptions, and the audiences in which the live ones sit.

An audience is all live subscriptions with the same patterns, framing and pace. It keeps its news until each of its rows
has them, makes one block of bytes of them, and gives every member the same object. A row is at most :data:`ROW` members
and is flushed whole: it has one position, so that there is never a half-flushed state, and a flush touches no
subscription. Beside the members it keeps their sockets' descriptors in one array for :func:`send_all`.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Struct

from comet.holder import LOCAL, Holder
from comet.interfaces import Call, Framing, Writer
from comet.log import PAGE_BYTES, Replay, Since
from comet.message import Message, Page, Position
from comet.metrics import Tally
from comet.topics import Pattern

ROW = 2_000
"""Members of a row: 10,000 sends take 40 ms, and publishers must not wait that long."""

NEWS = 16_384
NEWS_BYTES = 4 * 1024 * 1024
"""How much news an audience keeps for its rows; beyond, its members read it from the log."""


class Key(NamedTuple):
    """What the members of an audience have in common. ``pace`` is in seconds."""

    patterns: tuple[Pattern, ...]
    framing: Framing
    transport: str
    delivery: Any  # a comet.delivery.Delivery, which this module is beneath
    conflate: bool = False
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Interest:
    """What a subscriber asks for: the audience of ``key``, from ``since`` on, ``limit`` messages a page. ``wait`` is
    how many seconds a one-shot answer may be held. Losses up to ``told`` are no news to who asks."""

    key: Key
    since: Since = "now"
    limit: int = 500
    wait: float = 0.0
    told: int = 0


class Subscription:
    """A set of patterns and a cursor. It holds no messages.

    It is **live** while it has a ``row``, whose position is its cursor; otherwise it is **reading** from ``cursor``,
    after the ``replays`` that it asked for. Losses up to ``told`` are no news to the client, on the condition of
    ``losses`` (see :class:`comet.log.Start`). The topics of one that is ``fixed`` cannot be changed. ``grant`` is what
    allows it, until it is renewed; ``who`` on whose account it goes.
    """

    __slots__ = (
        "audience",
        "born",
        "cursor",
        "deadline",
        "fixed",
        "grant",
        "index",
        "limit",
        "losses",
        "queued",
        "replays",
        "row",
        "stream",
        "told",
        "wait",
        "who",
        "writer",
    )

    def __init__(
        self, audience: Audience, writer: Writer, interest: Interest, stream: str, holder: Holder = LOCAL
    ) -> None:
        self.audience: Audience | None = audience
        self.writer = writer
        self.stream = stream
        self.limit = interest.limit
        self.wait = interest.wait
        self.grant, self.who = holder
        self.cursor = 0
        self.told = 0
        self.losses: int | None = None
        self.replays: tuple[Replay, ...] = ()
        self.row: Row | None = None
        self.index = 0
        self.queued = False
        self.fixed = False
        self.deadline = 0
        self.born = 0.0


def address_of(subscription: Subscription) -> str:
    """Where its client is: behind a listed proxy as that has said, else as it has connected."""
    peer, address = subscription.writer.peer(), subscription.who.address
    return peer if address in ("", peer.rpartition(":")[0].strip("[]")) else address


class Row:
    """Up to :data:`ROW` members of an audience, flushed whole.

    ``sent`` counts the audience's news that the row has, ``position`` is the log's offset up to which it has
    everything. ``descriptors`` stand beside ``members``; it is None in a row of writers without a plain socket.
    """

    __slots__ = ("audience", "beat", "descriptors", "members", "position", "queued", "sent")

    def __init__(self, audience: Audience, direct: bool) -> None:
        self.audience = audience
        self.members: list[Subscription] = []
        self.descriptors: array[int] | None = array("i") if direct else None
        self.sent = audience.heard
        self.position = 0
        self.queued = False
        self.beat = False

    def add(self, subscription: Subscription) -> None:
        """Seat ``subscription``, which has all that the row has."""
        self.audience.tally.live += 1
        subscription.row = self
        subscription.index = len(self.members)
        self.members.append(subscription)
        if self.descriptors is not None:
            self.descriptors.append(subscription.writer.descriptor)

    def remove(self, subscription: Subscription) -> None:
        """Unseat ``subscription``; the last member takes its place."""
        self.audience.tally.live -= 1
        last = self.members.pop()
        if last is not subscription:
            last.index = subscription.index
            self.members[last.index] = last
        if self.descriptors is not None:
            descriptor = self.descriptors.pop()
            if last is not subscription:
                self.descriptors[last.index] = descriptor
        subscription.row = None
        if not self.members:
            self.audience.drop(self)

    def reached(self) -> int:
        """The offset up to which the members have everything, though they may not have had all news."""
        pending = self.audience.heard - self.sent
        return self.audience.news[-pending].offset - 1 if pending else self.position

    def clear(self) -> list[Subscription]:
        """Unseat everybody, and return them."""
        members, self.members = self.members, []
        self.audience.tally.live -= len(members)
        if self.descriptors is not None:
            self.descriptors = array("i")
        for member in members:
            member.row = None
        self.audience.drop(self)
        return members


class Block(Struct, frozen=True, gc=False):
    """The bytes of an audience's news from ``start`` up to ``stop``, as counted by ``heard``; ``full`` if the news
    are more than a block holds. Whoever takes it has everything up to ``offset``, and goes on with ``framing``."""

    start: int
    stop: int
    full: bool
    data: bytes
    messages: int
    conflated: int
    offset: int
    framing: Framing


class Audience:
    """All subscriptions of one :class:`Key`: ``size`` of them, the live ones in ``rows``.

    ``news`` are the messages that some row has not had; ``heard`` counts all there ever were. ``queued`` counts the
    rows that wait for their flush, ``tally`` what they are given.
    """

    __slots__ = ("_block", "heard", "key", "news", "news_bytes", "queued", "rows", "size", "tally", "tick", "wrote")

    def __init__(self, key: Key, tally: Tally, now: float) -> None:
        self.key = key
        self.tally = tally
        self.size = 0
        self.rows: list[Row] = []
        self.news: list[Message] = []
        self.news_bytes = 0
        self.heard = 0
        self.queued = 0
        self.wrote = now
        self.tick: Call | None = None
        self._block: Block | None = None

    def row_for(self, direct: bool) -> Row:
        """A row with a free seat that has all news."""
        for row in self.rows:
            if row.sent == self.heard and len(row.members) < ROW and (row.descriptors is not None) is direct:
                return row
        row = Row(self, direct)
        self.rows.append(row)
        return row

    def drop(self, row: Row) -> None:
        """Forget ``row``, which is empty; if it waits for a flush, it need not."""
        self.rows.remove(row)
        if row.queued:
            row.queued = False
            self.queued -= 1
        if not self.rows:
            self.forget_news()

    def block(self, start: int, epoch: str, end: int) -> Block:
        """The news from ``start`` on as bytes: all of them, or as many as a block holds. ``end`` is the log's end."""
        if len(self.rows) == 1:
            return self._made(start, epoch, end)
        block = self._block
        if block is None or block.start != start or not (block.full or block.stop == self.heard):
            block = self._block = self._made(start, epoch, end)
        return block

    def forget_block(self) -> None:
        """The news are not what they were."""
        self._block = None

    def forget_old_news(self) -> None:
        """Let go of the news, if every row has them."""
        for row in self.rows:
            if row.sent != self.heard:
                return
        self.news.clear()
        self.news_bytes = 0
        self._block = None

    def forget_news(self) -> None:
        """Let go of the news: every row has them, or reads them from the log."""
        self.news = []
        self.news_bytes = 0
        self._block = None

    def _made(self, start: int, epoch: str, end: int) -> Block:
        news, heard, key = self.news, self.heard, self.key
        first = heard - len(news)
        if start > first:
            news = news[start - first :]
        taken = news if self.news_bytes <= PAGE_BYTES else _as_many_as_fit(news)
        count = len(taken)
        stop = start + count
        full = stop != heard
        messages = newest_per_topic(taken) if key.conflate else taken
        offset = taken[-1].offset if full else end
        page = Page(messages, Position(epoch, offset))
        conflated = count - len(messages)
        framing = key.framing
        return Block(start, stop, full, framing.page(page), count - conflated, conflated, offset, framing.after(page))


def newest_per_topic(messages: Iterable[Message]) -> list[Message]:
    """Return ``messages`` without those that a newer one of the same topic follows."""
    newest: dict[str, Message] = {}
    for message in messages:
        newest.pop(message.topic, None)
        newest[message.topic] = message
    return list(newest.values())


def send_all(descriptors: array[int], pieces: Iterable[bytes]) -> list[tuple[int, int]]:
    """Send each of ``pieces`` to the socket of the same place in ``descriptors``; the sockets are non-blocking.

    Returns ``(index, sent)`` of each that did not take all of it, by rising index; for one that failed ``sent`` is its
    error number, negated. This is the loop that fan-out consists of: 10,000 turns of it a message.
    """
    short: list[tuple[int, int]] = []
    write = os.write
    index = 0
    for descriptor, piece in zip(descriptors, pieces, strict=True):
        try:
            sent = write(descriptor, piece)
        except OSError as error:
            short.append((index, -(error.errno or 1)))
        else:
            if sent != len(piece):
                short.append((index, sent))
        index += 1  # noqa: SIM113  # enumerate would make a tuple in a tuple for each
    return short


def _as_many_as_fit(messages: list[Message]) -> list[Message]:
    size = 0
    for number, message in enumerate(messages, 1):
        size += len(message.payload)
        if size >= PAGE_BYTES:
            return messages[:number]
    return messages
