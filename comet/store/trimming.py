"""What is kept is kept for a while: the oldest blocks and keys go, a few at a time, between the commits.

The trap is a long pause: a million messages are not deleted in one transaction, nor is the file made smaller in one.
Pages that are free are written to again; only a lot of them is given back to the disk, when nobody waits.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from comet.store import schema
from comet.store.disk import Disk

BLOCKS_AT_ONCE = 16
MESSAGES_AT_ONCE = 8_192
KEYS_AT_ONCE = 256
PAGES_AT_ONCE = 64

LONGEST = 3_600.0
"""Seconds that messages wait in the tail at most, so that they can go when their time has come."""

SPARE_BYTES = 16 * 1024 * 1024
"""Free pages that are not worth giving back."""

OLDEST = f"""
    SELECT json_group_array(json_array(last, time, count, length(body)))
    FROM (SELECT * FROM blocks WHERE last <= ? ORDER BY last LIMIT {BLOCKS_AT_ONCE})
"""
KEYS = f"DELETE FROM keys WHERE time < ? AND first IN (SELECT first FROM keys ORDER BY first LIMIT {KEYS_AT_ONCE})"


class Limits(NamedTuple):
    """What is to be kept: messages for ``seconds``, up to ``bytes``; keys for ``key_seconds``."""

    seconds: float
    bytes: int
    key_seconds: float


class Trimming:
    """Keeps the file of ``disk`` within ``limits``. ``bytes`` are those in use, ``oldest`` is the time of the oldest
    block, or 0."""

    def __init__(self, disk: Disk, limits: Limits) -> None:
        self._disk = disk
        self.limits = limits
        self.bytes = 0
        self.oldest = 0.0

    def step(self, now: float, *, idle: bool) -> bool:
        """Do a little of what is due at ``now``; return whether there is more. ``idle`` if nobody waits for a commit.
        Raises sqlite3.Error."""
        disk = self._disk
        if not disk.is_owner():
            return False
        pages, free, size = (
            schema.pragma(disk.connection, name) for name in ("page_count", "freelist_count", "page_size")
        )
        self.bytes = (pages - free) * size
        if disk.has_ballast:
            self._drop_ballast()
        self._merge_old(now)
        more = self._trim(now - self.limits.seconds, self.bytes - self.limits.bytes)
        more |= self._expire_keys(now - self.limits.key_seconds)
        if idle and not more and free * size > max(SPARE_BYTES, pages * size // 4):
            disk.connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
            disk.unchecked += PAGES_AT_ONCE
            more = True
        return more

    def _drop_ballast(self) -> None:
        with self._disk.transaction():
            self._disk.connection.execute("DELETE FROM ballast")
        self._disk.has_ballast = False

    def _merge_old(self, now: float) -> None:
        tail = self._disk.tail
        if tail.messages and now - tail.messages[0].time > min(LONGEST, self.limits.seconds / 8):
            self._disk.merge()

    def _trim(self, before: float, surplus: int) -> bool:
        """Let go of the oldest blocks, of those from ``before`` and of ``surplus`` bytes."""
        disk = self._disk
        rows = json.loads(disk.connection.execute(OLDEST, (disk.tail.after,)).fetchone()[0])
        self.oldest = rows[0][1] if rows else disk.tail.messages[0].time if disk.tail.messages else 0.0
        gone, count = 0, 0
        for last, time, messages, size in rows:
            if (time > before and surplus <= 0) or count + messages > MESSAGES_AT_ONCE:
                break
            gone, count = last, count + messages
            surplus -= size
        if gone:
            self._delete(gone)
            self.oldest = next((row[1] for row in rows if row[0] > gone), self.oldest)
        return bool(gone)

    def _delete(self, last: int) -> None:
        disk, values = self._disk, {"last": last, "era": last >> schema.ERA}
        with disk.transaction():
            disk.connection.execute("UPDATE log SET trimmed = :last", values)
            disk.connection.execute("DELETE FROM blocks WHERE last <= :last", values)
            disk.connection.execute("DELETE FROM topics WHERE newest <= :last", values)
            changes = disk.connection.execute(
                "DELETE FROM places WHERE era <= :era AND block <= :last", values
            ).rowcount
        disk.trimmed = last
        disk.unchecked += 8 + changes // 64

    def _expire_keys(self, before: float) -> bool:
        changes = self._disk.connection.execute(KEYS, (before,)).rowcount
        self._disk.unchecked += changes // 16
        return changes == KEYS_AT_ONCE
