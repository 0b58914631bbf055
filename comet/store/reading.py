"""The read side of the file: pages of what was published, by pattern. Synchronous, and used by one thread.

Exact topics are found by ``places``, wildcards by going through the blocks. The tail, which has no places yet, is gone
through by everybody; it is short.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

from comet.kept import Piece
from comet.log import PAGE_BYTES
from comet.message import Message
from comet.store.blocks import Block
from comet.store.schema import connect
from comet.topics import Pattern

REMEMBERED = 16
"""Blocks that are kept decoded."""

LOOKED_AT = 16
"""Blocks that one call goes through for a wildcard."""

T = TypeVar("T")


class Reading:
    """Reads the file at ``path``, beside the one who writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, reading=True)
        self._decoded: OrderedDict[tuple[int, int], list[Message]] = OrderedDict()
        self._trimmed = 0
        self._merged = 0

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def checkpoint(self) -> None:
        """Bring what was written from the log of SQLite to its place in the file, as far as nobody is in the way."""
        with closing(connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        """See :class:`~comet.interfaces.Archive`."""
        return self._seen(lambda: self._read(patterns, after, until, limit))

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        """See :class:`~comet.interfaces.Archive`."""
        return self._seen(lambda: self._newest(patterns, after, until, limit))

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> int:
        """See :class:`~comet.interfaces.Archive`."""
        return self._seen(lambda: self._before_newest(patterns, until, count))

    def count(self, topic: str) -> int:
        """See :class:`~comet.interfaces.Archive`."""
        return self._seen(lambda: self._count(topic))

    def _seen(self, work: Callable[[], T]) -> T:
        """Do ``work`` on one state of the file."""
        self._connection.execute("BEGIN")
        try:
            known = dict(
                self._connection.execute("SELECT name, value FROM meta WHERE name IN ('trimmed', 'merged')").fetchall()
            )
            self._trimmed, self._merged = known.get("trimmed", 0), known.get("merged", 0)
            return work()
        finally:
            self._connection.execute("COMMIT")

    def _read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        found: list[Message] = []
        size = 0
        reached = after
        for looked, (first, last) in enumerate(self._blocks(patterns, after, until)):
            if looked >= LOOKED_AT:
                return Piece(found, max(reached, first - 1), self._trimmed)
            for message in wanted(self._between(first, last, after, until), patterns):
                if len(found) >= limit or size >= PAGE_BYTES:
                    return Piece(found, found[-1].offset, self._trimmed)
                found.append(message)
                size += len(message.payload)
            reached = min(last, until)
        return Piece(found, until, self._trimmed)

    def _newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Piece:
        newest: dict[str, Message] = {}
        tail = list(self._tail(0))
        for first, last in tail:
            for message in wanted(self._messages(first, last), patterns):
                newest[message.topic] = message
        found = [message for message in newest.values() if after < message.offset <= until]
        by_block: dict[int, set[str]] = {}
        for name, block in self._newest_places(patterns):
            if name not in newest:
                by_block.setdefault(block, set()).add(name)
        reached = until
        for block in sorted(by_block):
            row = self._connection.execute("SELECT last FROM blocks WHERE first = ?", (block,)).fetchone()
            if row is None or row[0] <= after or block > until:
                continue
            if len(found) > limit * 2:
                reached = block - 1
                break
            last_of: dict[str, Message] = {}
            for message in self._messages(block, row[0]):
                if message.topic in by_block[block]:
                    last_of[message.topic] = message
            found += [message for message in last_of.values() if after < message.offset <= until]
        found = sorted((message for message in found if message.offset <= reached), key=_by_offset)
        size = 0
        for number, message in enumerate(found):
            if number >= limit or size >= PAGE_BYTES:
                return Piece(found[:number], found[number - 1].offset, self._trimmed)
            size += len(message.payload)
        return Piece(found, reached, self._trimmed)

    def _before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> int:
        before = until
        left = count
        if not left:
            return until
        for first, last in self._blocks_back(patterns, until):
            matching = list(wanted(self._between(first, last, 0, until), patterns))
            if len(matching) >= left:
                return matching[-left].offset - 1
            if matching:
                left -= len(matching)
                before = matching[0].offset - 1
        return before

    def _count(self, topic: str) -> int:
        merged = self._connection.execute(
            "SELECT coalesce(sum(count), 0) FROM places WHERE topic = (SELECT id FROM names WHERE name = ?)", (topic,)
        ).fetchone()[0]
        tail = sum(m.topic == topic for block in self._tail(0) for m in self._messages(*block))
        return int(merged) + tail

    # -- where to look ----------------------------------------------------------------------------------------------

    def _blocks(self, patterns: Sequence[Pattern], after: int, until: int) -> Iterator[tuple[int, int]]:
        """Yield first and last of the blocks that may have messages of ``patterns`` after ``after``."""
        merged = self._placed if all(pattern.exact for pattern in patterns) else self._all
        yield from merged(patterns, after, until)
        yield from (block for block in self._tail(after) if block[0] <= until)

    def _placed(self, patterns: Sequence[Pattern], after: int, until: int) -> Iterator[tuple[int, int]]:
        firsts = self._connection.execute(
            "SELECT first, last FROM blocks WHERE first IN (SELECT block FROM places JOIN names ON topic = id "
            f"WHERE name IN ({_marks(patterns)}) AND block > ? AND block <= ?) AND last > ? ORDER BY first LIMIT ?",
            (*_texts(patterns), self._holding(after), until, after, LOOKED_AT + 1),
        )
        yield from firsts.fetchall()

    def _holding(self, offset: int) -> int:
        """One less than the first of the block that has ``offset``."""
        row = self._connection.execute("SELECT max(first) FROM blocks WHERE first <= ?", (offset + 1,)).fetchone()
        return (row[0] or 1) - 1

    def _all(self, _: Sequence[Pattern], after: int, until: int) -> Iterator[tuple[int, int]]:
        yield from self._connection.execute(
            "SELECT first, last FROM blocks WHERE first > ? AND last > ? AND first <= ? AND first <= ? "
            "ORDER BY first LIMIT ?",
            (self._holding(after), after, until, self._merged, LOOKED_AT + 1),
        ).fetchall()

    def _tail(self, after: int) -> Iterator[tuple[int, int]]:
        yield from self._connection.execute(
            "SELECT first, last FROM blocks WHERE first > ? AND last > ? ORDER BY first", (self._merged, after)
        ).fetchall()

    def _blocks_back(self, patterns: Sequence[Pattern], until: int) -> Iterator[tuple[int, int]]:
        yield from reversed([block for block in self._tail(0) if block[0] <= until])
        upper = min(until, self._merged) + 1
        exact = all(pattern.exact for pattern in patterns)
        among = (
            "AND first IN (SELECT block FROM places JOIN names ON topic = id "
            f"WHERE name IN ({_marks(patterns)}) AND block < ?)"
        )
        while True:
            rows = self._connection.execute(
                f"SELECT first, last FROM blocks WHERE first < ? {among if exact else ''} ORDER BY first DESC LIMIT 64",
                (upper, *_texts(patterns), upper) if exact else (upper,),
            ).fetchall()
            if not rows:
                return
            yield from rows
            upper = rows[-1][0]

    def _newest_places(self, patterns: Sequence[Pattern]) -> Iterator[tuple[str, int]]:
        exact = all(pattern.exact for pattern in patterns)
        where = f"WHERE name IN ({_marks(patterns)})" if exact else ""
        rows = self._connection.execute(
            f"SELECT name, (SELECT max(block) FROM places WHERE topic = id) FROM names {where}",
            _texts(patterns) if exact else (),
        )
        for name, block in rows.fetchall():
            if block is not None and any(pattern.matches(name) for pattern in patterns):
                yield name, block

    def _between(self, first: int, last: int, after: int, until: int) -> Iterator[Message]:
        """What is in the block that begins with ``first``, after ``after`` and up to ``until``."""
        messages = self._messages(first, last)
        begin = bisect_right(messages, after, key=_by_offset) if after >= first else 0
        end = bisect_right(messages, until, key=_by_offset) if until < last else len(messages)
        return islice(messages, begin, end)

    def _messages(self, first: int, last: int) -> list[Message]:
        """What is in the block that begins with ``first``."""
        key = first, last
        found = self._decoded.get(key)
        if found is None:
            row = self._connection.execute("SELECT * FROM blocks WHERE first = ?", (first,)).fetchone()
            found = Block(*row).messages()
            self._decoded[key] = found
            if len(self._decoded) > REMEMBERED:
                self._decoded.popitem(last=False)
        else:
            self._decoded.move_to_end(key)
        return found


def wanted(messages: Iterable[Message], patterns: Sequence[Pattern]) -> Iterator[Message]:
    """Yield those of ``messages`` that ``patterns`` match, looking at each topic once."""
    known: dict[str, bool] = {}
    for message in messages:
        topic = message.topic
        match = known.get(topic)
        if match is None:
            match = known[topic] = any(pattern.matches(topic) for pattern in patterns)
        if match:
            yield message


def _by_offset(message: Message) -> int:
    return message.offset


def _marks(patterns: Sequence[Pattern]) -> str:
    return ", ".join("?" * len(patterns))


def _texts(patterns: Sequence[Pattern]) -> list[str]:
    return [pattern.text for pattern in patterns]
