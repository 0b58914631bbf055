"""What memory has lost and the disk still has is read from there; only what is gone from both is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from comet.log import Since
from comet.message import Position
from comet.topics import parse_patterns
from tests.fakes import EPOCH, FakeArchive, House, Subscriber


@pytest.fixture
def archive() -> FakeArchive:
    return FakeArchive()


@pytest.fixture
def house(archive: FakeArchive) -> House:
    """Ten messages were published on two topics by turns, of which memory has the newest two of each."""
    house = House(archive=archive, retain_messages=2)
    for number in range(1, 11):
        house.publish(("even" if number % 2 == 0 else "odd", str(number)))
    return house


def result(house: House, deferred: Deferred[Any]) -> Any:
    got: list[Any] = []
    deferred.addBoth(got.append)
    house.turn()
    assert got, "it has not fired"
    return got[0]


def read(house: House, *topics: str, since: Since, **wish: Any) -> Subscriber:
    subscriber = Subscriber(house, *topics, since=since, **wish)
    house.turn()
    return subscriber


def gaps(subscriber: Subscriber) -> list[tuple[str, str]]:
    return [(each["since"], each["until"]) for each in subscriber.read() if each.get("comet") == "gap"]


NUMBERS = [str(number) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("topics", "since", "wanted"),
    [
        (["**"], "first", NUMBERS),
        (["odd"], "first", NUMBERS[::2]),
        (["**"], Position(EPOCH, 3), NUMBERS[3:]),
        (["even"], Position(EPOCH, 3), NUMBERS[3::2]),
        (["**"], 5, NUMBERS[5:]),
        (["odd", "even"], 9, NUMBERS[1:]),
        (["odd"], 4, NUMBERS[2::2]),
        (["odd"], 400, NUMBERS[::2]),
        (["**"], "last", ["9", "10"]),
        (["**"], "now", []),
    ],
)
def test_history_is_whole(house: House, topics: Sequence[str], since: Since, wanted: Sequence[str]) -> None:
    """Wherever a reader begins, it gets everything that is on disk, and is told of no gap."""
    subscriber = read(house, *topics, since=since)
    assert subscriber.messages() == wanted
    assert gaps(subscriber) == []
    house.publish(("odd", "new"), ("even", "newer"))
    assert [text for text in subscriber.messages() if text.startswith("new")][:1] == (
        ["newer"] if topics == ["even"] else ["new"]
    )


def test_newest_messages_of_a_topic_that_is_added(house: House) -> None:
    """What the stream has not reached yet counts among them, as it will come anyway."""
    subscriber = read(house, "none", since="now")
    house.publish_only(("none", "1"))
    house.publish_only(("odd", "11"))
    subscriber.change("none", "odd", since=3)
    house.turn()
    assert subscriber.messages() == ["7", "9", "1", "11"]


def test_topic_that_memory_has_forgotten_is_in_a_snapshot(house: House) -> None:
    """The newest message of each topic is given even if memory has none of that topic."""
    house.publish(("quiet", "still here"))
    house.wait(3_700)
    assert house.router.log.count == 0
    assert sorted(read(house, "**", since="last").messages()) == ["10", "9", "still here"]
    assert read(house, "quiet", since="last").messages() == ["still here"]


def test_what_is_gone_from_the_disk_is_told(house: House, archive: FakeArchive) -> None:
    """A reader from before what the disk has is told of a gap, once; who asks for what there is is not."""
    archive.trim(4)
    subscriber = read(house, "**", since=Position(EPOCH, 2), limit=2)
    assert gaps(subscriber) == [(f"{EPOCH}-2", f"{EPOCH}-4")]
    assert subscriber.messages() == NUMBERS[4:]
    assert gaps(read(house, "**", since=Position(EPOCH, 4))) == []
    assert gaps(read(house, "**", since="first")) == []
    assert gaps(read(house, "**", since=8)) == []


def test_another_life_is_told(house: House, archive: FakeArchive) -> None:
    """A position of another epoch is a gap up to what the disk has, all of which follows."""
    archive.trim(3)
    subscriber = read(house, "**", since=Position("0" * 8, 7))
    assert gaps(subscriber) == [("00000000-7", f"{EPOCH}-3")]
    assert subscriber.messages() == NUMBERS[3:]


def test_what_is_lost_while_it_is_read_is_told(house: House, archive: FakeArchive) -> None:
    """Messages that go from the disk before a reader has come to them are a gap."""
    archive.holds = True
    subscriber = read(house, "**", since="first", limit=2)
    archive.release()
    house.clock.step()
    archive.trim(5)
    archive.holds = False
    archive.release()
    house.turn()
    assert subscriber.messages() == [*NUMBERS[:2], *NUMBERS[5:]]
    assert gaps(subscriber) == [(f"{EPOCH}-2", f"{EPOCH}-5")]


def test_readers_of_the_same_share_a_read(house: House, archive: FakeArchive) -> None:
    """A thousand clients that come back with one position cost the disk one read a page."""
    archive.holds = True
    subscribers = [Subscriber(house, "**", since="first") for _ in range(1_000)]
    house.turn()
    assert len(archive._held) == 1
    archive.release()
    archive.holds = False
    house.turn()
    assert all(subscriber.messages() == NUMBERS for subscriber in subscribers)


def test_who_goes_meanwhile_is_forgotten(house: House, archive: FakeArchive) -> None:
    """What comes from disk for a client that has gone is let go of."""
    archive.holds = True
    subscriber = read(house, "**", since="first")
    another = read(house, "odd", since=4)
    subscriber.leave()
    another.leave()
    archive.release()
    house.wait(1)
    assert house.left_behind() == {}


def test_new_topics_replace_what_is_on_its_way(house: House, archive: FakeArchive) -> None:
    """A stream whose topics change while it waits for the disk gets what it wants now, once."""
    archive.holds = True
    subscriber = read(house, "**", since="first")
    subscriber.change("odd", since="now")
    archive.holds = False
    archive.release()
    house.turn()
    assert subscriber.messages() == NUMBERS[::2]


@pytest.mark.parametrize("since", ["first", 9])
def test_disk_that_cannot_be_read_ends_the_stream(house: House, archive: FakeArchive, since: Since) -> None:
    """Nothing is passed over silently: the stream ends with a reason, and with the position to come back with."""
    archive.fails = True
    subscriber = read(house, "**", since=since)
    bye = subscriber.read()[-1]
    assert (bye["comet"], bye["reason"]) == ("bye", "store_failed")
    assert bye.get("position", f"{EPOCH}-0") == f"{EPOCH}-0"


def test_count_and_before_newest(house: House) -> None:
    """The history knows how many there are, and where the newest begin, on disk too."""
    history, odd = house.router.history, parse_patterns(["odd"])
    assert result(house, history.count("odd")) == 5
    assert [result(house, history.before_newest(odd, 10, count)) for count in (0, 1, 2, 3, 9)] == [10, 8, 6, 4, 0]
    assert [result(house, history.before_newest(odd, 6, count)) for count in (1, 2)] == [4, 2]
    memory = House()
    memory.publish(("odd", "1"))
    assert result(memory, memory.router.history.count("odd")) == 1
    assert result(memory, memory.router.history.count("even")) == 0
