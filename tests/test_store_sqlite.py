"""The durable store beside a reactor: many appends in one commit, trouble and its end, two processes on one file."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from comet.config import Config
from comet.errors import StoreFailed
from comet.kept import Kept, Record
from comet.message import Message
from comet.metrics import Metrics
from comet.store import schema
from comet.store.disk import Disk, Group
from comet.store.faults import Displaced
from comet.store.opening import open_disk, regain
from comet.store.sqlite import SqliteStore
from comet.topics import parse_patterns

EVERYTHING = parse_patterns(["**"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be made."""
    return tmp_path / "comet.db"


def config(path: Path, **settings: Any) -> Config:
    return Config(store=f"sqlite:{path}", **settings)


def message(offset: int, size: int = 1, time: float = 4e9) -> Message:
    return Message("news", b"x" * size, "", time, offset)


@asynccontextmanager
async def started(path: Path, **settings: Any) -> AsyncIterator[tuple[SqliteStore, Kept, Metrics]]:
    """A store that has been started; it is stopped in the end."""
    metrics = Metrics()
    store = SqliteStore(config(path, **settings), metrics, reactor)
    kept = await store.start()
    try:
        yield store, kept, metrics
    finally:
        await store.stop()


async def refused(store: SqliteStore, *messages: Message) -> str:
    """Why the store refuses ``messages``."""
    with pytest.raises(StoreFailed) as caught:
        await store.append(messages)
    assert "\n" not in caught.value.detail
    return caught.value.detail


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    for _ in range(2_000):
        if condition():
            return
        await deferLater(reactor, 0.005, lambda: None)
    raise AssertionError("it never came true")


@pytest_twisted.ensureDeferred
async def test_what_waits_is_one_commit(path: Path) -> None:
    """However many ask at once, few transactions keep what they bring."""
    async with started(path) as (store, _, metrics):
        await gatherResults([store.append([message(offset)]) for offset in range(1, 501)])
        assert metrics.store_commits < 50
        assert sum(metrics.store_commit_seconds.counts) == metrics.store_commits
    async with started(path) as (_, kept, _):
        assert [each.offset for each in kept.messages] == list(range(1, 501))


@pytest_twisted.ensureDeferred
async def test_full_disk(path: Path) -> None:
    """While nothing fits all are refused, with a line that says why; once there is room the next try finds it, and what
    was refused is nowhere."""
    async with started(path) as (store, _, metrics):
        await store.append([message(1)])
        connection = store._disk.connection
        connection.execute(f"PRAGMA max_page_count = {schema.pragma(connection, 'page_count')}")
        assert (
            await refused(store, message(2, 100_000))
            == f"the disk of {path} is full; make room; nothing of this was stored"
        )
        assert store.trouble == f"the disk of {path} is full; make room"
        assert metrics.store_trouble == 1
        await refused(store)  # a try without messages is one, too
        await refused(store, message(3))  # although that alone would fit
        with pytest.raises(StoreFailed):
            await store.put(Record("consumer", "a", b"1"))
        connection.execute("PRAGMA max_page_count = 1000000")
        await store.append([])
        assert (store.trouble, metrics.store_trouble) == ("", 0)
        await store.append([message(4)])
    async with started(path) as (_, kept, _):
        assert [each.offset for each in kept.messages] == [1, 4]
        assert list(kept.records) == []


def removed(path: Path) -> None:
    """Together with what SQLite has beside it, it is somewhere else."""
    shutil.copy(path, path.with_name("copy"))
    path.rename(path.with_name("away"))


def replaced(path: Path) -> None:
    """Another file has its name."""
    removed(path)
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("away", [removed, replaced])
@pytest_twisted.ensureDeferred
async def test_file_that_is_gone(path: Path, away: Callable[[Path], None]) -> None:
    """Nothing is written to a file that nobody would find; when it is back all goes on."""
    async with started(path) as (store, _, _):
        await store.append([message(1)])
        away(path)
        store._disk._looked = 0.0  # what is looked at twice a second
        assert f"{path} was moved or removed" in await refused(store, message(2))
        path.with_name("away").rename(path)
        await store.append([message(3)])
        assert store.trouble == ""
    async with started(path) as (_, kept, _):
        assert [each.offset for each in kept.messages] == [1, 3]


@pytest_twisted.ensureDeferred
async def test_damage_is_told_to_who_reads(path: Path) -> None:
    """Who reads what is damaged is told so, and the others read on."""
    async with started(path) as (store, _, _):
        for offset in (1, 2, 3):
            await store.append([message(offset)])
            store._disk.merge()
        store._disk.connection.execute("UPDATE blocks SET checksum = 1 WHERE last = 2")
        piece = await store.archive.read(EVERYTHING, 0, 3, 10)
        assert ([each.offset for each in piece.messages], piece.reached) == ([1], 1)
        with pytest.raises(StoreFailed, match="messages after 1 up to 2 are damaged; 'comet log verify'") as caught:
            await store.archive.read(EVERYTHING, 1, 3, 10)
        assert str(path) in caught.value.detail
        piece = await store.archive.read(EVERYTHING, 2, 3, 10)
        assert [each.offset for each in piece.messages] == [3]


@pytest_twisted.ensureDeferred
async def test_settings_can_change(path: Path) -> None:
    """What is kept for how long may change while the store is in use: it goes without being asked for again."""
    async with started(path) as (store, _, _):
        for offset in range(1, 11):
            await store.append([message(offset, time=1000.0)])
            store._disk.merge()
        await until(lambda: store.archive.trimmed == 10)
        await store.append([message(11)])
        store._disk.merge()
        store.configure(config(path, keep_bytes=1))
        await until(lambda: store.archive.trimmed == 11)
        assert (await store.archive.read(EVERYTHING, 0, 11, 10)).trimmed == 11


@pytest_twisted.ensureDeferred
async def test_closed_store(path: Path) -> None:
    """After its end a store refuses everybody, and stopping it again does nothing."""
    async with started(path) as (store, _, _):
        await store.stop()
        assert "is closed" in await refused(store, message(1))
        with pytest.raises(StoreFailed):
            await store.archive.count("news")


# -- hand-over --------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_successor(path: Path) -> None:
    """A successor opens the file of one that stands still, has the lock once that has ended, and its end alone is a
    clean one."""
    async with started(path) as (store, first, _):
        await store.append([message(1)])
        successor = SqliteStore(config(path), Metrics(), reactor)
        kept = await successor.start(succeeding=True)
        assert [each.offset for each in kept.messages] == [1]
        assert kept.past.epoch == first.past.epoch
        await successor.append([message(2)])
        assert not successor._disk.lock.is_held
        await store.stop()
    assert successor._disk.connection.execute("SELECT clean FROM log").fetchone() == (0,)
    await until(lambda: successor._disk.lock.is_held)
    await successor.append([message(3)])
    await successor.stop()
    async with started(path) as (_, kept, _):
        assert [each.offset for each in kept.messages] == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_successor_that_gives_up(path: Path) -> None:
    """If the successor ends, the one that stood still goes on, whatever the other did to the file."""
    async with started(path) as (store, _, _):
        await store.append([message(1)])
        successor = SqliteStore(config(path), Metrics(), reactor)
        await successor.start(succeeding=True)
        successor._disk.merge()
        await successor.stop()
        await store.append([message(2)])
        assert await store.archive.count("news") == 2
    async with started(path) as (_, kept, _):
        assert [each.offset for each in kept.messages] == [1, 2]


def test_nobody_writes_beside_the_owner(path: Path) -> None:
    """Whoever does not own the file any more writes nothing, in no way; and takes it back only with the lock."""
    old, new = (Disk(path, "commit") for _ in range(2))
    open_disk(old, 0, 0.0, succeeding=False)
    old.write(Group([message(1)]))
    open_disk(new, 0, 0.0, succeeding=True)
    for group in (Group([message(2)]), Group([message(2, 10**6)]), Group(records={("a", "b"): b""})):
        with pytest.raises(Displaced):
            old.write(group)
    regain(old)
    old.write(Group([message(3)]))
    with pytest.raises(Displaced):
        new.write(Group([message(4)]))
    with pytest.raises(Displaced):
        regain(new)
    new.let_go()
    old.close()
    last = Disk(path, "commit")
    found = open_disk(last, 10**9, 0.0, succeeding=False)
    assert [each.offset for each in found.kept.messages] == [1, 3]
    last.close()
