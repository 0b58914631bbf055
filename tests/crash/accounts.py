"""What happened, as those tell it to whom it happened: values, written down by publishers and readers, for the judge.

Every payload is published under one name only, so that it says which publication it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(slots=True)
class Publication:
    """A message that ``writer`` published as its ``number``-th, from ``begun`` on (on the clock of all writers).

    ``positions`` are all answers to it: the same one again, if it was ``repeated`` under its key; empty texts where an
    answer names no position. ``heard`` is when the first came. ``refusals`` are the errors that were answered.
    """

    writer: str
    number: int
    topic: str
    payload: str
    begun: float = 0.0
    heard: float = 0.0
    repeated: bool = False
    positions: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def position(self) -> str:
        """The position that was first answered; empty if there is none."""
        return next(filter(None, self.positions), "")


class Seen(NamedTuple):
    """A message as a reader got it."""

    position: str
    topic: str
    payload: str


class Told(NamedTuple):
    """A gap as a reader was told of it."""

    since: str
    until: str


@dataclass(slots=True)
class Reading:
    """All that somebody got who reads ``patterns`` from the beginning of the log to its end, over however many
    connections: ``items`` in the order in which they came."""

    name: str
    patterns: Sequence[str]
    items: list[Seen | Told] = field(default_factory=list)

    def seen(self) -> list[Seen]:
        """The messages."""
        return [item for item in self.items if isinstance(item, Seen)]

    def told(self) -> list[Told]:
        """The gaps."""
        return [item for item in self.items if isinstance(item, Told)]


@dataclass(slots=True)
class History:
    """Everything. ``log`` is what the last daemon has in the end; ``trims`` if it was told to forget the oldest."""

    publications: Sequence[Publication]
    readings: Sequence[Reading]
    log: Reading
    trims: bool = False


def offset_of(position: str) -> int:
    """The offset in a position."""
    return int(position.rpartition("-")[2])


def wants(patterns: Sequence[str], topic: str) -> bool:
    """Whether one of ``patterns`` means ``topic``."""
    return any(_matches(pattern.split("/"), topic.split("/")) for pattern in patterns)


def _matches(pattern: list[str], topic: list[str]) -> bool:
    if pattern[-1] == "**" and len(topic) >= len(pattern):
        pattern, topic = pattern[:-1], topic[: len(pattern) - 1]
    return len(pattern) == len(topic) and all(
        part in ("*", segment) for part, segment in zip(pattern, topic, strict=True)
    )
