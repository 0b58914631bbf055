"""The contract of a store, held against each of them."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from comet.config import Config
from comet.interfaces import Store
from comet.kept import Entry, Kept, Record
from comet.message import Message
from comet.metrics import Metrics
from comet.store.memory import MemoryStore
from comet.store.sqlite import SqliteStore
from tests.fakes import FakeStore


def sqlite(directory: Path) -> Store:
    return SqliteStore(Config(store=f"sqlite:{directory / 'comet.db'}"), Metrics(), reactor)


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "fake": lambda _: FakeStore(),
    "sqlite": sqlite,
}
DURABLE = ("sqlite",)


@asynccontextmanager
async def started(name: str, directory: Path) -> AsyncIterator[tuple[Store, Kept]]:
    """A store that has been started; it is stopped in the end."""
    store = STORES[name](directory)
    kept = await store.start()
    try:
        yield store, kept
    finally:
        await store.stop()


def message(offset: int, topic: str = "news") -> Message:
    return Message(topic, b"x", "text/plain", 1000.0 + offset, offset)


@pytest.mark.parametrize("name", STORES)
@pytest_twisted.ensureDeferred
async def test_new_store(name: str, tmp_path: Path) -> None:
    """A new store has kept nothing, is in no trouble, and its epoch can stand in a position."""
    async with started(name, tmp_path) as (store, kept):
        assert (list(kept.messages), list(kept.keys), list(kept.records)) == ([], [], [])
        assert (kept.past.end, kept.past.next_offset, kept.past.forgotten) == (0, 1, 0)
        assert re.fullmatch("[0-9a-f]{8,32}", kept.past.epoch)
        assert not store.trouble


@pytest.mark.parametrize("name", STORES)
@pytest_twisted.ensureDeferred
async def test_answers_come_in_order(name: str, tmp_path: Path) -> None:
    """Each call is answered, in the order of the calls, an empty append too."""
    async with started(name, tmp_path) as (store, _):
        answered: list[int] = []
        calls = [
            store.append([message(1)]),
            store.append([]),
            store.put(Record("consumer", "a", b"1")),
            store.append([message(2), message(4)], [Entry("news", "k", 4, 1004.0)]),
            store.remove("consumer", "a"),
            store.remove("consumer", "who never was"),
        ]
        for number, call in enumerate(calls):
            call.addCallback(partial(_note, answered, number))
        await gatherResults(calls)
        assert answered == list(range(len(calls)))


def _note(answered: list[int], number: int, _: None) -> None:
    answered.append(number)


@pytest.mark.parametrize("name", STORES)
@pytest_twisted.ensureDeferred
async def test_what_is_on_its_way_is_kept_when_it_stops(name: str, tmp_path: Path) -> None:
    """Stopping is answered after everything that was asked for before."""
    store = STORES[name](tmp_path)
    await store.start()
    answered: list[int] = []
    for offset in range(1, 100):
        store.append([message(offset)]).addCallback(partial(_note, answered, offset))
    await store.stop()
    assert answered == list(range(1, 100))


@pytest.mark.parametrize("name", ["memory"])
@pytest_twisted.ensureDeferred
async def test_memory_has_a_new_epoch_at_each_start(name: str, tmp_path: Path) -> None:
    """A store that forgets draws a new epoch, so that an old position is told as a gap."""
    epochs = []
    for _ in range(2):
        async with started(name, tmp_path) as (_, kept):
            epochs.append(kept.past.epoch)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("name", DURABLE)
@pytest_twisted.ensureDeferred
async def test_durable_store_gives_back_what_it_has_kept(name: str, tmp_path: Path) -> None:
    """After a restart there are the messages, the keys and the newest of each record, and the epoch goes on."""
    messages = [message(offset) for offset in (1, 2, 5)]
    now = 4e9  # no key is too old
    async with started(name, tmp_path) as (store, first):
        await store.append(messages[:1], [Entry("news", "k", 1, now)])
        await store.append(messages[1:])
        await store.append([message(6, "$stats/daemon")])
        for body in (b"1", b"2"):
            await store.put(Record("consumer", "a", body))
        await store.put(Record("consumer", "b", b""))
        await store.remove("consumer", "b")
    async with started(name, tmp_path) as (_, kept):
        assert list(kept.messages) == messages
        assert list(kept.keys) == [Entry("news", "k", 1, now)]
        assert list(kept.records) == [Record("consumer", "a", b"2")]
        assert (kept.past.epoch, kept.past.end, kept.past.next_offset) == (first.past.epoch, 6, 7)


@pytest.mark.parametrize("limit", [{"keep_bytes": 256 * 1024}, {"keep_seconds": 0.5}])
@pytest_twisted.ensureDeferred
async def test_limits_change_while_it_runs(limit: dict[str, Any], tmp_path: Path) -> None:
    """What a reload says of how much is kept on disk takes effect by itself."""
    setting = f"sqlite:{tmp_path / 'comet.db'}"
    store = SqliteStore(Config(store=setting), Metrics(), reactor)
    await store.start()
    try:
        for first in range(1, 4_000, 100):
            await store.append([Message("news", b"x" * 1_000, "", time.time(), first + each) for each in range(100)])
        assert store.archive.trimmed == 0
        store.configure(Config(store=setting, **limit))
        while not store.archive.trimmed:
            await deferLater(reactor, 0.02)
    finally:
        await store.stop()
