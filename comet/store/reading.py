"""The read side of the file: what was published, by pattern. Synchronous, and used by one thread.

Exact topics are found by their places. Wildcards go from block to block, and where a block has nothing for them ask for
the next that has. What was read of a block is kept for the next page of the same reader, or of another who reads the
same. The tail is read from the writer's memory: it is taken before the file is looked at, so that nothing which becomes
a block in between is missed.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from comet.kept import Piece
from comet.log import MESSAGE_BYTES, PAGE_BYTES
from comet.message import Message
from comet.store import schema
from comet.store.blocks import COLUMNS, Block, Damaged, in_order, offset_of
from comet.store.disk import Disk, Tail
from comet.store.wanted import Wanted, is_any, matching, of_ids, wanted
from comet.topics import Pattern

BLOCKS = 16
"""The most blocks that one read looks into."""

BLOCKS_OF_WILDCARDS = 4

PLACES = 64
"""Places that are looked up at once, and one more for each pattern: those of one block come together."""

REMEMBERED = 64
REMEMBERED_BYTES = 16 * 1024 * 1024
"""How much of what was read is kept, in pieces and in bytes."""

# The first era, from :first on to :final, in which one of the topics has a place that lies {beyond} :bound.
NEAREST_ERA = """
    WITH RECURSIVE
        wanted (id) AS MATERIALIZED (SELECT id FROM topics WHERE {condition}),
        eras (era) AS (SELECT :first UNION ALL SELECT era + {step} FROM eras WHERE era <> :final)
    SELECT era FROM eras WHERE EXISTS (
        SELECT 1 FROM wanted CROSS JOIN places
        ON places.era = eras.era AND places.topic = wanted.id AND places.block {beyond} :bound)
    LIMIT 1
"""
OF_ERA = """
    SELECT json_group_array(json_array(block, start, size)) FROM (
        SELECT block, start, size FROM places
        WHERE era = :era AND block > :bound AND topic IN (SELECT id FROM topics WHERE {condition})
        ORDER BY block LIMIT :most)
"""
COUNTS_OF_ERA = """
    SELECT json_group_array(json_array(block, number)) FROM (
        SELECT block, sum(count) AS number FROM places
        WHERE era = :era AND block <= :bound AND topic IN (SELECT id FROM topics WHERE {condition})
        GROUP BY block ORDER BY block DESC)
"""
COUNT = """
    WITH RECURSIVE eras (era) AS (SELECT :first UNION ALL SELECT era + 1 FROM eras WHERE era <> :final)
    SELECT coalesce(sum(count), 0) FROM eras CROSS JOIN places USING (era)
    WHERE topic = (SELECT id FROM topics WHERE name = :name)
"""
NEWEST = "SELECT newest FROM topics WHERE newest > :bound AND ({condition}) ORDER BY newest LIMIT 1"
OF_NEWEST = """
    SELECT json_group_array(json_array(start, size))
    FROM topics JOIN places ON era = :era AND topic = id AND block = newest WHERE newest = :block AND ({condition})
"""


class Stretch(NamedTuple):
    """All messages of some patterns after ``after`` and up to ``reached``."""

    after: int
    reached: int
    messages: list[Message]
    size: int = 0
    """About how much memory it takes."""


class View(NamedTuple):
    """One state of the file, and what was in the tail when it was seen."""

    trimmed: int
    placed: int
    tail: list[Message]

    @classmethod
    def of(cls, trimmed: int, placed: int, tail: Tail) -> View:
        """Return the state; what is in a block by now is not in the tail."""
        messages = tail.messages[:]
        return cls(trimmed, placed, messages[bisect_right(messages, placed, key=offset_of) :])


class Reading:
    """Reads the file of ``disk`` beside the one who writes it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._connection: sqlite3.Connection
        self._view: View
        self._remembered: OrderedDict[tuple[tuple[Pattern, ...], int], Stretch] = OrderedDict()
        self._remembered_bytes = 0

    def connect(self, path: Path) -> None:
        """Open the file."""
        self._connection = schema.connect(path)
        self._connection.execute("PRAGMA query_only = 1")

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        """See :class:`~comet.interfaces.Archive`."""
        trimmed = self._disk.trimmed
        stretch = self._known(tuple(patterns), after) if after >= trimmed else None
        if stretch is None:
            with self._seen() as view:
                trimmed = view.trimmed
                stretch = self._stretch(patterns, max(after, trimmed), limit) or Stretch(
                    after, until, list(matching(view.tail, patterns))
                )
        messages, reached = stretch.messages, min(stretch.reached, until)
        first = bisect_right(messages, after, key=offset_of)
        return _cut(messages[first : bisect_right(messages, reached, key=offset_of)], limit, reached, trimmed)

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        """See :class:`~comet.interfaces.Archive`."""
        with self._seen() as view:
            in_tail = {message.topic: message for message in matching(view.tail, patterns)}
            found, reached = self._newest_placed(patterns, after, until, limit)
            found = [message for message in found if message.topic not in in_tail]
            if reached >= view.placed:
                found += in_tail.values()
                reached = until
            reached = min(reached, until)
            found = sorted((message for message in found if after < message.offset <= reached), key=offset_of)
            return _cut(found, limit, reached, view.trimmed)

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> int:
        """See :class:`~comet.interfaces.Archive`."""
        if not count:
            return until
        with self._seen() as view:
            tail = [message for message in matching(view.tail, patterns) if message.offset <= until]
            if len(tail) >= count:
                return tail[-count].offset - 1
            before = self._before_placed(patterns, until, count - len(tail))
            return before if before is not None else tail[0].offset - 1 if tail else until

    def count(self, topic: str) -> int:
        """See :class:`~comet.interfaces.Archive`."""
        with self._seen() as view:
            values = {"first": view.trimmed >> schema.ERA, "final": view.placed >> schema.ERA, "name": topic}
            placed: int = self._connection.execute(COUNT, values).fetchone()[0]
            return placed + sum(message.topic == topic for message in view.tail)

    # -- forward ----------------------------------------------------------------------------------------------------

    def _stretch(self, patterns: Sequence[Pattern], after: int, limit: int) -> Stretch | None:
        """What comes after ``after``: a page of ``limit`` messages or more, unless that is many blocks away. None if
        there is no block any more."""
        blocks = self._exact(patterns, after) if all(each.exact for each in patterns) else self._wild(patterns, after)
        found: list[Message] = []
        reached, size = after, 0
        for last, messages in _up_to_damage(blocks):
            found += messages
            reached = last
            size += sum(len(message.payload) for message in messages)
            if len(found) > limit or size >= PAGE_BYTES:
                break
        if reached == after:
            return None
        stretch = Stretch(after, reached, found, size + MESSAGE_BYTES * (1 + len(found)))
        self._remember(tuple(patterns), stretch)
        return stretch

    def _exact(self, patterns: Sequence[Pattern], after: int) -> Iterator[tuple[int, list[Message]]]:
        """Yield the last offset of each block that has messages of exact patterns, and these messages."""
        want = wanted(patterns)
        era = self._nearest_era(want, after, after >> schema.ERA)
        if era is None:
            if after < self._view.placed:
                yield self._view.placed, []
            return
        most = PLACES + len(patterns)
        rows = self._rows(OF_ERA, want, era=era, bound=after, most=most)
        blocks = list(dict.fromkeys(block for block, _, _ in rows))
        if len(rows) == most:
            blocks.pop()  # of which there may be more
        for number in blocks[:BLOCKS]:
            runs = self._runs(number, [(start, size) for block, start, size in rows if block == number])
            if not all(is_any(patterns, run[0].topic) for run in runs):
                raise Damaged(f"the places of the messages up to {number} are damaged")
            yield number, runs[0] if len(runs) == 1 else in_order(runs)

    def _wild(self, patterns: Sequence[Pattern], after: int) -> Iterator[tuple[int, list[Message]]]:
        """Yield the same of any patterns."""
        for _ in range(BLOCKS_OF_WILDCARDS):
            block = self._block_after(after)
            if block is None:
                return
            runs = [run for run in block.runs() if is_any(patterns, run[0].topic)]
            yield block.last, runs[0] if len(runs) == 1 else in_order(runs)
            after = block.last if runs else self._before_next(patterns, block.last)
            if after > block.last:
                yield after, []

    def _block_after(self, after: int) -> Block | None:
        """The block that follows ``after``."""
        if after >= self._view.placed:
            return None
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM blocks WHERE last > ? ORDER BY last LIMIT 1", (after,)
        ).fetchone()
        if row is None or row[1] > after:
            raise Damaged(f"messages after {after} are missing")
        return Block(*row)

    def _before_next(self, patterns: Sequence[Pattern], after: int) -> int:
        """Where the block before the next begins that may have messages of ``patterns``."""
        want = wanted(patterns)
        era = self._nearest_era(want, after, after >> schema.ERA)
        if era is None:
            return self._view.placed
        block = self._rows(OF_ERA, want, era=era, bound=after, most=1)[0][0]
        row = self._connection.execute("SELECT after FROM blocks WHERE last = ?", (block,)).fetchone()
        if row is None:
            raise Damaged(f"the messages up to {block} are missing")
        return int(row[0])

    # -- backward and newest ----------------------------------------------------------------------------------------

    def _newest_placed(
        self, patterns: Sequence[Pattern], after: int, until: int, limit: int
    ) -> tuple[list[Message], int]:
        """The newest messages of topics in blocks, in no order, and up to where these are all."""
        want = wanted(patterns)
        found: list[Message] = []
        reached = max(after, self._view.trimmed)
        for _ in range(BLOCKS):
            row = self._execute(NEWEST, want, bound=reached).fetchone()
            if row is None:
                return found, self._view.placed
            block = row[0]
            runs = self._rows(OF_NEWEST, want, era=block >> schema.ERA, block=block)
            found += (run[-1] for run in self._runs(block, runs) if is_any(patterns, run[-1].topic))
            reached = block
            if len(found) > limit or reached >= until:
                break
        return found, reached

    def _before_placed(self, patterns: Sequence[Pattern], until: int, count: int) -> int | None:
        """The offset after which ``count`` messages follow in blocks up to ``until``, or all; None if there is none."""
        want = self._strict(patterns)
        row = self._connection.execute("SELECT last FROM blocks WHERE last >= ? LIMIT 1", (until,)).fetchone()
        bound = min(self._view.placed, row[0] if row else until)
        oldest = None
        for block, number in self._back(want, bound):
            if block <= until and number < count:
                count, oldest = count - number, block
                continue
            messages = [each for each in self._of_block(block, patterns) if each.offset <= until]
            if len(messages) >= count:
                return messages[-count].offset - 1
            if messages:
                count, oldest = count - len(messages), block
        if oldest is None:
            return None
        messages = self._of_block(oldest, patterns)
        if not messages:
            raise Damaged(f"the places of the messages up to {oldest} are damaged")
        return messages[0].offset - 1

    def _back(self, want: Wanted, bound: int) -> Iterator[list[int]]:
        """Yield the blocks up to ``bound`` that have messages that are wanted, the newest first, and how many."""
        final = self._view.trimmed >> schema.ERA
        first = bound >> schema.ERA
        while first >= final:
            era = self._nearest_era(want, bound, first, final)
            if era is None:
                return
            yield from self._rows(COUNTS_OF_ERA, want, era=era, bound=bound)
            first = era - 1

    def _strict(self, patterns: Sequence[Pattern]) -> Wanted:
        """What selects the topics of ``patterns`` and no others."""
        want = wanted(patterns)
        if want.strict:
            return want
        found = self._rows("SELECT json_group_array(json_array(id, name)) FROM topics WHERE {condition}", want)
        return of_ids([number for number, name in found if is_any(patterns, name)])

    # -- pieces -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _seen(self) -> Iterator[View]:
        """See one state of the file."""
        tail = self._disk.tail
        self._connection.execute("BEGIN")
        try:
            trimmed, placed = self._connection.execute("SELECT trimmed, placed FROM log").fetchone()
            self._view = View.of(trimmed, placed, tail)
            yield self._view
        finally:
            self._connection.execute("ROLLBACK")

    def _nearest_era(self, want: Wanted, bound: int, first: int, final: int | None = None) -> int | None:
        """The first era from ``first`` on that has places after ``bound``; with ``final`` that from ``first`` back to
        ``final`` that has places up to ``bound``."""
        step, beyond = ("+ 1", ">") if final is None else ("- 1", "<=")
        if final is None:
            final = max(first, self._view.placed >> schema.ERA)
        statement = NEAREST_ERA.replace("{step}", step).replace("{beyond}", beyond)
        row = self._execute(statement, want, first=first, final=final, bound=bound).fetchone()
        return None if row is None else int(row[0])

    def _rows(self, statement: str, want: Wanted, **values: object) -> list[list[Any]]:
        found: list[list[Any]] = json.loads(self._execute(statement, want, **values).fetchone()[0])
        return found

    def _execute(self, statement: str, want: Wanted, **values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement.replace("{condition}", want.condition), want.values | values)

    def _of_block(self, last: int, patterns: Sequence[Pattern]) -> list[Message]:
        return in_order(run for run in self._block(last).runs() if is_any(patterns, run[0].topic))

    def _runs(self, last: int, places: Sequence[Sequence[int]]) -> list[list[Message]]:
        """The runs of a block at these places: where each starts, and its size."""
        block = self._block(last)
        block.check()
        return [block.run(start, size) for start, size in places]

    def _block(self, last: int) -> Block:
        row = self._connection.execute(f"SELECT {COLUMNS} FROM blocks WHERE last = ?", (last,)).fetchone()
        if row is None:
            raise Damaged(f"the messages up to {last} are missing")
        return Block(*row)

    # -- what was read before ---------------------------------------------------------------------------------------

    def _known(self, patterns: tuple[Pattern, ...], after: int) -> Stretch | None:
        for key, stretch in reversed(self._remembered.items()):
            if stretch.after <= after < stretch.reached and key[0] == patterns:
                self._remembered.move_to_end(key)
                return stretch
        return None

    def _remember(self, patterns: tuple[Pattern, ...], stretch: Stretch) -> None:
        key = patterns, stretch.reached
        old = self._remembered.pop(key, None)
        self._remembered_bytes += stretch.size - (old.size if old is not None else 0)
        self._remembered[key] = stretch
        while len(self._remembered) > REMEMBERED or self._remembered_bytes > REMEMBERED_BYTES:
            _, gone = self._remembered.popitem(last=False)
            self._remembered_bytes -= gone.size


def _up_to_damage(blocks: Iterator[tuple[int, list[Message]]]) -> Iterator[tuple[int, list[Message]]]:
    """Yield ``blocks``; what is damaged after others is left to the next read, which begins with it."""
    first = True
    try:
        for each in blocks:
            yield each
            first = False
    except Damaged:
        if first:
            raise


def _cut(messages: list[Message], limit: int, reached: int, trimmed: int) -> Piece:
    """The first ``limit`` of ``messages`` and about a page's bytes, which are complete up to ``reached`` if all fit."""
    size = 0
    for number, message in enumerate(messages):
        if number == limit or size >= PAGE_BYTES:
            return Piece(messages[:number], messages[number - 1].offset, trimmed)
        size += len(message.payload)
    return Piece(messages, reached, trimmed)
