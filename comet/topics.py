"""What a topic is, what a pattern is, and the index from a topic to those who want it.

A topic is segments joined by ``/``. A pattern is a topic in which a segment may be ``*`` (exactly one segment) and the
last may be ``**`` (one or more). Neither matches a first segment that starts with ``$``: those belong to the daemon.
The trap: an index that walks all patterns on each publish. Here exact patterns cost one dictionary look-up, and
wildcards a walk down a tree by segment whose result is remembered per topic.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from comet.errors import BadPattern, BadTopic, TooManyPatterns, shown

LONGEST = 255
"""Bytes of UTF-8 in a topic or a pattern."""

MOST_SEGMENTS = 1_000
"""Segments that the patterns with wildcards of one subscription may have together: each is a place in the index, and
25 KB of a request could otherwise be turned into 4 MB of memory."""

# C0, DEL, C1, and lone surrogates, which are not UTF-8.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _fault(text: str) -> str | None:
    """Return what is wrong with ``text`` as a topic or a pattern, or None."""
    if not text:
        return "it is empty"
    if _FORBIDDEN.search(text):
        return "it has a control character"
    if len(text.encode()) > LONGEST:
        return f"it is longer than {LONGEST} bytes"
    if text[0] == "/" or text[-1] == "/" or "//" in text:
        return "it has an empty segment"
    return None


def check_topic(text: str) -> str:
    """Return ``text`` if something may be published there, or raise :exc:`~comet.errors.BadTopic`."""
    fault = _fault(text)
    if fault is None and "*" in text:
        fault = "a topic has no '*' (only patterns do)"
    if fault is None and text[0] == "$":
        fault = "topics that start with '$' belong to the daemon"
    if fault is not None:
        raise BadTopic(f"{shown(text)} is not a topic to publish on: {fault}")
    return text


class Pattern(NamedTuple):
    """A parsed pattern. Equal texts give equal patterns."""

    text: str
    segments: tuple[str, ...]
    exact: bool

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that ``text`` spells, or raise :exc:`~comet.errors.BadPattern`."""
        fault = _fault(text)
        segments = tuple(text.split("/"))
        if fault is None and any("*" in segment and segment not in ("*", "**") for segment in segments):
            fault = "'*' stands for a whole segment, between slashes"
        if fault is None and "**" in segments[:-1]:
            fault = "'**' can only be the last segment"
        if fault is not None:
            raise BadPattern(f"{shown(text)} is not a pattern: {fault}")
        return cls(text, segments, "*" not in text)

    def matches(self, topic: str) -> bool:
        """Whether ``topic``, which is well formed, is one of this pattern's."""
        if self.exact:
            return topic == self.text
        segments = topic.split("/")
        wanted = self.segments
        if wanted[-1] == "**":
            if len(segments) < len(wanted):
                return False
        elif len(segments) != len(wanted):
            return False
        if topic[0] == "$" and wanted[0][0] == "*":
            return False
        return all(want in ("*", "**", have) for want, have in zip(wanted, segments, strict=False))


def parse_patterns(texts: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns that ``texts`` spell, each once and in one order, so that equal wishes compare equal."""
    patterns = tuple(sorted({Pattern.parse(text) for text in texts}))
    if not patterns:
        raise BadPattern("name at least one topic or pattern to subscribe to")
    return patterns


def patterns_of(texts: Iterable[str], most: int) -> tuple[Pattern, ...]:
    """Return the patterns that ``texts`` spell, or raise if one is none, if there are more than ``most``, or if they
    are too deep together."""
    texts = list(texts)
    if len(texts) > most:
        raise TooManyPatterns(f"{len(texts)} patterns in one subscription; at most {most} are allowed (max-patterns)")
    patterns = parse_patterns(texts)
    check_depth(patterns)
    return patterns


def check_depth(patterns: Iterable[Pattern]) -> None:
    """Raise :exc:`~comet.errors.TooManyPatterns` if ``patterns``, of one subscription, are too deep together."""
    segments = sum(len(pattern.segments) for pattern in patterns if not pattern.exact)
    if segments > MOST_SEGMENTS:
        raise TooManyPatterns(
            f"the patterns with wildcards have {segments} segments; at most {MOST_SEGMENTS} are allowed together"
        )


V = TypeVar("V", bound=Hashable)


class _Node(Generic[V]):
    """A place in the tree of wildcard patterns: who wants exactly this, and what may follow."""

    __slots__ = ("below", "values")

    def __init__(self) -> None:
        self.below: dict[str, _Node[V]] = {}
        self.values: dict[V, None] = {}

    def empty(self) -> bool:
        return not self.below and not self.values


class PatternIndex(Generic[V]):
    """From a topic to the values that were added under a pattern that matches it."""

    REMEMBERED = 65_536
    """How many topics' wildcard matches are remembered; then all are dropped, which bounds the memory."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[V, None]] = {}
        self._root: _Node[V] = _Node()
        self._remembered: dict[str, tuple[V, ...]] = {}
        self.wildcards = 0
        """How many patterns with a wildcard there are."""

    @property
    def topics(self) -> Collection[str]:
        """The exact patterns, of which each is a topic."""
        return self._exact.keys()

    def exactly(self, topic: str) -> Collection[V]:
        """Return each value that was added under ``topic`` itself."""
        return self._exact.get(topic, {}).keys()

    def add(self, pattern: Pattern, value: V) -> None:
        """Make ``value`` one of those that ``match`` gives for the topics of ``pattern``. Adding twice is once."""
        if pattern.exact:
            self._exact.setdefault(pattern.text, {})[value] = None
        else:
            node = self._root
            for segment in pattern.segments:
                node = node.below.setdefault(segment, _Node())
            self.wildcards += not node.values
            node.values[value] = None
        self._forget(pattern)

    def remove(self, pattern: Pattern, value: V) -> None:
        """Undo ``add``. Nothing happens if it was not added."""
        if pattern.exact:
            values = self._exact.get(pattern.text, {})
            values.pop(value, None)
            if not values:
                self._exact.pop(pattern.text, None)
        else:
            path = [self._root]
            for segment in pattern.segments:
                if segment not in path[-1].below:
                    return
                path.append(path[-1].below[segment])
            if value in path[-1].values:
                del path[-1].values[value]
                self.wildcards -= not path[-1].values
            for segment, node, parent in zip(reversed(pattern.segments), reversed(path), path[-2::-1], strict=False):
                if not node.empty():
                    break
                del parent.below[segment]
        self._forget(pattern)

    def match(self, topic: str) -> Iterable[V]:
        """Return each value that wants ``topic``, once. Not to be changed, and not to be kept over an ``add``."""
        if self._root.below:
            found = self._remembered.get(topic)
            if found is None:
                found = self._look_up(topic)
            return found
        return self._exact.get(topic, ())

    def _look_up(self, topic: str) -> tuple[V, ...]:
        if len(self._remembered) >= self.REMEMBERED:
            self._remembered.clear()
        found = dict(self._exact.get(topic, {}))
        segments = topic.split("/")
        nodes = [self._root]
        for number, segment in enumerate(segments):
            below: list[_Node[V]] = []
            wild = number > 0 or segment[0] != "$"
            for node in nodes:
                if wild and "**" in node.below:
                    found.update(node.below["**"].values)
                if wild and "*" in node.below:
                    below.append(node.below["*"])
                if segment in node.below:
                    below.append(node.below[segment])
            nodes = below
        for node in nodes:
            found.update(node.values)
        self._remembered[topic] = result = tuple(found)
        return result

    def _forget(self, pattern: Pattern) -> None:
        if pattern.exact:
            self._remembered.pop(pattern.text, None)
        else:
            self._remembered.clear()
