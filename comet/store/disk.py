"""The write side of the file. Synchronous, and used by one thread.

Each group of appends is one transaction and one row, the *tail*; once the tail is long enough it is put together into
one block, whose topics are then to be found by ``places``.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder

from comet.kept import Entry, Kept, Past, Record
from comet.message import Message
from comet.store.blocks import Block, counts
from comet.store.schema import connect, prepare

TAIL_ROWS = 256
TAIL_MESSAGES = 4_096
TAIL_BYTES = 256 * 1024
"""How long the tail may become."""

LOADED = 100_000
"""The most messages that are brought to memory at the start."""

STEP = 16
"""Blocks that one step of trimming takes."""

BOOT = Path("/proc/sys/kernel/random/boot_id")

_encode = Encoder().encode
_decode_keys = Decoder(list[Entry]).decode


class Group(Struct):
    """What is to be kept in one transaction."""

    messages: list[Message] = field(default_factory=list)
    keys: list[Entry] = field(default_factory=list)
    records: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    """Kind, name, body; None to forget it."""

    def is_empty(self) -> bool:
        return not (self.messages or self.keys or self.records)


class Disk:
    """The file at ``path``, open for writing once :meth:`open` has given what is in it."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.path = path
        self._fsync = fsync
        self._connection: sqlite3.Connection
        self._owner = secrets.token_hex(8)
        self.epoch = ""
        self.trimmed = 0
        self.bytes = 0
        self._merged = 0
        self._tail: list[Message] = []
        self._tail_rows = self._tail_bytes = 0
        self._tail_time = 0.0
        self._tail_first = 0
        self._end = 0

    # -- its life ---------------------------------------------------------------------------------------------------

    def open(self, *, retain_bytes: int, keys_since: float) -> tuple[Kept, bool]:
        """Return what is kept, as far as memory wants it, and whether a new epoch had to be drawn."""
        connection = self._connection = connect(self.path)
        prepare(connection, self.path)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
        renewed = self._begin_life()
        self._read_places()
        messages = self._newest(retain_bytes)
        first = messages[0].offset - 1 if messages else self._end
        newest = connection.execute("SELECT max(time) FROM blocks WHERE last = ?", (self._end,)).fetchone()[0]
        past = Past(self.epoch, self._end, self._end + 1, newest or 0.0, first, {})
        rows = connection.execute("SELECT body FROM keys WHERE time >= ? ORDER BY first", (keys_since,)).fetchall()
        keys = [entry for (body,) in rows for entry in _decode_keys(body)]
        records = [Record(*row) for row in connection.execute("SELECT kind, name, body FROM records").fetchall()]
        return Kept(past, messages, keys, records), renewed

    def close(self) -> None:
        """Note that nothing is missing, and close."""
        self._connection.execute(
            "UPDATE meta SET value = 1 WHERE name = 'clean' AND (SELECT value FROM meta WHERE name = 'owner') = ?",
            (self._owner,),
        )
        self._connection.close()

    def _begin_life(self) -> bool:
        """Take the file over; draw a new epoch if messages that were acknowledged may be gone from it."""
        try:
            boot = BOOT.read_text().strip()
        except OSError:
            boot = ""
        known = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        unsafe = not known.get("clean", 1) and known.get("boot") != boot and known.get("durability") != "fsync"
        self.epoch = secrets.token_hex(4) if unsafe or "epoch" not in known else known["epoch"]
        self.trimmed = known.get("trimmed", 0)
        self._merged = known.get("merged", 0)
        self._connection.execute(
            "INSERT OR REPLACE INTO meta SELECT key, value FROM json_each(?)",
            (
                json.dumps(
                    {
                        "epoch": self.epoch,
                        "boot": boot,
                        "clean": 0,
                        "owner": self._owner,
                        "durability": "fsync" if self._fsync else "commit",
                    }
                ),
            ),
        )
        return unsafe and "epoch" in known

    def _read_places(self) -> None:
        connection = self._connection
        self._end = connection.execute("SELECT coalesce(max(last), 0) FROM blocks").fetchone()[0]
        self._end = max(self._end, self.trimmed)
        self.bytes = connection.execute("SELECT coalesce(sum(bytes), 0) FROM blocks").fetchone()[0]
        rows = connection.execute("SELECT * FROM blocks WHERE first > ? ORDER BY first", (self._merged,)).fetchall()
        for row in rows:
            block = Block(*row)
            self._note_tail(block, block.messages())

    def _newest(self, retain_bytes: int) -> list[Message]:
        """The newest messages, as many as memory takes at the start."""
        found: list[list[Message]] = []
        count = size = 0
        first = self._end + 1
        while count < LOADED and size < retain_bytes:
            row = self._connection.execute(
                "SELECT * FROM blocks WHERE first < ? ORDER BY first DESC LIMIT 1", (first,)
            ).fetchone()
            if row is None:
                break
            block = Block(*row)
            first = block.first
            found.append(block.messages())
            count += block.count
            size += block.size
        return [message for messages in reversed(found) for message in messages]

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, group: Group) -> None:
        """Keep all of ``group`` or, if this raises, nothing."""
        connection = self._connection
        block = self._block(group.messages)
        alone = block is not None and not group.keys and not group.records and not self._is_long(block)
        if alone:
            assert block is not None
            self._insert(block)
        else:
            merged = self._merged
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(group, block)
                connection.execute("COMMIT")
            except BaseException:
                self._merged = merged
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        if block is not None:
            self._end = block.last
            self.bytes += block.size
            if self._merged >= block.first:
                self._tail.clear()
                self._tail_rows = self._tail_bytes = self._tail_first = 0
            else:
                self._note_tail(block, [m for m in group.messages if m.topic[0] != "$"])

    def probe(self) -> None:
        """Find out whether anything can be written."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(2000)))")

    def _write(self, group: Group, block: Block | None) -> None:
        if block is not None:
            if self._is_long(block):
                self._merge(block, group.messages)
            else:
                self._insert(block)
        if group.keys:
            self._connection.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?)",
                (group.keys[0].offset, group.keys[-1].time, _encode(group.keys)),
            )
        for kind, name, body in group.records:
            if body is None:
                self._connection.execute("DELETE FROM records WHERE kind = ? AND name = ?", (kind, name))
            else:
                self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (kind, name, body))

    def _block(self, messages: Sequence[Message]) -> Block | None:
        if not messages:
            return None
        kept = [message for message in messages if message.topic[0] != "$"]
        return Block.of(messages[0].offset, messages[-1].offset, messages[-1].time, kept)

    def _insert(self, block: Block) -> None:
        self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)", block.row())

    def _is_long(self, block: Block) -> bool:
        return (
            self._tail_rows + 1 >= TAIL_ROWS
            or len(self._tail) + block.count >= TAIL_MESSAGES
            or self._tail_bytes + block.size >= TAIL_BYTES
        )

    def _merge(self, block: Block, messages: Sequence[Message]) -> None:
        kept = [*self._tail, *(message for message in messages if message.topic[0] != "$")]
        first = self._tail_first or block.first
        whole = Block.of(first, block.last, block.time, kept)
        if self._tail_rows:
            self._connection.execute("DELETE FROM blocks WHERE first >= ?", (first,))
        self._insert(whole)
        if kept:
            topics = json.dumps(counts(kept))
            self._connection.execute("INSERT OR IGNORE INTO names (name) SELECT key FROM json_each(?)", (topics,))
            self._connection.execute(
                "INSERT INTO places SELECT id, ?, found.value FROM (SELECT key, value FROM json_each(?)) AS found "
                "JOIN names ON name = found.key",
                (first, topics),
            )
        self._merged = block.last
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('merged', ?)", (block.last,))

    def _note_tail(self, block: Block, messages: Sequence[Message]) -> None:
        self._tail_first = self._tail_first or block.first
        self._tail += messages
        self._tail_rows += 1
        self._tail_bytes += block.size

    # -- trimming ---------------------------------------------------------------------------------------------------

    def trim(self, before: float, most_bytes: int, keys_before: float) -> bool:
        """Let go of a few blocks that are older than ``before``, or with which there are more than ``most_bytes``.
        Returns whether there may be more to do."""
        connection = self._connection
        oldest = connection.execute(
            "SELECT first, last, time, bytes FROM blocks ORDER BY first LIMIT ?", (STEP,)
        ).fetchall()
        surplus = self.bytes - most_bytes
        gone = []
        for first, last, time, size in oldest:
            if (time >= before and surplus <= 0) or last > self._merged:
                break
            gone.append((first, last, size))
            surplus -= size
        if gone:
            self._let_go(gone)
        connection.execute(
            "DELETE FROM keys WHERE first IN (SELECT first FROM keys ORDER BY first LIMIT 64) AND time < ?",
            (keys_before,),
        )
        return len(gone) == STEP

    def _let_go(self, gone: Sequence[tuple[int, int, int]]) -> None:
        connection = self._connection
        last = gone[-1][1]
        topics: set[str] = set()
        for first, _, _ in gone:
            row = connection.execute("SELECT * FROM blocks WHERE first = ?", (first,)).fetchone()
            topics |= {message.topic for message in Block(*row).messages()}
        connection.execute("BEGIN IMMEDIATE")
        try:
            names = json.dumps(sorted(topics))
            firsts = json.dumps([first for first, _, _ in gone])
            ids = "SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?))"
            connection.execute(
                f"DELETE FROM places WHERE topic IN ({ids}) AND block IN (SELECT value FROM json_each(?))",
                (names, firsts),
            )
            connection.execute(
                f"DELETE FROM names WHERE id IN ({ids}) AND id NOT IN (SELECT topic FROM places WHERE topic = id)",
                (names,),
            )
            connection.execute("DELETE FROM blocks WHERE first <= ?", (gone[-1][0],))
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('trimmed', ?)", (last,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.trimmed = last
        self.bytes -= sum(size for _, _, size in gone)
        connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
