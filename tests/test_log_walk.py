"""Reading a file that is damaged, or written meanwhile: everything that is there, and a word on what is not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

import comet.store.disk
from comet.commands.log.file import LogFile
from comet.commands.log.verify import verify
from comet.commands.log.walk import LARGEST, Hole, Part, walk
from comet.message import Message
from comet.store.disk import Group
from comet.store.trimming import Limits, Trimming
from tests.log_files import BEGUN, change, fill, messages, opened

PAGE = 4096
BLOCK = 12
"""Messages in a block, if they come by three."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is not there yet, in which few messages are a block."""
    monkeypatch.setattr(comet.store.disk, "TAIL_MESSAGES", 10)
    return tmp_path / "comet.db"


def read(path: Path, after: int = 0) -> tuple[list[Message], list[Hole]]:
    """Everything after ``after``, and what is said to be missing."""
    with closing(LogFile(path)) as file:
        parts = list(walk(file, after))
    found = [message for part in parts if isinstance(part, Part) for message in part.messages]
    return found, [part for part in parts if isinstance(part, Hole)]


def groups(all_: list[Message], size: int) -> Iterator[list[Message]]:
    """``all_`` in groups."""
    return (all_[begin : begin + size] for begin in range(0, len(all_), size))


@pytest.mark.parametrize("after", [0, 1, 9, 10, 29, 30, 33, 34, 35])
def test_whole_file(path: Path, after: int) -> None:
    """A file that is whole is read from any offset on, blocks and what has not become one yet."""
    all_ = messages(34)
    fill(path, groups(all_, 3))
    assert read(path, after) == (all_[after:], [])


def test_holes_between_offsets_are_none(path: Path) -> None:
    """Offsets that no message ever got are not missing."""
    all_ = [*messages(12), *messages(12, first=30), *messages(2, first=100)]
    fill(path, groups(all_, 4))
    assert read(path) == (all_, [])


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_each_page_destroyed(path: Path, damage: bytes) -> None:
    """Whichever page is destroyed, be it the first or one above all others, no more than a block is lost."""
    all_ = messages(160, size=600)
    fill(path, groups(all_, 3))
    whole = path.read_bytes()
    for page in range(len(whole) // PAGE):
        path.write_bytes(destroyed(whole, [page], damage))
        assert len(saved(path, all_)) >= len(all_) - BLOCK


@pytest.mark.parametrize("seed", range(20))
def test_many_pages_destroyed(path: Path, seed: int) -> None:
    """Nor is more lost than what was on the pages, if many are."""
    chance = random.Random(seed)
    all_ = messages(400, size=600)
    fill(path, groups(all_, 3))
    whole = path.read_bytes()
    path.write_bytes(destroyed(whole, chance.sample(range(len(whole) // PAGE), 6), chance.randbytes(1)))
    assert len(saved(path, all_)) >= len(all_) - 6 * BLOCK


def test_each_length(path: Path) -> None:
    """Of a file that is cut off, what is there is read."""
    all_ = messages(160, size=600)
    fill(path, groups(all_, 3))
    whole = path.read_bytes()
    found = []
    for page in range(12, len(whole) // PAGE):
        path.write_bytes(whole[: page * PAGE + 100])
        found.append(len(saved(path, all_)))
    assert found == sorted(found)
    assert found[-1] > len(all_) * 9 // 10


def test_destroyed_and_not_closed(path: Path) -> None:
    """What was committed and had not come to its place in the file is saved, too."""
    all_ = messages(160, size=600)
    disk = opened(path)
    for number, group in enumerate(groups(all_, 3)):
        disk.write(Group(group))
        if number == 20:
            disk.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    copy = path.with_name("copy.db")
    copy.with_name("copy.db-wal").write_bytes(path.with_name("comet.db-wal").read_bytes())
    whole = path.read_bytes()
    disk.close()
    for page in range(len(whole) // PAGE):
        copy.write_bytes(destroyed(whole, [page], b"\xff"))
        assert len(saved(copy, all_)) >= len(all_) - BLOCK


def destroyed(whole: bytes, pages: Sequence[int], damage: bytes) -> bytes:
    """``whole`` with something else on ``pages``."""
    content = bytearray(whole)
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = damage * PAGE
    return bytes(content)


def saved(path: Path, all_: list[Message]) -> list[Message]:
    """What is read of a damaged file: it is genuine and in order, and what is missing is told, and nothing else."""
    found, holes = read(path)
    offsets = {message.offset for message in found}
    assert found == [message for message in all_ if message.offset in offsets]
    for message in all_:
        told = any(hole.since < message.offset <= (hole.until or LARGEST) for hole in holes)
        assert (message.offset in offsets) is not told, (message.offset, holes)
    return found


def test_each_byte_of_a_block_counts(path: Path) -> None:
    """A block with one wrong bit is not believed, and told with the offsets that it has."""
    fill(path, groups(messages(30), 10))
    change(path, "UPDATE blocks SET body = CAST(replace(body, '12', '13') AS BLOB) WHERE last = 20")
    found, holes = read(path)
    assert [message.offset for message in found] == [*range(1, 11), *range(21, 31)]
    assert [(hole.since, hole.until, hole.damage) for hole in holes] == [(10, 20, True)]


def test_block_in_a_wrong_place(path: Path) -> None:
    """A block that is whole, but has other offsets than it should, is not believed either."""
    fill(path, groups(messages(30), 10))
    change(path, "UPDATE blocks SET after = 100, last = 120 WHERE last = 30")
    found, holes = read(path)
    assert [message.offset for message in found] == list(range(1, 21))
    assert [(hole.since, hole.until) for hole in holes] == [(20, 100), (100, 120)]


def test_block_that_is_missing(path: Path) -> None:
    """A block that is not there any more is told, in the middle and at the end."""
    fill(path, groups(messages(40), 10))
    change(path, "DELETE FROM blocks WHERE last IN (20, 40)")
    found, holes = read(path)
    assert [message.offset for message in found] == [*range(1, 11), *range(21, 31)]
    assert [(hole.since, hole.until, hole.damage) for hole in holes] == [(10, 20, True), (30, 40, True)]


def test_written_meanwhile(path: Path) -> None:
    """A file that a daemon writes is read without a message twice or missing, whatever becomes of its rows."""
    disk = opened(path)
    all_ = messages(120)
    found: list[Message] = []
    with closing(LogFile(path)) as file:
        disk.write(Group(all_[:2]))
        walking = walk(file, 0)
        for begin in range(2, 118, 2):
            part = next(walking)
            assert isinstance(part, Part)
            found += part.messages
            disk.write(Group(all_[begin : begin + 2]))
        for part in walking:
            assert isinstance(part, Part)
            found += part.messages
    assert found == all_[:118]
    disk.close()


def test_trimmed_meanwhile(path: Path) -> None:
    """What goes while it is read is told, as what it is."""
    fill(path, groups(messages(60), 10))
    disk = opened(path)
    with closing(LogFile(path)) as file:
        walking = walk(file, 0)
        next(walking)
        trimming = Trimming(disk, Limits(0.0, 10**9, 0.0))
        while trimming.step(BEGUN + 35, idle=False):
            pass
        hole = next(walking)
        part = next(walking)
    assert isinstance(hole, Hole)
    assert isinstance(part, Part)
    assert (hole.since, hole.until, hole.damage) == (10, disk.trimmed, False)
    assert part.messages[0].offset == disk.trimmed + 1
    disk.close()


def test_everything_trimmed(path: Path) -> None:
    """A file whose messages have all gone is whole."""
    fill(path, groups(messages(30), 10))
    disk = opened(path)
    trimming = Trimming(disk, Limits(0.0, 10**9, 0.0))
    while trimming.step(BEGUN + 1_000, idle=False):
        pass
    assert disk.trimmed == 30
    disk.close()
    assert [(hole.since, hole.until, hole.damage) for hole in read(path)[1]] == [(0, 30, False)]
    with closing(LogFile(path)) as file:
        verdict = verify(file, str)
    assert (verdict.good, verdict.messages) == (True, 0)


def test_started_meanwhile(path: Path) -> None:
    """A file that nobody had open is looked at anew once a daemon has it."""
    fill(path, groups(messages(20), 10))
    with closing(LogFile(path)) as file:
        assert not file.renew()
        assert len(list(walk(file, 0))) == 2
        disk = opened(path)
        disk.write(Group(messages(10, first=21)))
        assert file.renew()
        assert len(list(walk(file, 0))) == 3
        assert verify(file, str).good
        disk.close()


def test_nothing_is_written(path: Path) -> None:
    """Looking at a file leaves it as it was, and nothing beside it."""
    fill(path, groups(messages(34), 3))
    before = path.read_bytes()
    read(path)
    with closing(LogFile(path)) as file:
        assert verify(file, str).good
    assert path.read_bytes() == before
    assert {each.name for each in path.parent.iterdir()} == {"comet.db", "comet.db.lock"}
