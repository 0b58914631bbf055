"""The log: the one order in which messages stand, and what of it is retained in memory.

It alone gives each message its offset. Per topic the newest ``messages`` are kept, none longer than ``seconds``, and of
the whole at most ``bytes``; a topic without messages is forgotten. A reader asks for a page after its cursor and is
told what was lost before it. Reading costs what it returns: an exact pattern reads its topic's own list, wildcards read
the timeline, a bounded stretch at a time. Pure: no clock, no I/O; ``now`` is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from comet.errors import BadSince, shown
from comet.kept import Past
from comet.message import Draft, Gap, Message, Position
from comet.retained import Timeline, Topic, TopicTree
from comet.topics import Pattern

MESSAGE_BYTES = 320
"""What a retained message costs beside its payload (measured: object, numbers, its two places in the log)."""

PLACE_BYTES = 360
"""What a deep topic costs for each segment below the first few (measured)."""

PAGE_BYTES = 65_536
"""A page ends once its payloads have this many bytes: what one reader can hold up of the daemon's memory."""

SCAN = 4_096
"""The most messages that one read with wildcards looks at."""

LOOK_BACK = 16_384
"""How far ``-N`` with wildcards looks back along the timeline before it asks each matching topic instead."""

EXPIRE_AT_ONCE = 10_000


class Retention(NamedTuple):
    """What is kept: the newest ``messages`` per topic, for ``seconds``, and ``bytes`` of the whole."""

    messages: int = 1_000
    seconds: float = 3_600.0
    bytes: int = 256 * 1024 * 1024


Since = str | int | Position
"""Where a subscription starts: ``"now"``, ``"first"``, ``"last"``, the newest N, or after a position."""


def parse_since(text: str) -> Since:
    """Return where ``text`` says to start, or raise :exc:`~comet.errors.BadSince`."""
    if text in ("now", "first", "last"):
        return text
    if text.startswith("-") and text[1:].isascii() and text[1:].isdigit() and len(text) <= 8:
        return int(text[1:])
    try:
        return Position.parse(text)
    except BadSince:
        raise BadSince(
            f"since={shown(text)} is none of: now, first, last, -N (the newest N), or a position like 5f0c1a2b-1042"
        ) from None


class Replay(NamedTuple):
    """History to read before a cursor: ``patterns`` after ``after`` up to ``until``. With ``newest`` only the newest
    message of each topic: a snapshot. With ``last`` only of so many as are the newest up to ``after``; where they begin
    is to be found out. Losses up to ``told`` are no news, on the condition of :class:`Start`."""

    patterns: tuple[Pattern, ...]
    after: int
    until: int
    newest: bool
    told: int = 0
    losses: int | None = None
    last: int = 0


class Start(NamedTuple):
    """Where a reader begins: everything after ``after``. Losses up to ``told`` are no news to it; ``gap`` is, at
    once. With ``snapshot`` it begins with the newest message of each topic, and ``after`` is the end of the log; with
    ``last`` with so many of the newest up to there.

    Who asks for what there is need not be told what was lost before, but must be if it goes while it is read: if
    ``losses`` is a number, ``told`` holds as long as the log's ``losses`` are that many.
    """

    after: int
    told: int = 0
    gap: Gap | None = None
    snapshot: bool = False
    losses: int | None = None
    last: int = 0


class Log:
    """The messages in their order, as far as they are retained."""

    def __init__(self, epoch: str, retention: Retention) -> None:
        self.epoch = epoch
        self.retention = retention
        # What the messages may come to: more than the retention says while what is too much goes step by step.
        self._ceiling = retention.bytes
        self._crowded: list[Topic] = []
        self.end = 0
        """The offset of the newest message; 0 before the first."""
        self._message_bytes = 0
        self.taken = 0
        """How many messages were ever taken in, and how many of them were let go of."""
        self.losses = 0
        self._next = 1
        self._time = 0.0
        self._timeline = Timeline()
        self._topics = TopicTree()

    def position(self, offset: int) -> Position:
        """The position of ``offset`` in this log."""
        return Position(self.epoch, offset)

    @property
    def bytes(self) -> int:
        """What is retained costs about so much memory."""
        return self._message_bytes + PLACE_BYTES * self._topics.deep

    @property
    def count(self) -> int:
        """How many messages are retained."""
        return self.taken - self.losses

    @property
    def next_offset(self) -> int:
        """The offset that the next message gets."""
        return self._next

    def number(self, drafts: Iterable[Draft], now: float) -> list[Message]:
        """Give ``drafts`` their offsets and time. They are not in the log before :meth:`extend`."""
        self._time = now = max(now, self._time)  # a clock set back must not disturb the order by age
        first = self._next
        messages = [
            Message(draft.topic, draft.payload, draft.content_type, now, offset)
            for offset, draft in enumerate(drafts, first)
        ]
        self._next = first + len(messages)
        return messages

    def extend(self, messages: Iterable[Message]) -> None:
        """Take in ``messages``, which were numbered here (or restored from a store) and follow all earlier ones."""
        by_name, append, most = self._topics.by_name, self._timeline.append, self.retention.messages
        for message in messages:
            topic = by_name.get(message.topic)
            if topic is None:
                topic = self._topics.add(message.topic)
            topic.append(message)
            append(message)
            self._message_bytes += len(message.payload) + MESSAGE_BYTES
            self.taken += 1
            self.end = message.offset
            if len(topic) > most:
                self._lose(topic)
        self._next = max(self._next, self.end + 1)
        while self.bytes > self._ceiling:
            self._lose_oldest()

    def restore(self, past: Past, messages: Iterable[Message]) -> None:
        """Go on, before anything else, where a store's log stands. ``messages`` are its newest; what was before them is
        not in memory."""
        self._topics.lose_all(past.forgotten)
        self.extend(messages)
        self._stand(past)

    def past(self) -> Past:
        """Return what a log that takes this one's place must know."""
        topics = self._topics
        return Past(self.epoch, self.end, self._next, self._time, topics.forgotten, topics.losses())

    def resume(self, past: Past, messages: Iterable[Message]) -> None:
        """Go on, before anything else, where another log stands. ``messages`` are what it has retained; some of them
        it may have lost since it gave them away, which ``past`` knows."""
        losses, forgotten = past.losses, past.forgotten
        self.extend(message for message in messages if message.offset > losses.get(message.topic, forgotten))
        self._topics.note_losses(forgotten, losses)
        self._stand(past)

    def _stand(self, past: Past) -> None:
        self.epoch, self.end, self._next, self._time = past.epoch, past.end, past.next_offset, past.time

    def after(self, offset: int, count: int) -> list[Message]:
        """The first ``count`` retained messages after ``offset``, of whichever topic."""
        return list(islice(self._timeline.after(offset), count))

    def newest_first(self) -> Iterator[Message]:
        """Yield the retained messages from the newest on. The log must not change meanwhile."""
        return self._timeline.backwards()

    def retain(self, retention: Retention) -> None:
        """Keep what ``retention`` says from now on. What is too much goes with the next calls of :meth:`expire`."""
        self.retention = retention
        self._ceiling = max(retention.bytes, self.bytes)
        self._crowded = list(self._topics.by_name.values())

    def expire(self, now: float) -> None:
        """Let go of what is older than the retention says; of a great deal, part now and the rest at the next call."""
        self._lose_surplus()
        limit = now - self.retention.seconds
        for _ in range(EXPIRE_AT_ONCE):
            oldest = self._timeline.oldest()
            if oldest is None or oldest.time > limit:
                return
            self._lose_oldest()

    def start(self, since: Since, patterns: Sequence[Pattern]) -> Start:
        """Return where a reader of ``patterns`` begins that asks for ``since``."""
        if since == "now":
            return Start(self.end)
        if since == "first":
            return Start(0, told=self.lost(patterns, 0), losses=self.losses)
        if since == "last":
            return Start(self.end, told=self._topics.forgotten, snapshot=True)
        if isinstance(since, int):
            before, _ = self.before_newest(patterns, self.end, since)
            return Start(before, told=self.lost(patterns, 0), losses=self.losses)
        assert isinstance(since, Position)
        if since.epoch != self.epoch:
            told = self.lost(patterns, 0)
            return Start(0, told, Gap(since, self.position(told)))
        if since.offset > self.end:
            return Start(self.end, gap=Gap(since, self.position(self.end)))
        return Start(since.offset)

    def lost(self, patterns: Iterable[Pattern], after: int) -> int:
        """The highest offset, if above ``after``, of a message of ``patterns`` that may be gone; else ``after``."""
        return max(self._topics.lost(pattern, after) for pattern in patterns)

    def has_lost(self, patterns: Iterable[Pattern], after: int) -> bool:
        """Whether :meth:`lost` is above ``after``, which is found out sooner than what it is."""
        return any(self._topics.has_lost(pattern, after) for pattern in patterns)

    def lost_newest(self, patterns: Iterable[Pattern], after: int) -> int:
        """As :meth:`lost`, for who wants only the newest message of each topic: that goes last, with its topic, and
        topics go in the order of the log."""
        return max(self._topics.lost_newest(pattern, after) for pattern in patterns)

    def read(self, patterns: Sequence[Pattern], after: int, limit: int) -> tuple[list[Message], int]:
        """Return the first messages of ``patterns`` after ``after`` and how far they reach.

        At most ``limit`` messages and about :data:`PAGE_BYTES` of payload. The second value is the offset up to which
        the messages are complete: the log's end, or less if there may be more.
        """
        found, reached = self._found(patterns, after, limit + 1)
        return _cut(found, limit, reached)

    def look(self, patterns: Sequence[Pattern], after: int, limit: int) -> tuple[list[Message], int]:
        """As :meth:`read`, but however large the messages are: to count them, not to send them."""
        found, reached = self._found(patterns, after, limit + 1)
        messages = list(islice(found, limit + 1))
        return (messages[:limit], messages[limit - 1].offset) if len(messages) > limit else (messages, reached)

    def snapshot(self, replay: Replay, limit: int) -> tuple[list[Message], int]:
        """As :meth:`read`, but only messages that are the newest of their topics, and none after ``replay.until``."""
        by_name = self._topics.by_name
        if all(pattern.exact for pattern in replay.patterns):
            topics = (by_name.get(pattern.text) for pattern in replay.patterns)
            newest = (topic.newest() for topic in topics if topic is not None)
            found = sorted((m for m in newest if replay.after < m.offset <= replay.until), key=_by_offset)
            return _cut(iter(found), limit, replay.until)
        stretch = list(islice(self._timeline.after(replay.after), SCAN))
        reached = min(replay.until, stretch[-1].offset if len(stretch) == SCAN else self.end)
        newest = (m for m in stretch if m.offset <= reached and by_name[m.topic].newest() is m)
        return _cut(_wanted(newest, replay.patterns), limit, reached)

    def newest(self, patterns: Sequence[Pattern]) -> Message | None:
        """The newest retained message of ``patterns``, or None."""
        messages, _ = self.read(patterns, self.before_newest(patterns, self.end, 1)[0], 1)
        return messages[0] if messages else None

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> tuple[int, int]:
        """The offset after which exactly the newest ``count`` retained messages of ``patterns`` up to ``until`` follow
        (``until`` if there is none), and how many these are: there may be fewer."""
        if count == 0:
            return until, 0
        found: list[Message] = []
        if not all(pattern.exact for pattern in patterns):
            recent = islice(self._timeline.backwards(until), LOOK_BACK)
            found = list(islice(_wanted(recent, patterns), count))
        if len(found) < count:
            topics = {id(topic): topic for pattern in patterns for topic in self._topics.matching(pattern)}
            lasts = (message for topic in topics.values() for message in topic.last(count, until))
            found = heapq.nlargest(count, lasts, key=_by_offset)
        return (found[-1].offset - 1 if found else until), len(found)

    @property
    def topic_count(self) -> int:
        """How many topics have messages."""
        return len(self._topics.by_name)

    def topics(self) -> Iterator[Topic]:
        """Yield the topics that have messages."""
        yield from self._topics.by_name.values()

    def topic(self, name: str) -> Topic | None:
        """The retained messages of one topic, or None."""
        return self._topics.by_name.get(name)

    def _found(self, patterns: Sequence[Pattern], after: int, count: int) -> tuple[Iterator[Message], int]:
        """The first messages of ``patterns`` after ``after``, ``count`` of them or more if there are so many, and up to
        where they are complete if all of them are taken."""
        if all(pattern.exact for pattern in patterns):
            return self._exact(patterns, after, count), self.end
        stretch = list(islice(self._timeline.after(after), SCAN))
        reached = stretch[-1].offset if len(stretch) == SCAN else self.end
        return _wanted(stretch, patterns), reached

    def _exact(self, patterns: Sequence[Pattern], after: int, count: int) -> Iterator[Message]:
        topics = (self._topics.by_name.get(pattern.text) for pattern in patterns)
        lists = [topic.after(after, count) for topic in topics if topic is not None]
        return iter(lists[0]) if len(lists) == 1 else heapq.merge(*lists, key=_by_offset)

    def _lose(self, topic: Topic) -> None:
        message = topic.pop()
        self._timeline.remove(message)
        self._message_bytes -= len(message.payload) + MESSAGE_BYTES
        self.losses += 1
        if not len(topic):
            self._topics.forget(topic)

    def _lose_surplus(self) -> None:
        """Let go of what a new retention has made too much, or of a part of it."""
        for _ in range(EXPIRE_AT_ONCE):
            if self._crowded and len(self._crowded[-1]) > self.retention.messages:
                self._lose(self._crowded[-1])
            elif self._crowded:
                self._crowded.pop()
            elif self.bytes > self.retention.bytes:
                self._lose_oldest()
            else:
                break
        self._ceiling = max(self.retention.bytes, self.bytes)

    def _lose_oldest(self) -> None:
        oldest = self._timeline.oldest()
        assert oldest is not None
        self._lose(self._topics.by_name[oldest.topic])


def _by_offset(message: Message) -> int:
    return message.offset


def _wanted(messages: Iterable[Message], patterns: Sequence[Pattern]) -> Iterator[Message]:
    """Yield those of ``messages`` that ``patterns`` match, looking at each topic once."""
    known: dict[str, bool] = {}
    for message in messages:
        topic = message.topic
        wanted = known.get(topic)
        if wanted is None:
            wanted = known[topic] = any(pattern.matches(topic) for pattern in patterns)
        if wanted:
            yield message


def _cut(found: Iterator[Message], limit: int, reached: int) -> tuple[list[Message], int]:
    """Return as many of ``found`` as a page holds, and how far it reaches: ``reached`` if that is all of them."""
    page: list[Message] = []
    size = 0
    for message in found:
        if len(page) >= limit or size >= PAGE_BYTES:
            return page, page[-1].offset
        page.append(message)
        size += len(message.payload)
    return page, reached
