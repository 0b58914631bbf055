"""Consumers for which nothing comes are not told of a gap where nothing is missing."""

from __future__ import annotations

from typing import Any

import pytest

from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.message import Position
from comet.quiet import AT_ONCE, Quiet
from comet.topics import parse_patterns
from tests.fakes import EPOCH, FakeArchive, House


class Ward:
    """A house with consumers, and with who looks after the quiet ones."""

    def __init__(self, **settings: Any) -> None:
        self.house = House(**settings)
        self.consumers = Consumers(self.house.router)
        self.consumers.start()
        self.house.router.each_second.append(Quiet(self.house.router, self.consumers).each_second)

    def create(self, name: str, *topics: str) -> Consumer:
        self.consumers.create(name, parse_patterns(topics), "now").addErrback(lambda failure: failure.raiseException())
        return self.consumers.found(name)

    def offset(self, consumer: Consumer) -> int:
        """Where the next daemon would begin."""
        consumers = Consumers(self.house.router)
        consumers.start()
        assert consumers.found(consumer.name).acked == consumer.acked
        return consumer.acked.offset


@pytest.mark.parametrize("topic", ["orders", "orders/*", "orders/**"])
def test_moves_with_the_log(topic: str) -> None:
    """Who has everything stands at the end of the log, though nothing comes for it; so what is lost is not its."""
    ward = Ward(retain_seconds=60)
    consumer = ward.create("c", topic)
    for _ in range(20):
        ward.house.publish(("chatter", "x"))
        ward.house.wait(12)
    assert ward.offset(consumer) >= 18
    assert consumer.described()["gap"] is False
    assert ward.house.metrics.acks == 0


def test_nothing_is_skipped() -> None:
    """Who has something to acknowledge stays where it is, and is told when that is gone."""
    ward = Ward(retain_seconds=60)
    consumer = ward.create("c", "orders")
    ward.house.publish(("chatter", "x"), ("orders", "1"), ("chatter", "x"))
    ward.house.wait(50)
    assert consumer.acked.offset in (0, 1)
    ward.house.wait(30)
    assert consumer.described()["gap"] is True
    ward.house.wait(30)
    assert consumer.acked.offset in (0, 1)


def test_looks_on_disk() -> None:
    """What memory has lost is looked for on disk, and only what is for nobody is passed over."""
    archive = FakeArchive()
    ward = Ward(retain_seconds=5, archive=archive)
    quiet, behind, gone = ward.create("quiet", "none"), ward.create("behind", "orders"), ward.create("gone", "**")
    archive.holds = True
    ward.house.publish(("orders", "1"), ("chatter", "x"))
    ward.house.wait(8)
    ward.house.publish(("chatter", "x"))
    ward.house.wait(40)
    for _ in range(4):
        archive.release()
        ward.house.wait(12)
    assert quiet.acked.offset >= 2
    assert (behind.acked.offset, gone.acked.offset) == (0, 0)
    archive.holds = False
    archive.release()
    archive.trim(2)
    ward.house.wait(30)
    assert [each.described()["gap"] for each in (quiet, behind, gone)] == [False, True, True]


def test_bad_disk() -> None:
    """A disk that cannot be read, and a store that cannot be written, move nobody; it is tried again."""
    archive = FakeArchive()
    ward = Ward(retain_seconds=5, archive=archive)
    consumer = ward.create("c", "none")
    ward.house.publish(("chatter", "x"))
    archive.fails = ward.house.store.fails = True
    ward.house.wait(30)
    assert consumer.acked.offset == 0
    archive.fails = False
    ward.house.wait(30)
    assert consumer.acked.offset == 0
    ward.house.store.fails = False
    ward.house.wait(30)
    assert consumer.acked.offset == 1


def test_many() -> None:
    """Of many consumers a few are looked at each second, and everyone's turn comes."""
    ward = Ward()
    everyone = [ward.create(f"c{number}", "none") for number in range(3 * AT_ONCE)]
    ward.house.wait(2)
    ward.house.publish(("chatter", "x"))
    ward.house.wait(1)
    assert sum(each.acked.offset for each in everyone) <= AT_ONCE
    ward.house.wait(30)
    assert {each.acked for each in everyone} == {Position(EPOCH, 1)}


def test_another_life() -> None:
    """Whose place is in another log is left alone: it has to be told."""
    ward = Ward()
    ward.consumers.create("c", parse_patterns(["a"]), Position("0" * 8, 3))
    ward.house.publish(("chatter", "x"))
    ward.house.wait(30)
    assert ward.consumers.found("c").acked == Position("0" * 8, 3)
