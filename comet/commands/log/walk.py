"""From block to block through a log that may be damaged, and may be written meanwhile.

Each block says where the one before it ends, so what is missing is noticed. The traps: rows become one block while
they are read, so it is asked for what follows an offset, and never for the next row; and a damaged page hides others,
so where SQLite does not get further, the pages themselves are looked at (``scan.py``).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import NamedTuple

from comet.commands.log.file import LogFile
from comet.errors import StoreFailed
from comet.message import Message
from comet.store.blocks import COLUMNS, Block

LARGEST = 10**18
"""Above every offset that a position can have."""

TRIMMED = "they were trimmed, as the retention says"
MISSING = "the file is damaged, and does not have them"

FOLLOWING = f"SELECT {COLUMNS} FROM blocks WHERE last > ? ORDER BY last LIMIT 1"


class Part(NamedTuple):
    """The messages of a block, or those of them that are wanted."""

    messages: list[Message]
    block: Block


class Hole(NamedTuple):
    """Messages after ``since``, up to and including ``until``, are gone or cannot be read: ``why``. ``until`` is None
    if nobody knows where they end."""

    since: int
    until: int | None
    why: str
    damage: bool = True


def walk(file: LogFile, after: int) -> Iterator[Part | Hole]:
    """Yield everything after ``after`` that can be read, and what cannot, in order."""
    reached = after
    while True:
        placed = file.offset("placed")
        found, is_hidden = _following(file, reached)
        trimmed = min(file.offset("trimmed"), LARGEST if found is None else found.after)
        if trimmed > reached:
            yield Hole(reached, trimmed, TRIMMED, damage=False)
            reached = trimmed
        if found is None:
            if is_hidden or placed > reached:
                yield Hole(reached, None if is_hidden else placed, MISSING)
            return
        if found.after > reached:
            yield Hole(reached, found.after, MISSING)
            reached = found.after
        yield _part(found, reached) or Hole(reached, found.last, "their block is damaged")
        reached = found.last


def _part(block: Block, reached: int) -> Part | None:
    """What is in ``block`` after ``reached``; None if it is damaged."""
    try:
        return Part([message for message in block.messages() if message.offset > reached], block)
    except (StoreFailed, struct.error, TypeError, ValueError):
        return None


def _following(file: LogFile, reached: int) -> tuple[Block | None, bool]:
    """Return the block with what follows ``reached``, if there is one, and whether others may be hidden by damage."""
    try:
        row = file.connection.execute(FOLLOWING, (reached,)).fetchone()
        if row is None:
            return None, False
        block = Block(*row)
        if _is_sane(block.last, block.after):
            return block, False
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
    return file.scan.following(reached), True


def _is_sane(last: object, after: object) -> bool:
    """Whether a block could have these offsets, and not what a damaged page makes of them."""
    return isinstance(last, int) and isinstance(after, int) and 0 <= after < last < min(LARGEST, after + 10**9)
