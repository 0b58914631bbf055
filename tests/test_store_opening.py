"""The file when it is opened: what goes on, what is refused in one line, and what is brought up to date."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from comet.errors import CannotOpen
from comet.message import Message
from comet.store import opening, schema
from comet.store.blocks import Damaged
from comet.store.disk import Disk, Group
from comet.store.faults import why_not_open
from comet.store.opening import Found, open_disk


def message(offset: int, topic: str = "news", size: int = 1) -> Message:
    return Message(topic, b"x" * size, "", 1000.0 + offset, offset)


def opened(path: Path, durability: str = "commit", retain_bytes: int = 10**9) -> tuple[Disk, Found]:
    disk = Disk(path, durability)
    return disk, open_disk(disk, retain_bytes, 0.0, succeeding=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be made."""
    return tmp_path / "comet.db"


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What is called when the machine was started anew."""
    boot = tmp_path / "boot_id"
    boot.write_text("first\n")
    monkeypatch.setattr(opening, "BOOT", boot)

    def restart() -> None:
        boot.write_text("second\n")

    return restart


# -- the epoch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["commit", "fsync"])
@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_epoch_goes_on(
    path: Path, boot: Callable[[], None], durability: str, is_closed: bool, is_restarted: bool
) -> None:
    """Positions stay what they are, unless the last messages may be missing: the machine went down with the daemon,
    and commits did not wait for the disk."""
    disk, first = opened(path, durability)
    disk.write(Group([message(1)]))
    if is_closed:
        disk.close()
    else:
        disk.let_go()
    if is_restarted:
        boot()
    disk, second = opened(path, durability)
    disk.close()
    unsafe = is_restarted and not is_closed and durability == "commit"
    assert second.renewed == unsafe
    assert (first.kept.past.epoch == second.kept.past.epoch) != unsafe
    assert [each.offset for each in second.kept.messages] == [1]
    assert second.kept.past.next_offset == 2


def test_what_counts_is_how_it_was_written(path: Path, boot: Callable[[], None]) -> None:
    """A daemon that now waits for the disk does not make up for one that did not."""
    disk, _ = opened(path, "commit")
    disk.let_go()
    boot()
    disk, found = opened(path, "fsync")
    assert found.renewed
    disk.close()


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["messages", "bytes"])
def test_only_the_newest_come_to_memory(path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """However much is in the file, memory gets the newest part, whole blocks, and what is before it is known as lost to
    memory."""
    disk, _ = opened(path)
    for offset in range(1, 201):
        disk.write(Group([message(offset, size=100)]))
        if offset % 10 == 0:
            disk.merge()
    disk.close()
    if limit == "messages":
        monkeypatch.setattr(opening, "LOADED", 25)
    disk, found = opened(path, retain_bytes=10**9 if limit == "messages" else 25 * 140)
    disk.close()
    assert [each.offset for each in found.kept.messages] == list(range(171, 201))
    assert found.kept.past.forgotten == 170


# -- what cannot be opened --------------------------------------------------------------------------------------------


def a_directory(path: Path) -> None:
    path.mkdir()


def garbage(path: Path) -> None:
    path.write_bytes(b"what is this? " * 1000)


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bids (amount INTEGER)")


def of_a_newer_version(path: Path) -> None:
    opened(path)[0].close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")


def cut(path: Path) -> None:
    disk, _ = opened(path)
    disk.write(Group([message(1, size=50_000)]))
    disk.close()
    os.truncate(path, path.stat().st_size // 2)


def with_a_damaged_tail(path: Path) -> None:
    disk, _ = opened(path)
    disk.write(Group([message(1)]))
    disk.connection.execute("UPDATE blocks SET body = zeroblob(length(body))")
    disk.close()


def with_a_row_missing(path: Path) -> None:
    disk, _ = opened(path)
    for offset in (1, 2, 3):
        disk.write(Group([message(offset)]))
    disk.connection.execute("DELETE FROM blocks WHERE last = 2")
    disk.close()


def with_a_strange_epoch(path: Path) -> None:
    disk, _ = opened(path)
    disk.connection.execute("UPDATE log SET epoch = 'EPOCH'")
    disk.close()


def with_strange_offsets(path: Path) -> None:
    disk, _ = opened(path)
    disk.connection.execute("UPDATE log SET placed = 'many'")
    disk.close()


def empty_inside(path: Path) -> None:
    disk, _ = opened(path)
    disk.connection.execute("DELETE FROM log")
    disk.close()


BAD: dict[Callable[[Path], None], str] = {
    a_directory: "is a directory; name a file",
    garbage: "is no store of Comet",
    a_foreign_database: "belongs to another program; name another file",
    of_a_newer_version: "is of a newer Comet",
    cut: "is damaged; 'comet log verify'",
    with_a_damaged_tail: "is damaged: the messages after 0 up to 1 are damaged; 'comet log verify'",
    with_a_row_missing: "is damaged: messages after 1 are missing; 'comet log verify'",
    with_a_strange_epoch: "is damaged: what it says of itself is damaged",
    with_strange_offsets: "is damaged: what it says of itself is damaged",
    empty_inside: "is damaged: what it says of itself is damaged",
}


def refusal(path: Path) -> str:
    """Why the file cannot be opened."""
    disk = Disk(path, "commit")
    with pytest.raises((CannotOpen, OSError, sqlite3.Error, Damaged)) as caught:
        open_disk(disk, 0, 0.0, succeeding=False)
    error = caught.value
    assert not disk.lock.is_held
    return str(error) if isinstance(error, CannotOpen) else why_not_open(path, error)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_cannot_open(path: Path, bad: Callable[[Path], None]) -> None:
    """What cannot be opened is said in one line: which file, what is wrong, what to do. It stays as it was."""
    bad(path)
    before = None if path.is_dir() else path.read_bytes()
    said = refusal(path)
    assert said.startswith(str(path))
    assert BAD[bad] in said
    assert "\n" not in said
    assert before is None or path.read_bytes() == before


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is not there is not made: it may be a disk that is not mounted."""
    said = refusal(tmp_path / "nowhere" / "comet.db")
    assert said.endswith(f"there is no directory {tmp_path / 'nowhere'}; make it, or name another")


def test_two_daemons(path: Path) -> None:
    """A file that a daemon has open is not opened by another, which is told who has it."""
    disk, _ = opened(path)
    assert f"is in use by another daemon (process {os.getpid()}); stop that one first" in refusal(path)
    disk.close()
    opened(path)[0].close()


def test_damage_in_the_middle_is_no_reason_to_refuse_service(path: Path) -> None:
    """If a block that is not the newest is damaged, memory begins after it, and that is told."""
    disk, _ = opened(path)
    for offset in range(1, 5):
        disk.write(Group([message(offset)]))
        disk.merge()
    disk.connection.execute("UPDATE blocks SET body = x'00' WHERE last = 2")
    disk.close()
    disk, found = opened(path)
    disk.close()
    assert [each.offset for each in found.kept.messages] == [3, 4]
    assert found.kept.past.forgotten == 2
    assert found.damage == "the messages after 1 up to 2 are damaged"


def test_others_may_not_read_it(path: Path) -> None:
    """The file is for its owner alone, and so is what SQLite puts beside it."""
    disk, _ = opened(path)
    disk.write(Group([message(1)]))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    disk.close()
    assert set(modes.values()) == {0o600}
    assert {"comet.db", "comet.db-wal", "comet.db.lock"} <= set(modes)


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def older(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of this version, for a Comet of the next, which has one table more."""
    disk, _ = opened(path)
    disk.write(Group([message(1)]))
    disk.close()
    upgrades = (*schema.UPGRADES, "CREATE TABLE added (value TEXT NOT NULL); INSERT INTO added SELECT epoch FROM log;")
    monkeypatch.setattr(schema, "UPGRADES", upgrades)
    monkeypatch.setattr(schema, "VERSION", len(upgrades))
    return path


def test_older_version_is_brought_up_to_date(older: Path) -> None:
    """A file of an older version is changed step by step, and has all that it had."""
    for _ in range(2):
        disk, found = opened(older)
        assert schema.pragma(disk.connection, "user_version") == schema.VERSION
        assert disk.connection.execute("SELECT value FROM added").fetchall() == [(found.kept.past.epoch,)]
        assert [each.offset for each in found.kept.messages] == [1]
        disk.close()


def test_new_file_gets_all_steps(older: Path) -> None:
    """A new file is made of the same steps."""
    disk, _ = opened(older.with_name("new.db"))
    assert schema.pragma(disk.connection, "user_version") == schema.VERSION
    assert schema.pragma(disk.connection, "auto_vacuum") == 2
    assert disk.connection.execute("SELECT count(*) FROM added").fetchone() == (1,)
    disk.close()


def test_step_that_fails_changes_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is made as a whole or not at all."""
    upgrades = (*schema.UPGRADES[:-1], "CREATE TABLE added (value); SELECT 1 FROM what_is_not_there;")
    monkeypatch.setattr(schema, "UPGRADES", upgrades)
    assert "what_is_not_there" in refusal(older)
    with closing(sqlite3.connect(older)) as connection:
        assert schema.pragma(connection, "user_version") == schema.VERSION - 1
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'added'").fetchone() == (0,)
