"""Where retained messages stand: in the order of the log, and by topic.

The log keeps each message in two places, so that a read costs what it returns whichever way it asks:

* the :class:`Timeline` has all of them by offset, with holes where a topic's retention took one away;
* the :class:`TopicTree` has each topic's own, and knows per subtree the highest offset that was ever taken away.

The traps: a list with holes that keeps a gigabyte of them, because one quiet topic pins each stretch of a busy log
(so the timeline is cut into short spans, each rebuilt when most of it is gone); and a gap check that walks every topic.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from comet.message import Message
from comet.topics import Pattern

SHALLOW = 4
"""Segments of a topic that cost no more than its messages are taken to cost. Each further one is a place in the tree
that counts, or topics of a hundred segments would take a hundred times the memory that is to be retained."""

_offset = attrgetter("offset")
_AFTER_ALL = 1 << 62
_GONE = Message("", b"", "", 0.0, 0)


class Timeline:
    """Messages by rising offset; any one can be removed, and reading can start anywhere."""

    SPAN_BITS = 8

    def __init__(self) -> None:
        self._spans: dict[int, dict[int, Message]] = {}
        self._numbers: list[int] = []
        self._built: dict[int, int] = {}
        self._last: dict[int, Message] = {}
        self._last_number = -1

    def append(self, message: Message) -> None:
        """Add ``message``, whose offset is higher than all before."""
        number = message.offset >> self.SPAN_BITS
        if number != self._last_number or not self._last:
            if number not in self._spans:
                self._spans[number] = {}
                self._numbers.append(number)
            self._last, self._last_number = self._spans[number], number
        self._last[message.offset] = message

    def remove(self, message: Message) -> None:
        """Take away ``message``, which is here."""
        number = message.offset >> self.SPAN_BITS
        span = self._spans[number]
        del span[message.offset]
        if not span:
            del self._spans[number], self._numbers[bisect_left(self._numbers, number)]
            self._built.pop(number, None)
        elif number != self._last_number and len(span) * 4 <= self._built.get(number, 1 << self.SPAN_BITS):
            self._spans[number] = dict(span)  # a dictionary never shrinks by itself
            self._built[number] = len(span)

    def oldest(self) -> Message | None:
        """The first message, or None."""
        if not self._numbers:
            return None
        return next(iter(self._spans[self._numbers[0]].values()))

    def after(self, offset: int) -> Iterator[Message]:
        """Yield the messages after ``offset``, in order. Nothing may be removed meanwhile."""
        first = bisect_left(self._numbers, offset >> self.SPAN_BITS)
        for index in range(first, len(self._numbers)):
            span = self._spans[self._numbers[index]]
            if index == first:
                yield from (message for message in span.values() if message.offset > offset)
            else:
                yield from span.values()

    def backwards(self, until: int = _AFTER_ALL) -> Iterator[Message]:
        """Yield the messages from the newest up to ``until`` on. Nothing may be removed meanwhile."""
        last = until >> self.SPAN_BITS
        for index in range(bisect_right(self._numbers, last) - 1, -1, -1):
            number = self._numbers[index]
            span = reversed(self._spans[number].values())
            yield from span if number < last else (message for message in span if message.offset <= until)


class Topic:
    """A topic's retained messages, and its place in the tree. A place that is only on the way has no name.

    ``trimmed`` is the highest offset that this topic has lost, ``worst`` the highest that it or any below it has lost.
    """

    __slots__ = ("_messages", "_start", "below", "name", "parent", "trimmed", "worst")

    def __init__(self, parent: Topic | None, forgotten: int) -> None:
        self.name = ""
        self.parent = parent
        self.below: dict[str, Topic] = {}
        self.trimmed = self.worst = forgotten
        self._messages: list[Message] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._messages) - self._start

    def append(self, message: Message) -> None:
        """Add the newest message."""
        self._messages.append(message)

    def newest(self) -> Message:
        """The newest message; there must be one."""
        return self._messages[-1]

    def pop(self) -> Message:
        """Take away the oldest message, and note up the tree that it is lost."""
        messages, start = self._messages, self._start
        message = messages[start]
        messages[start] = _GONE
        start += 1
        if start * 2 > len(messages):  # moving the rest costs less than what was popped since the last time
            del messages[:start]
            start = 0
        self._start = start
        self.lose(message.offset)
        return message

    def lose(self, offset: int) -> None:
        """Note up the tree that everything up to ``offset`` is lost."""
        self.trimmed = max(self.trimmed, offset)
        place: Topic | None = self
        while place is not None and place.worst < offset:
            place.worst = offset
            place = place.parent

    def after(self, offset: int, count: int) -> list[Message]:
        """The first ``count`` messages after ``offset``."""
        messages = self._messages
        first = bisect_right(messages, offset, lo=self._start, key=_offset)
        return messages[first : first + count]

    def last(self, count: int, until: int = _AFTER_ALL) -> list[Message]:
        """The newest ``count`` messages up to ``until``."""
        end = bisect_right(self._messages, until, lo=self._start, key=_offset)
        return self._messages[max(self._start, end - count) : end]


class TopicTree:
    """The topics that have messages, by name and as a tree by segment."""

    def __init__(self) -> None:
        self.root = Topic(None, 0)
        self.by_name: dict[str, Topic] = {}
        self.forgotten = 0
        """The highest offset that a topic which is gone had. Which topics those were is not remembered, or memory
        would grow with the number of topics ever seen."""
        self.deep = 0
        """How many places there are below :data:`SHALLOW`."""

    def add(self, name: str) -> Topic:
        """Make a place for ``name``, which has none. It may have been here before, so what is forgotten is its loss."""
        place = self.root
        for depth, segment in enumerate(name.split("/")):
            below = place.below.get(segment)
            if below is None:
                below = place.below[segment] = Topic(place, self.forgotten)
                self.deep += depth >= SHALLOW
            place = below
        place.name = name
        self.by_name[name] = place
        return place

    def forget(self, topic: Topic) -> None:
        """Remove ``topic``, whose last message was just taken away."""
        self.forgotten = max(self.forgotten, topic.trimmed)
        segments = topic.name.split("/")
        del self.by_name[topic.name]
        topic.name = ""
        place = topic
        while place.parent is not None and not place.below and not place.name:
            del place.parent.below[segments.pop()]
            self.deep -= len(segments) >= SHALLOW
            place = place.parent

    def lose_all(self, offset: int) -> None:
        """Note in an empty tree that any topic may have lost messages up to ``offset``."""
        self.forgotten = self.root.worst = offset

    def losses(self) -> dict[str, int]:
        """The highest offset that each topic has lost, of those that have messages."""
        return {name: topic.trimmed for name, topic in self.by_name.items()}

    def note_losses(self, forgotten: int, losses: Mapping[str, int]) -> None:
        """Note what another tree knows of losses; :meth:`losses` and ``forgotten`` gave it."""
        self.forgotten = max(self.forgotten, forgotten)
        self.root.worst = max(self.root.worst, forgotten)
        for name, offset in losses.items():
            topic = self.by_name.get(name)
            if topic is not None:
                topic.lose(offset)

    def matching(self, pattern: Pattern) -> Iterator[Topic]:
        """Yield the topics of ``pattern`` that have messages, walking no more of the tree than it must."""
        for place in self._reached(pattern, -1):
            if pattern.segments[-1] != "**":
                if place.name:
                    yield place
                continue
            stack = list(_children(place))
            while stack:
                below = stack.pop()
                stack.extend(below.below.values())
                if below.name:
                    yield below

    def lost(self, pattern: Pattern, after: int) -> int:
        """The highest offset, if above ``after``, that a topic of ``pattern`` may have lost; else ``after``."""
        if self.root.worst <= after:
            return after
        if pattern.exact:
            topic = self.by_name.get(pattern.text)
            return max(after, self.forgotten if topic is None else topic.trimmed)
        reached = self._reached(pattern, after)
        if pattern.segments[-1] == "**":
            return max(after, self.forgotten, *map(_worst_below, reached))
        return max(after, self.forgotten, *(place.trimmed for place in reached))

    def has_lost(self, pattern: Pattern, after: int) -> bool:
        """Whether :meth:`lost` is above ``after``; it stops looking at the first topic that says so."""
        if self.root.worst <= after:
            return False
        if pattern.exact:
            return self.lost(pattern, after) > after
        if self.forgotten > after:
            return True
        reached = self._reached(pattern, after)
        if pattern.segments[-1] == "**":
            return any(_worst_below(place) > after for place in reached)
        return any(place.trimmed > after for place in reached)

    def lost_newest(self, pattern: Pattern, after: int) -> int:
        """The highest offset, if above ``after``, of a topic of ``pattern`` that may be gone; else ``after``."""
        if pattern.exact and pattern.text in self.by_name:
            return after
        return max(after, self.forgotten)

    def _reached(self, pattern: Pattern, after: int) -> Iterator[Topic]:
        """Yield the places that the segments of ``pattern`` lead to, a final ``**`` not walked, leaving out those
        under which nothing above ``after`` was lost."""
        steps = pattern.segments[:-1] if pattern.segments[-1] == "**" else pattern.segments
        places: Iterator[Topic] = iter((self.root,))
        for step in steps:
            places = (below for below in _stepped(places, step) if below.worst > after)
        yield from places


def _stepped(places: Iterable[Topic], step: str) -> Iterator[Topic]:
    """Yield where the segment ``step`` of a pattern leads from each of ``places``."""
    for place in places:
        if step == "*":
            yield from _children(place)
        elif (below := place.below.get(step)) is not None:
            yield below


def _children(place: Topic) -> Iterator[Topic]:
    """Yield what a wildcard may stand for below ``place``: at the root not the daemon's own topics."""
    if place.parent is not None:
        return iter(place.below.values())
    return (below for segment, below in place.below.items() if segment[0] != "$")


def _worst_below(place: Topic) -> int:
    """The highest offset that a topic below ``place`` has lost, mostly without looking at each."""
    if place.trimmed < place.worst or place.parent is None:
        return place.worst
    return max((below.worst for below in place.below.values()), default=0)
