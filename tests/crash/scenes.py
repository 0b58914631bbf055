"""A daemon that is killed again and again, those who publish and read meanwhile, and what became of it all."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

from tests.crash.accounts import History, Reading, Told, offset_of, wants
from tests.crash.consuming import Consumer
from tests.crash.judging import faults, few
from tests.crash.lives import Lives
from tests.crash.moments import Moments
from tests.crash.readers import Reader, seen
from tests.crash.writers import Batches, Keyless, Library, Pipeline, Posting, Telling, Writer
from tests.e2e.held import asked_json
from tests.e2e.waiting import until

TOPICS = ("crash/a", "crash/b", "crash/deep/c", "other")

PATIENCE = 60.0
"""Seconds within which everybody has read to the end."""

WRITERS: tuple[tuple[str, type[Writer]], ...] = (
    ("pipeline", Pipeline),
    ("keyless", Keyless),
    ("telling", Telling),
    ("posting", Posting),
    ("batches", Batches),
    ("library", Library),
)
HTTP = (Posting, Batches)

STREAMING = ("stream", "sse", "websocket", "mixed", "iframe")


def readers(moments: Moments) -> list[Reader]:
    """Subscribers of exact topics and of patterns, on each transport; the slow ones lag far behind the memory."""
    return [
        Reader("poll of all", ["**"], ["poll"], moments),
        Reader("stream of one", ["crash/a"], ["stream"], moments),
        Reader("sse of a level", ["crash/*"], ["sse"], moments),
        Reader("websocket of three", ["crash/b", "other", "crash/deep/*"], ["websocket"], moments),
        Reader("whichever of all", ["**"], ["poll", *STREAMING], moments),
        Reader("sse of one and the daemon", ["other", "$stats/*"], ["sse"], moments),
        Consumer("consumer-of-all", ["**"], ["poll", "stream"], moments),
        Consumer("consumer-of-one", ["crash/b"], ["websocket"], moments),
        Reader("slow poll of all", ["**"], ["poll"], moments, rest=0.1, limit=20),
        Reader("slow stream of below", ["crash/**"], ["stream", "sse"], moments, rest=0.25, limit=20),
    ]


def end_readers(moments: Moments) -> list[Reader]:
    """Those who come in the end, and read the whole log."""
    return [Reader(f"late {transport}", ["**"], [transport], moments) for transport in ("poll", "stream", "websocket")]


class Scene:
    """The daemon of ``options``, and everybody. ``writers`` says who publishes; each rests ``rest`` seconds between two
    rounds. ``trims`` if the daemon is told to forget."""

    def __init__(
        self,
        options: Sequence[str],
        chance: random.Random,
        writers: Sequence[tuple[str, type[Writer]]] = WRITERS,
        rest: float = 0.15,
        trims: bool = False,
    ) -> None:
        self.chance = chance
        self.moments = Moments()
        self.lives = Lives(*options)
        self.trims = trims
        self.writers = [self._writer(name, kind, rest) for name, kind in writers]
        self.readers = readers(self.moments)
        self._stack = ExitStack()

    def _writer(self, name: str, kind: type[Writer], rest: float) -> Writer:
        place = self.lives.http if kind in HTTP else self.lives.tcp
        return kind(name, place, TOPICS, self.moments, random.Random(self.chance.random()), rest)

    def __enter__(self) -> Scene:
        self._stack.enter_context(self.lives)
        self.lives.start()
        for reader in self.readers:
            self._stack.callback(reader.finish)
            reader.start(self.lives.http)
        for writer in self.writers:
            self._stack.callback(writer.give_up)
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def acknowledged(self) -> int:
        """How many acknowledgements were heard so far."""
        return sum(writer.answers for writer in self.writers)

    def go_on(self, count: int) -> None:
        """Wait until ``count`` further messages were acknowledged."""
        goal = self.acknowledged() + count
        until(lambda: self.acknowledged() >= goal, f"{goal} messages are acknowledged")

    def kill_at(self, moment: str, count: int, act: Callable[[], None] | None = None) -> None:
        """Kill the daemon, or ``act`` so, when ``moment`` comes for the ``count``-th time."""
        self.moments.lay(moment, count, act or self.lives.kill)
        assert self.moments.over.wait(PATIENCE), f"{moment} does not come {count} times"
        self.lives.buried()

    def settle(self) -> History:
        """Have the publishers come to their end, and the readers to that of the log."""
        for writer in self.writers:
            writer.finish()
        log = read_whole(self.lives.http)
        late = end_readers(self.moments)
        for reader in late:
            self._stack.callback(reader.finish)
            reader.start(self.lives.http)
        self.readers += late
        for reader in self.readers:
            reader.hurry()
            self._read_to_end(reader, log)
            reader.finish()
        publications = list(chain.from_iterable(writer.publications for writer in self.writers))
        # Meanwhile more of it may have been trimmed.
        log = read_whole(self.lives.http)
        return History(publications, [reader.reading for reader in self.readers], log, self.trims)

    def faults(self, history: History) -> list[str]:
        """All that is wrong: with the history, with what was said to publishers and readers, and with the daemons."""
        said = [fault for writer in self.writers for fault in few(writer.faults)]
        said += [fault for reader in self.readers for fault in few(reader.faults)]
        return [*faults(history), *said, *self.lives.mistakes]

    def _read_to_end(self, reader: Reader, log: Reading) -> None:
        patterns = reader.reading.patterns
        wanted = (offset_of(each.position) for each in reversed(log.seen()) if wants(patterns, each.topic))
        last = next(wanted, 0)
        # Who does not come to its end has missed something, which the judge says better.
        try:
            until(lambda: reader.reached() >= last, "", PATIENCE)
        except AssertionError:
            reader.faults.append(f"{reader.reading.name} comes to {reader.reached()}, and no further than that: {last}")


def read_whole(place: str) -> Reading:
    """The whole log, asked for page by page."""
    reading = Reading("log", ["**"])
    cursor = "first"
    while True:
        answer: dict[str, Any] = asked_json(place, f"/topics/**?transport=poll&wait=0&limit=10000&since={cursor}")
        if "gap" in answer:
            reading.items.append(Told(**answer["gap"]))
        reading.items += map(seen, answer["messages"])
        if not answer["messages"] and answer["next"] == cursor:
            return reading
        cursor = answer["next"]
