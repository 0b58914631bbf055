"""A consumer's cursor is the daemon's affair: kept, moved by acknowledgements, and nothing before it comes again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from msgspec.msgpack import encode
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from comet.consumer import KIND, LOOKED_AT, Consumer, Kept
from comet.consumers import Consumers
from comet.errors import (
    BadAcknowledgement,
    BadName,
    BadSince,
    CometError,
    ConsumerExists,
    Draining,
    StoreFailed,
    TooManyConsumers,
    UnknownConsumer,
)
from comet.kept import Record
from comet.log import Since
from comet.message import Page, Position
from comet.polling import poll
from comet.topics import parse_patterns
from tests.fakes import EPOCH, FakeArchive, House


class Ward:
    """A house with consumers."""

    def __init__(self, **settings: Any) -> None:
        self.house = House(**settings)
        self.consumers = Consumers(self.house.router)
        self.consumers.start()

    def create(self, name: str, *topics: str, since: Since = "now", owner: str = "") -> Consumer:
        return done(self.consumers.create(name, parse_patterns(topics), since, owner))  # type: ignore[no-any-return]

    def read(self, consumer: Consumer, limit: int = 10) -> Page:
        reading = consumer.read(consumer.acked, limit, 0.0, "test")
        self.house.turn()
        return done(reading)  # type: ignore[no-any-return]

    def texts(self, consumer: Consumer) -> list[str]:
        return [message.payload.decode() for message in self.read(consumer).messages]

    def again(self) -> Consumers:
        """What another daemon would have, with the same records."""
        consumers = Consumers(self.house.router)
        consumers.start()
        return consumers


def done(deferred: Deferred[Any]) -> Any:
    """What it has fired with; raises what it has failed with."""
    got: list[Any] = []
    deferred.addBoth(got.append)
    assert got, "it has not fired"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


def refusal(deferred: Deferred[Any]) -> type[CometError]:
    with pytest.raises(CometError) as caught:
        done(deferred)
    return type(caught.value)


def at(offset: int) -> Position:
    return Position(EPOCH, offset)


@pytest.fixture
def ward() -> Ward:
    """Five messages were published."""
    ward = Ward()
    ward.house.publish(("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("b", "5"))
    return ward


@pytest.mark.parametrize(
    ("since", "wanted"),
    [
        ("now", []),
        ("first", ["1", "3", "4"]),
        ("last", ["4"]),
        (2, ["3", "4"]),
        (99, ["1", "3", "4"]),
        (at(1), ["3", "4"]),
    ],
)
def test_begins_where_it_is_told(ward: Ward, since: Since, wanted: list[str]) -> None:
    """A consumer's first reader begins at ``since``; where that is does not change with what is published later."""
    consumer = ward.create("c", "a", since=since)
    ward.house.publish(("a", "6"))
    assert ward.texts(consumer) == [*wanted, "6"]


def test_begins_with_everything_there_is() -> None:
    """Of topics that have lost messages everything that is retained comes, and the loss of before is no news; what is
    lost later is."""
    ward = Ward(retain_messages=2)
    ward.house.publish(("a", "1"), ("b", "2"), ("b", "3"), ("b", "4"))
    for since in ("first", 3):
        consumer = ward.create(f"c{since}", "a", "b", since=since)
        for each in (consumer, ward.again().found(consumer.name)):
            page = ward.read(each)
            assert ([message.offset for message in page.messages], page.gap) == ([1, 3, 4], None)
            assert each.described()["gap"] is False
    ward.house.publish(("b", "5"))
    page = ward.read(consumer)
    assert [message.offset for message in page.messages] == [1, 4, 5]
    assert page.gap is not None
    assert consumer.described()["gap"] is True


def test_redelivery_and_acknowledgement(ward: Ward) -> None:
    """What is not acknowledged comes again; an acknowledgement takes in everything before it."""
    consumer = ward.create("c", "**", since="first")
    assert ward.texts(consumer) == ward.texts(consumer) == ["1", "2", "3", "4", "5"]
    done(consumer.ack(at(3)))
    assert ward.texts(consumer) == ["4", "5"]
    done(consumer.ack(at(1)))
    assert ward.texts(consumer) == ["4", "5"]
    done(consumer.ack(at(5)))
    assert ward.texts(consumer) == []


@pytest.mark.parametrize("position", [at(6), Position("0" * 8, 2)])
def test_acknowledgement_of_nothing(ward: Ward, position: Position) -> None:
    """What is no position of the log is refused, and nothing moves."""
    consumer = ward.create("c", "**", since="first")
    with pytest.raises(BadAcknowledgement):
        done(consumer.ack(position))
    assert consumer.acked == at(0)


def test_next_daemon_goes_on(ward: Ward) -> None:
    """What was answered is kept: consumers, their topics, how far they are; and that one was removed."""
    done(ward.create("c", "a", "b", since="first").ack(at(3)))
    ward.create("hooked", "a", owner="hook")
    ward.create("gone", "a")
    done(ward.consumers.remove("gone"))
    consumers = ward.again()
    assert {each.name for each in consumers} == {"c", "hooked"}
    consumer = consumers.found("c")
    assert (consumer.acked, consumer.described()["topics"]) == (at(3), ["a", "b"])
    assert consumers.found("hooked").owner == "hook"


def test_only_what_is_kept_is_answered(ward: Ward) -> None:
    """Nobody is answered before the store has it; what waits meanwhile is written once."""
    consumer = ward.create("c", "**", since="first")
    ward.house.store.holds = True
    answered: list[int] = []
    for offset in range(1, 6):
        consumer.ack(at(offset)).addCallback(partial(_note, answered, offset))
    assert answered == []
    ward.house.store.release(1)
    assert answered == [1]
    assert len(ward.house.store._held) == 1
    ward.house.store.release(1)
    assert answered == [1, 2, 3, 4, 5]
    assert ward.again().found("c").acked == at(5)


def _note(answered: list[int], offset: int, _: None) -> None:
    answered.append(offset)


def test_store_that_fails(ward: Ward) -> None:
    """An acknowledgement that cannot be kept is refused and changes nothing, however often it comes; a consumer that
    cannot be kept is none; one that cannot be forgotten stays."""
    consumer = ward.create("c", "**", since="first")
    ward.house.store.fails = True
    for _ in range(2):
        with pytest.raises(StoreFailed):
            done(consumer.ack(at(2)))
        assert ward.texts(consumer) == ["1", "2", "3", "4", "5"]
    with pytest.raises(StoreFailed):
        ward.create("d", "a")
    with pytest.raises(StoreFailed):
        done(ward.consumers.remove("c"))
    assert {each.name for each in ward.consumers} == {each.name for each in ward.again()} == {"c"}
    ward.house.store.fails = False
    done(consumer.ack(at(2)))
    assert ward.again().found("c").acked == at(2)
    ward.create("d", "a")
    done(consumer.ack(at(3)))
    assert ward.again().found("c").acked == at(3)


def test_forgotten_for_good(ward: Ward) -> None:
    """An acknowledgement that waits for the store does not bring back what is deleted behind it."""
    consumer = ward.create("c", "**", since="first")
    ward.house.store.holds = True
    first, second = consumer.ack(at(1)), consumer.ack(at(2))
    removal = ward.consumers.remove("c")
    with pytest.raises(UnknownConsumer):
        ward.consumers.found("c")
    ward.house.store.holds = False
    ward.house.store.release()
    assert done(removal) is None
    assert done(first) is None
    assert refusal(second) is UnknownConsumer
    assert list(ward.consumers) == list(ward.again()) == []


def test_nothing_changes_while_a_successor_takes_over(ward: Ward) -> None:
    """What the successor would not know is refused, for the client to try again there; if it fails, all goes on."""
    consumer = ward.create("c", "**", since="first")
    done(ward.house.router.hold())
    assert refusal(consumer.ack(at(2))) is Draining
    assert refusal(ward.consumers.create("d", parse_patterns(["a"]), "now")) is Draining
    assert refusal(ward.consumers.remove("c")) is Draining
    ward.house.router.release()
    done(consumer.ack(at(2)))
    assert ward.again().found("c").acked == at(2)


def test_nothing_that_is_to_come_is_acknowledged(ward: Ward) -> None:
    """A place beyond the newest message would have what comes next go by; it is refused, and mended at the start."""
    assert refusal(ward.consumers.create("c", parse_patterns(["a"]), at(6))) is BadSince
    kept = Kept(["a"], EPOCH, 9, 0.0)
    done(ward.house.router.records.put(Record(KIND, "c", encode(kept))))
    consumer = ward.again().found("c")
    assert consumer.acked == at(5)
    ward.house.publish(("a", "6"))
    assert ward.texts(consumer) == ["6"]


def test_each_for_itself(ward: Ward) -> None:
    """Acknowledged one by one, the cursor goes as far as there is no hole."""
    consumer = ward.create("c", "a", since="first")
    messages = consumer.deliver(ward.read(consumer))
    assert [message.offset for message in messages] == [1, 3, 4]
    assert done(consumer.ack_each([3, 3, 17])) == 1
    assert (consumer.acked, list(consumer.pending)) == (at(0), [1, 4])
    assert done(consumer.ack_each([1])) == 1
    assert consumer.acked == at(3)
    assert done(consumer.ack_each([4])) == 1
    assert consumer.acked == at(5)
    assert done(consumer.ack_each([4])) == 0
    consumer.begin_again()
    assert (consumer.delivered, consumer.pending) == (at(5), {})


def test_each_for_itself_when_the_store_fails(ward: Ward) -> None:
    """What could not be kept is still to be acknowledged, and holds the place back."""
    consumer = ward.create("c", "a", since="first")
    consumer.deliver(ward.read(consumer))
    ward.house.store.fails = True
    with pytest.raises(StoreFailed):
        done(consumer.ack_each([1]))
    ward.house.store.fails = False
    assert (list(consumer.pending), consumer.acked) == ([1, 3, 4], at(0))
    assert (done(consumer.ack_each([3])), consumer.acked) == (1, at(0))
    assert (done(consumer.ack_each([1])), consumer.acked) == (1, at(3))


def test_each_and_all(ward: Ward) -> None:
    """What was acknowledged together need not be acknowledged one by one."""
    consumer = ward.create("c", "a", since="first")
    consumer.deliver(ward.read(consumer, limit=2))
    done(consumer.ack(at(4)))
    assert (consumer.pending, consumer.delivered) == ({}, at(4))
    assert done(consumer.ack_each([1, 3])) == 0


def test_refusals(ward: Ward) -> None:
    """A name can be taken once, must be one, and there is a limit."""
    patterns = parse_patterns(["a"])
    ward.create("c", "a")
    assert refusal(ward.consumers.create("c", patterns, "now")) is ConsumerExists
    for name in ("", "a/b", "a\nb", "ä" * 128):
        assert refusal(ward.consumers.create(name, patterns, "now")) is BadName
    done(ward.consumers.create("ä" * 127, patterns, "now"))
    with pytest.raises(UnknownConsumer):
        ward.consumers.found("d")
    few = Ward(max_consumers=1)
    few.create("c", "a")
    assert refusal(few.consumers.create("d", patterns, "now")) is TooManyConsumers


def test_two_at_once_do_not_take_one_name(ward: Ward) -> None:
    """While one is being made its name is taken."""
    ward.house.store.holds = True
    first = ward.consumers.create("c", parse_patterns(["a"]), "now")
    assert refusal(ward.consumers.create("c", parse_patterns(["a"]), "now")) is ConsumerExists
    settled = ward.consumers.settled("c")
    assert not settled.called
    ward.house.store.release()
    assert done(first).name == "c"
    assert settled.called
    assert ward.consumers.settled("c").called


def test_how_far_behind(ward: Ward) -> None:
    """One is told how many messages wait, for how long, and whether some are gone."""
    consumer = ward.create("c", "a", since="first")
    ward.house.wait(2)
    behind = consumer.described()["behind"]
    assert behind == {"messages": 3, "more": False, "offsets": 5, "seconds": 2.0}
    assert consumer.described()["gap"] is False
    ward.house.publish(*[("a", "x")] * LOOKED_AT)
    assert consumer.described()["behind"]["more"] is True
    assert consumer.described()["gap"] is True  # three of retention's thousand went
    done(consumer.ack(at(ward.house.router.log.end)))
    assert consumer.described()["behind"] == {"messages": 0, "more": False, "offsets": 0}


def test_what_is_on_disk_is_not_gone() -> None:
    """A consumer that is behind memory is not behind the disk."""
    ward = Ward(retain_messages=2, archive=FakeArchive())
    ward.house.publish(*[("a", str(number)) for number in range(5)])
    consumer = ward.create("c", "a", since="first")
    described = consumer.described()
    assert (described["gap"], described["behind"]["more"]) == (False, True)
    assert ward.texts(consumer) == list("01234")


def test_another_life(ward: Ward) -> None:
    """A cursor of another epoch is a gap, and then everything there is."""
    consumer = ward.create("c", "a", since=Position("0" * 8, 3))
    assert consumer.described()["gap"] is True
    page = ward.read(consumer)
    assert page.gap is not None
    rest = poll(ward.house.router, consumer.patterns, page.position, limit=10, transport="test")
    assert [message.offset for message in done(rest).messages] == [1, 3, 4]
    done(consumer.ack(at(1)))
    assert consumer.acked == at(1)


def test_who_has_it(ward: Ward) -> None:
    """One can ask whether a consumer is done with a message."""
    consumer = ward.create("c", "a", since="first")
    done(consumer.ack(at(3)))
    assert [consumer.has(at(offset)) for offset in (1, 3, 4)] == [True, True, False]
    assert not consumer.has(Position("0" * 8, 1))
    assert (consumer.wants("a"), consumer.wants("b")) == (True, False)
