"""The file as its one writer knows it. Synchronous, and used by one thread at a time.

A commit adds one row to the tail. Once the tail is long it is laid down anew as a block that stays, in the very commit
that made it long. Each write is a handful of statements, however many messages it brings: see ``blocks.py`` for why.

The trap: a hand-over. A successor opens the file while this process has it open, and may give it back by ending. So
each transaction insists that the file still has this process's ``owner``; if not, what is known of the file is read
anew before anything is written.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field, json
from msgspec.msgpack import Encoder

from comet.kept import Entry
from comet.message import Message
from comet.store import schema
from comet.store.blocks import COLUMNS, Block, Run, by_topic, cut, loose
from comet.store.faults import Displaced, Gone
from comet.store.lock import Lock

TAIL_ROWS = 1_024
TAIL_MESSAGES = 4_096
TAIL_BYTES = 256 * 1024
"""How long the tail is when it becomes a block. Whoever reads has it from memory, so its rows cost little."""

BALLAST_BYTES = 256 * 1024
"""What must fit on the disk beside the messages before trouble is over."""

LOOK = 0.5
"""Seconds for which the file is taken to be where it was."""

RECORDS_AT_ONCE = 500

_encode = Encoder().encode

INSERT = f"INSERT INTO blocks ({COLUMNS}) SELECT ?, ?, ?, ?, ?, ? FROM log WHERE owner = ?"
TOPICS = """
    INSERT INTO topics (name, newest) SELECT json_extract(value, '$[0]'), :block FROM json_each(:runs) WHERE true
    ON CONFLICT (name) DO UPDATE SET newest = excluded.newest
"""
PLACES = """
    INSERT INTO places (era, topic, block, count, start, size)
    SELECT :era, topics.id, :block, json_extract(run.value, '$[1]'), json_extract(run.value, '$[2]'),
           json_extract(run.value, '$[3]')
    FROM json_each(:runs) AS run CROSS JOIN topics ON topics.name = json_extract(run.value, '$[0]')
"""


class Group(Struct):
    """What is to be kept in one transaction. ``records`` are bodies by kind and name; None for one to be forgotten."""

    messages: list[Message] = field(default_factory=list)
    keys: list[Entry] = field(default_factory=list)
    records: dict[tuple[str, str], bytes | None] = field(default_factory=dict)


class Tail(Struct):
    """The messages after the offset ``after``, which have no places yet. Whoever reads takes it from here: they are
    only ever added to it, and those that were are committed."""

    after: int
    messages: list[Message] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, messages: Sequence[Message], size: int) -> None:
        """Note another row."""
        self.messages += messages
        self.rows += 1
        self.size += size

    def is_long(self) -> bool:
        """Whether it is to become a block."""
        return self.rows >= TAIL_ROWS or len(self.messages) >= TAIL_MESSAGES or self.size >= TAIL_BYTES


class Disk:
    """The file at ``path``. See ``opening.py`` for how it comes to know what is in it."""

    def __init__(self, path: Path, durability: str) -> None:
        self.path = path
        self.durability = durability
        self.lock = Lock(path)
        self.owner = secrets.token_hex(8)
        self._connection: sqlite3.Connection | None = None
        self.epoch = ""
        self.last = 0
        """The newest offset of all."""
        self.newest = 0
        """That of the newest message that was kept."""
        self.trimmed = 0
        self.tail = Tail(0)
        self.unchecked = 0
        """About how many pages were written since the last checkpoint was begun."""
        self.has_ballast = False
        self._place: tuple[int, int] = (0, 0)
        self._looked = 0.0

    @property
    def connection(self) -> sqlite3.Connection:
        """The one that writes."""
        assert self._connection is not None, "the file is not open"
        return self._connection

    def connect(self) -> None:
        """Open the file for writing."""
        self._connection = schema.connect(self.path)
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if self.durability == 'fsync' else 'NORMAL'}")
        # Other connections bring what was written to its place; this one is waited for.
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute("PRAGMA journal_size_limit = 67108864")
        self.connection.execute("PRAGMA cache_size = -16384")
        self._place = self._find()

    def close(self) -> None:
        """Note that nothing is missing, unless another process has the file by now, and close."""
        try:
            self.connection.execute("UPDATE log SET clean = 1 WHERE owner = ?", (self.owner,))
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close the file as it is."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.lock.release()

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, group: Group, *, careful: bool = False) -> None:
        """Keep all of ``group`` or, if this raises, nothing. ``careful`` finds out whether there is room for more."""
        self.look(LOOK if not careful else 0)
        kept = [message for message in group.messages if message.topic[0] != "$"]
        last = group.messages[-1].offset if group.messages else self.last
        alone = not (group.keys or group.records or careful)
        if alone and kept and kept[-1].offset == last and not self._fills(kept):
            self._write_row(kept)
        else:
            self._write_all(group, kept, last, careful)
        self.last = max(self.last, last)
        if kept:
            self.newest = kept[-1].offset

    def merge(self) -> None:
        """Make a block of the tail although it is not long."""
        with self.transaction():
            tail = self._merge([])
            self._note(placed=tail.after)
        self.tail = tail

    def _fills(self, messages: Sequence[Message]) -> bool:
        tail = self.tail
        return (
            tail.rows + 1 >= TAIL_ROWS
            or len(tail.messages) + len(messages) >= TAIL_MESSAGES
            or tail.size + sum(len(message.payload) for message in messages) >= TAIL_BYTES
        )

    def _write_row(self, messages: Sequence[Message]) -> None:
        """The usual case, in one statement that is a transaction of its own."""
        block = loose(self.newest, messages)
        if not self._insert(block):
            raise Displaced
        self.tail.add(messages, len(block.body))

    def _write_all(self, group: Group, kept: list[Message], last: int, careful: bool) -> None:
        tail, block = None, None
        with self.transaction():
            if careful:
                self._load_ballast()
            if kept and self._fills(kept):
                tail = self._merge(kept)
            elif kept:
                block = loose(self.newest, kept)
                self._insert(block)
            self._write_keys(group.keys)
            self._write_records(group.records)
            self._note(last, self.tail.after if tail is None else tail.after)
        self.has_ballast |= careful
        if tail is not None:
            self.tail = tail
        elif block is not None:
            self.tail.add(kept, len(block.body))

    def _insert(self, block: Block) -> bool:
        self.unchecked += 1 + len(block.body) // 4096
        values = (block.last, block.after, block.time, block.count, block.checksum, block.body, self.owner)
        return self.connection.execute(INSERT, values).rowcount == 1

    def _merge(self, messages: list[Message]) -> Tail:
        """Lay down the tail and ``messages`` as blocks that stay; return the tail that there is then."""
        self.connection.execute("DELETE FROM blocks WHERE last > ?", (self.tail.after,))
        after = self.tail.after
        for piece in cut([*self.tail.messages, *messages]):
            block, runs = by_topic(after, piece)
            self._insert(block)
            self._place_runs(block, runs)
            after = block.last
        return Tail(after)

    def _place_runs(self, block: Block, runs: Sequence[Run]) -> None:
        values = {"era": block.last >> schema.ERA, "block": block.last, "runs": json.encode(runs).decode()}
        self.connection.execute(TOPICS, values)
        self.connection.execute(PLACES, values)
        self.unchecked += 3 + len(runs) // 16

    def _write_keys(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.connection.execute(
                "INSERT OR REPLACE INTO keys (first, time, body) VALUES (?, ?, ?)",
                (entries[0].offset, entries[-1].time, _encode(entries)),
            )
            self.unchecked += 1

    def _write_records(self, records: dict[tuple[str, str], bytes | None]) -> None:
        put = [(kind, name, body) for (kind, name), body in records.items() if body is not None]
        gone = [key for key, body in records.items() if body is None]
        for rows in _parts(put):
            self._execute_many("INSERT OR REPLACE INTO records (kind, name, body) VALUES {}", rows)
        for rows in _parts(gone):
            self._execute_many("DELETE FROM records WHERE (kind, name) IN (VALUES {})", rows)
        self.unchecked += len(records)

    def _execute_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """One step for all rows."""
        marks = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
        self.connection.execute(statement.format(marks), [value for row in rows for value in row])

    def _load_ballast(self) -> None:
        self.connection.execute("DELETE FROM ballast")
        self.connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (BALLAST_BYTES,))

    def _note(self, last: int = 0, placed: int = 0) -> None:
        values = (last, placed, self.owner)
        self.connection.execute("UPDATE log SET last = max(last, ?), placed = max(placed, ?) WHERE owner = ?", values)
        self.unchecked += 1

    # -- standing on firm ground ------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises :exc:`Displaced` if another process has written since."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self.is_owner():
                raise Displaced
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself may have ended it
                connection.execute("ROLLBACK")
            raise

    def is_owner(self) -> bool:
        """Whether what is known here of the file is true."""
        found: str = self.connection.execute("SELECT owner FROM log").fetchone()[0]
        return found == self.owner

    def look(self, patience: float) -> None:
        """Raise :exc:`Gone` if the file is not where it was opened. Not looked at again for ``patience`` seconds."""
        now = time.monotonic()
        if now - self._looked < patience:
            return
        try:
            place = self._find()
        except OSError:
            raise Gone from None
        if place != self._place:
            raise Gone
        self._looked = now

    def _find(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino


def _parts(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    for start in range(0, len(rows), RECORDS_AT_ONCE):
        yield rows[start : start + RECORDS_AT_ONCE]
