"""``comet log verify``: whether a file has everything that it should, and finds it again.

It goes through all of the file, on one state of it: SQLite's own check of the structure, then every block, and every
place where a topic is to be found. The trap is memory: there may be more places than fit, so of those of a block only
their number is kept, and a sum over them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from itertools import pairwise
from typing import Any

from msgspec import DecodeError
from msgspec.msgpack import Decoder

from comet.commands.amounts import size
from comet.commands.log.file import UNKNOWN, LogFile
from comet.commands.log.verdict import LISTED, Verdict
from comet.commands.log.walk import Hole, Part, walk
from comet.errors import BadTopic
from comet.kept import Entry
from comet.store.blocks import Block, by_topic
from comet.store.schema import ERA
from comet.topics import check_topic

LOOK = 0.25
"""Seconds between two signs of life while SQLite checks."""

_decode_keys = Decoder(list[Entry]).decode


def verify(file: LogFile, show: Callable[[str], object]) -> Verdict:
    """Return what there is to say of ``file``. ``show`` gets how far it is."""
    verdict = _Verifying(file, show).run()
    # What was changed while it was looked at is perhaps not damaged.
    return verdict if verdict.good or not file.renew() else verify(file, show)


class _Tally:
    """How many places a block has, and a sum over them."""

    __slots__ = ("count", "sum")

    def __init__(self) -> None:
        self.count = self.sum = 0

    def add(self, place: tuple[int, ...]) -> None:
        """Add a place: era, topic, how many messages, and where in the body."""
        self.count += 1
        self.sum += hash(place)

    def agrees(self, other: _Tally) -> bool:
        """Whether both are, almost certainly, of the same places."""
        return (self.count, self.sum) == (other.count, other.sum)


class _Verifying:
    """One look at everything."""

    def __init__(self, file: LogFile, show: Callable[[str], object]) -> None:
        self._file = file
        self._show = show
        self._verdict = Verdict(file=str(file.path), epoch=file.epoch())
        self._fault = self._verdict.fault
        self._topics: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        """Each topic, and the last block with places that has it, or 0."""
        self._places: defaultdict[int, _Tally] = defaultdict(_Tally)
        self._holes: list[Hole] = []
        self._placed: int | None = None
        """Up to where topics have places."""

    def run(self) -> Verdict:
        """Look at it."""
        try:
            connection = self._file.connection
        except sqlite3.DatabaseError as error:
            self._fault(f"its beginning is destroyed: {error}")
            self._check_blocks()
        else:
            connection.execute("BEGIN")
            try:
                self._check_all()
            finally:
                connection.execute("ROLLBACK")
        self._verdict.topics = len(self._seen)
        return self._verdict

    def _check_all(self) -> None:
        for name, check in (
            ("the structure", self._check_structure),
            ("what it says of itself", self._check_facts),
            ("the list of topics", self._read_topics),
            ("the messages", self._check_blocks),
            ("the newest of each topic", self._check_newest),
            ("the places of topics", self._check_places),
            ("the idempotency keys", self._check_keys),
            ("the consumers and hooks", self._check_records),
        ):
            try:
                check()
            except sqlite3.DatabaseError as error:
                self._fault(f"{name} cannot be read: {error}")

    # -- the file as SQLite sees it -----------------------------------------------------------------------------------

    def _check_structure(self) -> None:
        """Have SQLite check its pages and trees, in a thread: it takes a while, and says nothing meanwhile."""
        whole = size(sum(self._file.sizes()))
        with ThreadPoolExecutor(1) as pool:
            checking = pool.submit(self._integrity)
            seconds = 0.0
            try:
                while not checking.done():
                    self._show(f"checking the structure of {whole}, {seconds:.0f} s")
                    seconds += LOOK
                    try:
                        checking.result(LOOK)
                    except NotYet:
                        pass
            except BaseException:
                self._file.connection.interrupt()
                raise
        for text in checking.result():
            self._fault(f"structure: {text}")

    def _integrity(self) -> list[str]:
        rows = self._file.connection.execute(f"PRAGMA integrity_check({LISTED})").fetchall()
        lines = [line for (text,) in rows for line in text.splitlines() if line != "ok" and line[:3] != "***"]
        # A tree that is cut somewhere loses all pages behind that, each of which would be a line.
        told = [line for line in lines if not line.endswith("is never used")]
        lost = len(lines) - len(told)
        return [*told, *([f"{lost} pages or more are in no tree"] if lost else [])]

    def _rows(self, query: str) -> Iterator[Any]:
        """Yield the rows of ``query``, many at a time."""
        cursor = self._file.connection.execute(query)
        while rows := cursor.fetchmany(10_000):
            yield from rows

    # -- what is in it ------------------------------------------------------------------------------------------------

    def _check_facts(self) -> None:
        if self._verdict.epoch == UNKNOWN:
            self._fault(f"its epoch is {self._file.fact('epoch')!r}, which is none")
        for name in ("last", "placed", "trimmed"):
            found = self._file.fact(name)
            if not isinstance(found, int):
                self._fault(f"{name} is {found!r}, and not an offset")
        self._placed = self._file.offset("placed")

    def _read_topics(self) -> None:
        for number, name, newest in self._rows("SELECT id, name, newest FROM topics"):
            self._topics[name] = number
            self._newest[name] = newest

    def _check_blocks(self) -> None:
        for each in walk(self._file, 0):
            if isinstance(each, Part):
                self._check_block(each)
            elif each.damage:
                self._note_hole(each)
            self._show(f"{self._verdict.messages:,} messages are good, up to {self._verdict.last}")

    def _note_hole(self, hole: Hole) -> None:
        self._holes.append(hole)
        where = "" if hole.until is None else f" up to {self._position(hole.until)}"
        self._fault(f"messages after {self._position(hole.since)}{where} cannot be read: {hole.why}")

    def _check_block(self, part: Part) -> None:
        messages, block = part
        verdict = self._verdict
        verdict.blocks += 1
        verdict.messages += len(messages)
        verdict.bytes += len(block.body)
        if messages:
            verdict.first = verdict.first or self._position(messages[0].offset)
            verdict.last = self._position(block.last)
        offsets = [message.offset for message in messages]
        rising = all(before < after for before, after in pairwise([block.after, *offsets]))
        if not rising or offsets[-1:] != [block.last] or len(offsets) != block.count:
            self._fault(f"{self._where(block)}: its messages are not those that it says")
        self._check_topics(part)

    def _check_topics(self, part: Part) -> None:
        """Note where its topics should be found."""
        messages, block = part
        is_placed = self._placed is not None and block.last <= self._placed
        for topic, *found in by_topic(block.after, messages)[1] if messages else ():
            if topic not in self._seen:
                self._check_topic(topic, block)
            self._seen[topic] = block.last if is_placed else self._seen.get(topic, 0)
            if is_placed and topic in self._topics:
                place = (block.last >> ERA, self._topics[topic], *found)
                self._places[block.last].add(place)

    def _check_topic(self, topic: str, block: Block) -> None:
        try:
            check_topic(topic)
        except BadTopic as error:
            self._fault(f"{self._where(block)}: {error.detail}")

    def _check_newest(self) -> None:
        """Whether each topic is listed with the block that has its newest message."""
        if self._placed is None or self._holes:
            return
        for topic in sorted({*self._newest, *self._seen}):
            listed, newest = self._newest.get(topic, 0), self._seen.get(topic, 0)
            if listed != newest:
                self._fault(f"{topic!r} is listed with {self._position(listed)}, and not {self._position(newest)}")

    def _check_places(self) -> None:
        if self._placed is None:
            return
        found: defaultdict[int, _Tally] = defaultdict(_Tally)
        for number, row in enumerate(self._rows("SELECT block, era, topic, count, start, size FROM places")):
            found[row[0]].add(row[1:])
            if number % 10_000 == 0:
                self._show(f"{number:,} places are read")
        nothing = _Tally()
        for last in sorted({*found, *self._places}):
            if not found.get(last, nothing).agrees(self._places.get(last, nothing)) and not self._is_hidden(last):
                self._fault(f"the block up to {self._position(last)}: its topics are found elsewhere, or others there")

    def _is_hidden(self, offset: int) -> bool:
        """Whether ``offset`` is where nothing can be read."""
        return any(hole.since < offset and (hole.until is None or offset <= hole.until) for hole in self._holes)

    def _check_keys(self) -> None:
        for first, body in self._rows("SELECT first, body FROM keys"):
            try:
                _decode_keys(body)
            except (DecodeError, TypeError):
                self._fault(f"the idempotency keys from {self._position(first)} on are damaged")

    def _check_records(self) -> None:
        for kind, name, body in self._rows("SELECT kind, name, body FROM records"):
            if not isinstance(body, bytes) or not body:
                self._fault(f"the {kind} {name!r} is damaged")

    def _where(self, block: Block) -> str:
        return f"the block after {self._position(block.after)} up to {self._position(block.last)}"

    def _position(self, offset: int) -> str:
        return f"{self._verdict.epoch}-{offset}"
