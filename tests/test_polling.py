"""Parts of the daemon read the log as subscribers do."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from comet.errors import CometError, Draining, StoreFailed, TooManyStreams
from comet.log import Since
from comet.message import Draft, Page, Position
from comet.polling import poll
from comet.topics import parse_patterns
from tests.fakes import EPOCH, FakeArchive, House


class Asked:
    """A poll, and what has come of it."""

    def __init__(self, house: House, *topics: str, since: Since = "first", limit: int = 10, wait: float = 0.0) -> None:
        self.got: list[Any] = []
        patterns = parse_patterns(topics)
        self.deferred: Deferred[Page] = poll(house.router, patterns, since, limit=limit, wait=wait, transport="within")
        self.deferred.addBoth(self.got.append)

    @property
    def page(self) -> Page:
        assert isinstance(self.got[0], Page), self.got
        return self.got[0]

    def texts(self) -> list[str]:
        return [message.payload.decode() for message in self.page.messages]


def test_answers_at_once() -> None:
    """What there is is given without waiting, in pages."""
    house = House()
    house.publish(("a", "1"), ("b", "2"), ("a", "3"))
    assert Asked(house, "a").texts() == ["1", "3"]
    first = Asked(house, "**", limit=2)
    assert (first.texts(), first.page.position) == (["1", "2"], Position(EPOCH, 2))
    assert Asked(house, "**", since=first.page.position).texts() == ["3"]
    assert Asked(house, "c").page == Page([], Position(EPOCH, 3))


def test_waits_for_a_message() -> None:
    """A poll that waits is answered by the next message, and by no more than it wants."""
    house = House()
    asked = Asked(house, "a", since="now", limit=2, wait=5.0)
    house.turn()
    assert asked.got == []
    house.publish(("b", "0"), ("a", "1"), ("a", "2"), ("a", "3"))
    assert (asked.texts(), asked.page.position) == (["1", "2"], Position(EPOCH, 3))
    house.wait(6)
    assert house.left_behind() == {}


def test_waits_no_longer_than_it_is_told() -> None:
    """When the wait is over the page is empty, and says how far it reaches."""
    house = House()
    asked = Asked(house, "a", since="now", wait=5.0)
    house.publish(("b", "0"))
    house.wait(6)
    assert asked.page == Page([], Position(EPOCH, 1))


def test_given_up() -> None:
    """Who gives a poll up leaves nothing behind."""
    house = House()
    asked = Asked(house, "a", since="now", wait=5.0)
    asked.deferred.cancel()
    assert isinstance(asked.got[0], Failure)
    assert asked.got[0].check(CancelledError)
    house.wait(6)
    assert house.left_behind() == {}


def test_gap_is_told() -> None:
    """What is lost is in the page."""
    house = House(retain_messages=1)
    house.publish(("a", "1"), ("a", "2"))
    gap = Asked(house, "a", since=Position(EPOCH, 0)).page.gap
    assert gap is not None
    assert gap.until == Position(EPOCH, 1)


def refusal(asked: Asked) -> type[CometError]:
    failure = asked.got[0]
    assert isinstance(failure, Failure), failure
    assert isinstance(failure.value, CometError)
    return type(failure.value)


def test_refusals() -> None:
    """A poll fails by the refusals that a subscriber meets."""
    house = House(max_streams=1, archive=FakeArchive(), retain_messages=1)
    house.publish(("a", "1"), ("a", "2"))
    waiting = Asked(house, "a", since="now", wait=5.0)
    assert refusal(Asked(house, "a")) is TooManyStreams
    waiting.deferred.cancel()
    house.store.archive.fails = True  # type: ignore[union-attr]
    unreadable = Asked(house, "a")
    house.turn()
    assert refusal(unreadable) is StoreFailed
    waiting = Asked(house, "a", since="now", wait=5.0)
    house.router.stop()
    assert refusal(waiting) is Draining
    assert refusal(Asked(house, "a")) is Draining


@pytest.mark.parametrize("payload", [b"", b"\x00\xff", "é".encode()])
def test_payloads_are_unchanged(payload: bytes) -> None:
    """Whatever the bytes are, they come through."""
    house = House()
    house.publish(Draft("a", payload, "image/png"))
    (message,) = Asked(house, "a").page.messages
    assert (message.topic, message.payload, message.content_type) == ("a", payload, "image/png")
