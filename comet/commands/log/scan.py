"""The blocks of a file whose tree is damaged, found by looking at each of its pages.

SQLite finds a row by the pages above it; if one of those is destroyed it finds none of the rows below. But the rows are
still there, on pages of their own (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1), and a block has a
checksum, so what looks like one and agrees with that is one::

    leaf page   0D  freeblock:2  cells:2  content:2  fragments:1  offset-of-cell:2…
    cell        payload-size:varint  rowid:varint  payload…  [first-overflow-page:4]
    overflow    next-page:4  payload…
    payload     header-size:varint  type-of-column:varint…  column…

What was deleted may be found, too: the same messages as in the block that took its place, or such as were trimmed.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error, unpack_from
from typing import NamedTuple

from comet.errors import StoreFailed
from comet.store.blocks import Block

LEAF = 0x0D
PAGE = 4096
"""The size of a page where the file does not say another."""

MOST_BYTES = 2 * 1024**3
"""More than a value can have."""

_FRAME = Struct("!IIIIII")
_INTEGERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


class _Cell(NamedTuple):
    """A row: its key, and where it is."""

    last: int
    page: int
    offset: int


class Scan:
    """The blocks in the file at ``path``, in whatever state that is."""

    def __init__(self, path: Path) -> None:
        # It stays open: closing it would take away SQLite's own locks.
        self._main = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = self._page_size()
        self._written = _Frames(path, self._size)
        self._cells = sorted(self._found())

    def __len__(self) -> int:
        return len(self._cells)

    def following(self, reached: int) -> Block | None:
        """The first block with anything after the offset ``reached``, or None."""
        for number in range(bisect_right(self._cells, reached, key=_last_of), len(self._cells)):
            _, page, offset = self._cells[number]
            block = self._block(page, offset)
            if block is not None:
                return block
        return None

    def close(self) -> None:
        """Close it."""
        os.close(self._main)
        self._written.close()

    def _page_size(self) -> int:
        head = os.pread(self._main, 18, 0)
        size = int.from_bytes(head[16:18], "big") if head[:6] == b"SQLite" else PAGE
        size = 65_536 if size == 1 else size
        return size if size in (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536) else PAGE

    def _page(self, number: int) -> bytes:
        """The page of that number, from 1 on; empty if it is not there."""
        return self._written.page(number) or os.pread(self._main, self._size, (number - 1) * self._size)

    def _found(self) -> Iterator[_Cell]:
        pages = max(os.fstat(self._main).st_size // self._size, self._written.highest)
        for number in range(1, pages + 1):
            page = self._page(number)
            if page[:1] == bytes((LEAF,)) and len(page) == self._size:
                for place in range(min(int.from_bytes(page[3:5], "big"), self._size // 4)):
                    offset = int.from_bytes(page[8 + 2 * place : 10 + 2 * place], "big")
                    block = self._block(number, offset)
                    if block is not None:
                        yield _Cell(block.last, number, offset)

    def _block(self, number: int, offset: int) -> Block | None:
        """The block whose row is at ``offset`` of a page, if that is one and is whole."""
        try:
            page = self._page(number)
            size, at = _varint(page, offset)
            last, at = _varint(page, at)
            if size > MOST_BYTES:
                return None
            block = _row(last, self._payload(page, at, size))
            if block is not None:
                block.check()
        except (IndexError, ValueError, error, StoreFailed):
            return None
        return block

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """What a cell holds, with what is on overflow pages."""
        usable = self._size
        if size <= usable - 35:
            return page[at : at + size]
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = local if local <= usable - 35 else least
        parts = [page[at : at + local]]
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        left = size - local
        while left > 0 and following:
            page = self._page(following)
            following = int.from_bytes(page[:4], "big")
            parts.append(page[4 : 4 + left])
            left -= len(parts[-1])
            if not parts[-1]:
                break
        return b"".join(parts)


class _Frames:
    """The pages that were committed and are not in the file yet (section 4 of the format)."""

    def __init__(self, path: Path, size: int) -> None:
        self._size = size
        self._places: dict[int, int] = {}
        self.highest = 0
        try:
            self._wal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._wal = -1
        else:
            self._read()

    def page(self, number: int) -> bytes:
        """The newest state of a page; empty if it is not here."""
        place = self._places.get(number)
        return b"" if place is None else os.pread(self._wal, self._size, place)

    def close(self) -> None:
        """Close it."""
        if self._wal >= 0:
            os.close(self._wal)

    def _read(self) -> None:
        salts = os.pread(self._wal, 32, 0)[16:24]
        uncommitted: dict[int, int] = {}
        place = 32
        while len(head := os.pread(self._wal, _FRAME.size, place)) == _FRAME.size and head[8:16] == salts:
            number, commit = unpack_from("!II", head)
            uncommitted[number] = place + _FRAME.size
            if commit:
                self._places |= uncommitted
                uncommitted = {}
            place += _FRAME.size + self._size
        self.highest = max(self._places, default=0)


def _last_of(cell: _Cell) -> int:
    return cell.last


def _row(last: int, payload: bytes) -> Block | None:
    """The block that the columns of a row are, behind ``last``, which is its key; None if they cannot be."""
    head, at = _varint(payload, 0)
    types = []
    while at < head:
        kind, at = _varint(payload, at)
        types.append(kind)
    if len(types) != 6 or types[0] != 0 or types[5] < 12 or types[5] % 2:
        return None
    values: list[float] = []
    for kind in types[1:5]:
        if kind == 7:
            values.append(unpack_from("!d", payload, at)[0])
            at += 8
        else:
            length = _INTEGERS.get(kind, len(payload))
            values.append(1 if kind == 9 else int.from_bytes(payload[at : at + length], "big", signed=True))
            at += length
    after, time, count, checksum = values
    body = payload[at : at + (types[5] - 12) // 2]
    if not all(isinstance(value, int) for value in (after, count, checksum)):
        return None
    return Block(last, int(after), float(time), int(count), int(checksum), body)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends. Raises IndexError."""
    value = 0
    for number in range(9):
        byte = data[at + number]
        if number == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at + number + 1
