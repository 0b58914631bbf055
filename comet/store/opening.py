"""How a daemon comes to know what is in the file, and to own it.

The epoch goes on, unless messages that were acknowledged may be gone: with ``durability`` ``commit`` those of the last
moments are, if the machine went down with the daemon. Then a new one is drawn, so that every older position is told as
a gap; an offset that somebody has seen must not come to mean another message.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError
from msgspec.msgpack import Decoder

from comet.kept import Entry, Kept, Past, Record
from comet.message import Message
from comet.store import schema
from comet.store.blocks import COLUMNS, ROW_BYTES, Block, Damaged
from comet.store.disk import Disk, Tail
from comet.store.faults import Displaced

LOADED = 100_000
"""The most messages that are brought to memory at the start, or some more to the end of a block."""

EPOCH = re.compile("([0-9a-f]{8,32})?", re.ASCII)
"""What an epoch is; there is none yet in a new file."""

BOOT = Path("/proc/sys/kernel/random/boot_id")

_decode_entries = Decoder(list[Entry]).decode


class Found(NamedTuple):
    """What was in the file; whether a new epoch had to be drawn; what of it is damaged, if it was noticed."""

    kept: Kept
    renewed: bool
    damage: str


def open_disk(disk: Disk, retain_bytes: int, keys_since: float, *, succeeding: bool) -> Found:
    """Open the file for life. Raises :exc:`~comet.errors.CannotOpen`, OSError, sqlite3.Error or
    :exc:`~comet.store.blocks.Damaged`."""
    try:
        schema.create(disk.path)
        if succeeding:
            disk.lock.try_to_take()
        else:
            disk.lock.take()
        disk.connect()
        schema.prepare(disk.connection, disk.path)
        _stand(disk)
        renewed = _own(disk)
        messages, forgotten, damage = _newest(disk, retain_bytes)
        past = Past(disk.epoch, disk.last, disk.last + 1, _time(disk), forgotten, {})
        return Found(Kept(past, messages, _keys(disk, keys_since), _records(disk)), renewed, damage)
    except BaseException:
        disk.let_go()
        raise


def regain(disk: Disk) -> None:
    """Own the file again, after a successor that did not come to serve. Raises
    :exc:`~comet.store.faults.Displaced` if one does."""
    if not disk.lock.is_held:
        raise Displaced
    disk.owner = secrets.token_hex(8)
    _stand(disk)
    _own(disk)


def _stand(disk: Disk) -> None:
    """Read where the file stands."""
    row = disk.connection.execute("SELECT epoch, last, placed, trimmed FROM log").fetchone()
    if row is None or not (isinstance(row[0], str) and EPOCH.fullmatch(row[0])) or {*map(type, row[1:])} != {int}:
        raise Damaged("what it says of itself is damaged")
    disk.epoch, disk.last, placed, disk.trimmed = row
    disk.newest, disk.tail = placed, Tail(placed)
    rows = disk.connection.execute(f"SELECT {COLUMNS} FROM blocks WHERE last > ? ORDER BY last", (placed,)).fetchall()
    for block in (Block(*row) for row in rows):
        if block.after != disk.newest:
            raise Damaged(f"messages after {disk.newest} are missing")
        disk.tail.add(block.messages(), len(block.body))
        disk.newest = block.last
    disk.last = max(disk.last, disk.newest)


def _own(disk: Disk) -> bool:
    """Make the file this process's; return whether a new epoch had to be drawn."""
    boot = _boot()
    row = disk.connection.execute("SELECT boot, clean, durability FROM log").fetchone()
    was_up, clean, durability = row
    unsafe = not clean and durability == "commit" and (was_up != boot or not boot)
    if unsafe or not disk.epoch:
        disk.epoch = secrets.token_hex(4)
    disk.connection.execute(
        "UPDATE log SET epoch = ?, owner = ?, boot = ?, durability = ?, clean = 0",
        (disk.epoch, disk.owner, boot, disk.durability),
    )
    return unsafe


def _boot() -> str:
    """What is another one each time that the machine starts; empty if the system does not tell."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def _newest(disk: Disk, retain_bytes: int) -> tuple[list[Message], int, str]:
    """Return what memory begins with, the offset before it, and what is damaged there: it begins after that."""
    found = [disk.tail.messages]
    count, size = len(disk.tail.messages), disk.tail.size + len(disk.tail.messages) * ROW_BYTES
    before, damage = disk.tail.after, ""
    while before > disk.trimmed and count < LOADED and size < retain_bytes:
        row = disk.connection.execute(f"SELECT {COLUMNS} FROM blocks WHERE last = ?", (before,)).fetchone()
        try:
            if row is None:
                raise Damaged(f"the messages up to {before} are missing")
            block = Block(*row)
            messages = block.messages()
        except Damaged as error:
            damage = str(error)
            break
        found.append(messages)
        before = block.after
        count += block.count
        size += len(block.body) + block.count * ROW_BYTES
    return [message for messages in reversed(found) for message in messages], before, damage


def _time(disk: Disk) -> float:
    if disk.tail.messages:
        return disk.tail.messages[-1].time
    row = disk.connection.execute("SELECT time FROM blocks ORDER BY last DESC LIMIT 1").fetchone()
    return 0.0 if row is None else float(row[0])


def _keys(disk: Disk, since: float) -> list[Entry]:
    rows = disk.connection.execute("SELECT body FROM keys WHERE time >= ? ORDER BY first", (since,)).fetchall()
    try:
        return [entry for (body,) in rows for entry in _decode_entries(body) if entry.time >= since]
    except (DecodeError, TypeError):
        raise Damaged("the idempotency keys are damaged") from None


def _records(disk: Disk) -> list[Record]:
    return [Record(*row) for row in disk.connection.execute("SELECT kind, name, body FROM records").fetchall()]
