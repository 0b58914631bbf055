"""The contract of a store, held against each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from comet.interfaces import Store
from comet.message import Message
from comet.store.memory import MemoryStore
from tests.fakes import FakeStore

STORES: dict[str, Callable[[], Store]] = {"memory": MemoryStore, "fake": FakeStore}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    return STORES[request.param]()


def message(offset: int) -> Message:
    return Message("news", b"x", "", 1000.0, offset)


def result(deferred: Deferred[Any]) -> Any:
    got: list[Any] = []
    deferred.addBoth(got.append)
    assert got, "it has not fired"
    return got[0]


def _note(answered: list[int], number: int, _: None) -> None:
    answered.append(number)


def test_epoch_can_stand_in_a_position(store: Store) -> None:
    """The epoch of a store is 8 to 32 hexadecimal digits."""
    assert re.fullmatch("[0-9a-f]{8,32}", store.epoch)


def test_new_store_is_empty(store: Store) -> None:
    """A store that was never written to has kept nothing."""
    assert list(result(store.start())) == []


def test_appends_are_answered_in_order(store: Store) -> None:
    """Each append is answered, in the order of the calls, an empty one too."""
    result(store.start())
    answered: list[int] = []
    for number, batch in enumerate(([message(1)], [], [message(2), message(4)])):
        store.append(batch).addCallback(partial(_note, answered, number))
    assert answered == [0, 1, 2]


def test_store_can_be_stopped(store: Store) -> None:
    """Stopping is answered, with messages in it or without."""
    result(store.start())
    result(store.append([message(1)]))
    assert result(store.stop()) is None


def test_memory_has_a_new_epoch_at_each_start() -> None:
    """A store that forgets draws a new epoch, so that an old position is told as a gap."""
    assert MemoryStore().epoch != MemoryStore().epoch
