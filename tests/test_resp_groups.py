"""Groups on the TCP port: acknowledged consumers, as XREADGROUP and XACK know them."""

from __future__ import annotations

from typing import Any

import pytest

from comet.topics import parse_patterns
from tests.fakes import FakeArchive, Subscriber
from tests.resp_reading import Refusal
from tests.resp_streams import Reader, Streams, at, entry, gap


@pytest.fixture(params=["memory", "disk"])
def streams(request: pytest.FixtureRequest) -> Streams:
    """A group that has read nothing, of a topic with three messages."""
    streams = Streams() if request.param == "memory" else Streams(FakeArchive(), retain_messages=1)
    streams.publish(("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"))
    assert streams.connect().send("XGROUP CREATE a g 0") == ["OK"]
    return streams


def read(client: Reader, options: str = "", after: str = ">", group: str = "g") -> Any:
    """The reply to an XREADGROUP."""
    return client.ask(f"XREADGROUP GROUP {group} me {options} STREAMS a {after}")


def offsets(reply: Any) -> list[int]:
    """The offsets of the entries of one topic."""
    ((topic, entries),) = reply
    assert topic == b"a"
    return [int(position.split(b"-")[1]) for position, _ in entries]


def acked(streams: Streams, name: str = "g") -> int:
    """How far a group has acknowledged."""
    return streams.consumers.found(name).acked.offset


# -- reading and acknowledging ----------------------------------------------------------------------------------------


def test_reading_what_is_new(streams: Streams) -> None:
    """``>`` gives what was not delivered yet, once."""
    client = streams.connect()
    assert read(client, "COUNT 2") == [[b"a", [entry(1, "1"), entry(3, "3")]]]
    assert read(client) == [[b"a", [entry(4, "4")]]]
    assert read(client) is None
    assert acked(streams) == 0


def test_acknowledging_one_by_one(streams: Streams) -> None:
    """The place goes on as far as nothing is missing; how many were acknowledged is replied."""
    client = streams.connect()
    read(client)
    assert client.ask(f"XACK a g {at(3)} {at(3)} {at(2)} {at(9)} 0badcafe-1") == 1
    assert acked(streams) == 0
    assert client.ask(f"XACK a g {at(1)}") == 1
    assert acked(streams) == 3
    assert client.ask(f"XACK a g {at(1)} {at(4)}") == 1
    assert acked(streams) == 4


def test_who_comes_is_given_what_is_not_acknowledged(streams: Streams) -> None:
    """A new connection begins behind what was acknowledged: messages come again, none is left out."""
    first, second = streams.connect(), streams.connect()
    assert offsets(read(first)) == [1, 3, 4]
    first.ask(f"XACK a g {at(1)} {at(4)}")
    first.lose()
    assert offsets(read(second, "COUNT 1")) == [3]
    assert offsets(read(second)) == [4]


def test_there_is_one_reader_at_a_time(streams: Streams) -> None:
    """Who comes takes over, and who waited is told. Nothing of what the two were given counts as acknowledged."""
    first, second = streams.connect(), streams.connect()
    assert offsets(read(first)) == [1, 3, 4]
    assert first.send("XREADGROUP GROUP g me BLOCK 0 STREAMS a >") == []
    assert offsets(read(second, "COUNT 1")) == [1]
    (refusal,) = first.arrived()
    assert refusal.startswith("ERR replaced another reader has come, and the group 'g' has one at a time")
    streams.publish(("a", "5"))
    assert second.ask(f"XACK a g {at(1)} {at(5)}") == 1
    assert acked(streams) == 1
    assert offsets(read(first)) == [3, 4, 5]


def test_the_second_comes_while_the_first_waits_for_the_disk() -> None:
    """What arrives for the first then is not taken as delivered."""
    archive = FakeArchive()
    streams = Streams(archive, retain_messages=1)
    streams.publish(("a", "1"), ("a", "2"), ("a", "3"))
    first, second = streams.connect(), streams.connect()
    first.send("XGROUP CREATE a g 0")
    archive.holds = True
    assert first.send("XREADGROUP GROUP g me STREAMS a >") == []
    assert second.send("XREADGROUP GROUP g me STREAMS a >") == []
    archive.release()
    streams.house.turn()
    (refusal,) = first.arrived()
    assert refusal.startswith("ERR replaced ")
    assert offsets(second.arrived()[0]) == [1, 2, 3]
    assert second.ask(f"XACK a g {at(3)}") == 1
    assert acked(streams) == 0


def test_what_was_delivered_and_is_not_acknowledged(streams: Streams) -> None:
    """An id instead of ``>`` gives that again, as Redis clients ask at their start; to a new connection it is nothing,
    because ``>`` will give it everything."""
    client = streams.connect()
    assert read(client, after="0") == [[b"a", []]]
    read(client)
    client.ask(f"XACK a g {at(3)}")
    assert offsets(read(client, after="0")) == [1, 4]
    assert offsets(read(client, "COUNT 1", after="0-0")) == [1]
    assert offsets(read(client, after=at(1))) == [4]
    assert read(client, after=at(4)) == [[b"a", []]]
    other = streams.connect()
    assert read(other, after="0") == [[b"a", []]]
    assert offsets(read(other)) == [1, 3, 4]


def test_waiting(streams: Streams) -> None:
    """BLOCK waits for the next message, and no longer than it is told."""
    client = streams.connect()
    read(client)
    assert client.send("XREADGROUP GROUP g me BLOCK 0 STREAMS a >") == []
    streams.publish(("b", "5"), ("a", "6"))
    assert offsets(client.arrived()[0]) == [6]
    assert client.send("XREADGROUP GROUP g me BLOCK 1000 STREAMS a >") == []
    streams.house.wait(2)
    assert client.arrived() == [None]
    assert client.ask(f"XACK a g {at(6)} {at(1)} {at(3)} {at(4)}") == 4
    assert acked(streams) >= 6


def test_without_acknowledging(streams: Streams) -> None:
    """NOACK has acknowledged what it delivers; if that cannot be kept, it was not delivered."""
    client = streams.connect()
    assert offsets(read(client, "NOACK COUNT 2")) == [1, 3]
    assert acked(streams) == 3
    streams.house.store.fails = True
    assert read(client, "NOACK").startswith("ERR store_failed ")
    streams.house.store.fails = False
    assert offsets(read(client, "NOACK")) == [4]
    assert offsets_left(client) == 0


def offsets_left(client: Reader) -> int:
    """How many entries are delivered and not acknowledged."""
    count: int = client.ask("XPENDING a g")[0]
    return count


def test_an_acknowledgement_that_cannot_be_kept(streams: Streams) -> None:
    """Is refused, and can be repeated."""
    client = streams.connect()
    read(client)
    streams.house.store.fails = True
    assert client.ask(f"XACK a g {at(1)}").startswith("ERR store_failed ")
    assert acked(streams) == 0
    streams.house.store.fails = False
    assert client.ask(f"XACK a g {at(1)}") == 1
    assert acked(streams) == 2  # the message at 2 is of another topic


def test_a_gap_is_told() -> None:
    """A group whose messages are gone is told so, in front of what is left."""
    streams = Streams(retain_messages=2)
    client = streams.connect()
    client.send("XGROUP CREATE a g $")
    streams.publish(*(("a", str(number)) for number in range(1, 5)))
    assert read(client) == [[b"a", [gap(at(0), 2), entry(3, "3"), entry(4, "4")]]]
    assert client.ask(f"XACK a g {at(2)} {at(3)} {at(4)}") == 2
    assert acked(streams) == 4


def test_within_a_transaction(streams: Streams) -> None:
    """Acknowledgements can be sent as a transaction, which client libraries do with a pipeline."""
    client = streams.connect()
    read(client)
    client.send("MULTI", f"XACK a g {at(1)}", f"XACK a g {at(3)}", "XREADGROUP GROUP g me BLOCK 0 STREAMS a >")
    assert client.ask("EXEC") == [1, 1, None]
    assert acked(streams) == 3


# -- making, forgetting, asking ---------------------------------------------------------------------------------------


def test_where_a_group_begins(streams: Streams) -> None:
    """Now, at the beginning, or behind an id."""
    client = streams.connect()
    assert client.send("XGROUP CREATE a now $ MKSTREAM", f"XGROUP CREATE a behind {at(3)}") == ["OK", "OK"]
    streams.publish(("a", "5"))
    assert offsets(read(client, group="now")) == [5]
    assert offsets(read(client, group="behind")) == [4, 5]


def test_a_group_is_a_consumer(streams: Streams) -> None:
    """HTTP's consumers of that one topic are groups, and the other way round; those of others are not."""
    for name, topics in (("web", ["a"]), ("two", ["a", "b"]), ("all", ["**"])):
        streams.consumers.create(name, parse_patterns(topics), "first")
    streams.consumers.create("hooked", parse_patterns(["a"]), "first", owner="hook")
    client = streams.connect()
    assert offsets(read(client, group="web")) == [1, 3, 4]
    for name in ("two", "all", "hooked", "nobody"):
        assert read(client, group=name).startswith(f"NOGROUP no_group there is no group '{name}' of 'a'; XGROUP CREATE")
    told = client.ask("XINFO GROUPS a")
    assert [group[1] for group in told] == [b"g", b"web"]


def test_http_takes_a_group_over(streams: Streams) -> None:
    """A reader over HTTP ends one that waits here."""
    client = streams.connect()
    read(client)
    client.send("XREADGROUP GROUP g me BLOCK 0 STREAMS a >")
    streams.consumers.found("g").seat(Subscriber(streams.house, "a").subscription)
    (refusal,) = client.arrived()
    assert refusal.startswith("ERR replaced ")


def test_a_group_that_is_forgotten(streams: Streams) -> None:
    """Who waits as a group that is destroyed is told; then it can be made anew."""
    client, other = streams.connect(), streams.connect()
    read(client)
    assert client.send("XREADGROUP GROUP g me BLOCK 0 STREAMS a >") == []
    assert other.send("XGROUP DESTROY b g", "XGROUP DESTROY a g", "XGROUP DESTROY a g") == [0, 1, 0]
    (refusal,) = client.arrived()
    assert refusal.startswith("NOGROUP ")
    assert client.ask(f"XACK a g {at(1)}").startswith("NOGROUP ")
    assert other.send("XGROUP CREATE a g 0") == ["OK"]
    assert offsets(read(client)) == [1, 3, 4]


def test_asking_about_a_group(streams: Streams) -> None:
    """How much was delivered and not acknowledged, and how much was not delivered yet."""
    client = streams.connect()
    assert client.ask("XPENDING a g") == [0, None, None, None]
    read(client, "COUNT 2")
    assert client.ask("XPENDING a g") == [2, at(1).encode(), at(3).encode(), [[b"me", b"2"]]]
    (told,) = client.ask("XINFO GROUPS a")
    described = dict(zip(told[::2], told[1::2], strict=True))
    lag = described.pop(b"lag")
    assert lag in (1, None)  # what is not in memory is not counted
    assert described == {
        b"name": b"g",
        b"consumers": 1,
        b"pending": 2,
        b"last-delivered-id": at(3).encode(),
        b"entries-read": None,
    }
    assert client.ask("XINFO GROUPS b") == []
    assert b"groups" in client.ask("XINFO STREAM a")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("XGROUP CREATE a g 0", "BUSYGROUP consumer_exists there is a consumer 'g' already"),
        ("XGROUP CREATE b g 0", "BUSYGROUP consumer_exists "),
        ("XGROUP CREATE a x/y 0", "ERR bad_name "),
        ("XGROUP CREATE a h never", "ERR bad_since 'never' is no id"),
        (f"XGROUP CREATE a h {at(99)}", "ERR bad_since "),
        ("XGROUP CREATE a* h 0", "ERR bad_topic "),
        ("XGROUP CREATE a h 0 NOW", "behind the id there can only be MKSTREAM"),
        ("XGROUP CREATE a h", "XGROUP CREATE: 3 arguments, where at least 4 are wanted"),
        ("XGROUP SETID a g 0", "XGROUP: no 'SETID' here; there are XGROUP CREATE, XGROUP DESTROY"),
        ("XREADGROUP g me STREAMS a > x y z", "XREADGROUP: first comes GROUP"),
        ("XREADGROUP GROUP g me STREAMS a b > >", "a group has one topic"),
        ("XREADGROUP GROUP g me STREAMS b >", "NOGROUP no_group there is no group 'g' of 'b'"),
        ("XREADGROUP GROUP g me STREAMS a $", "bad_since XREADGROUP: '$' is neither '>' nor the id of an entry, nor 0"),
        ("XREADGROUP GROUP g me STREAMS a +", "bad_since XREADGROUP: '+' is neither"),
        ("XREADGROUP GROUP g me COUNT x STREAMS a >", "COUNT 'x': a number is wanted"),
        ("XACK a g nine", "bad_since 'nine' is not a position"),
        ("XACK a nobody 0badcafe-1", "NOGROUP "),
        ("XPENDING a nobody", "NOGROUP "),
        ("XPENDING a g - + 10", "XPENDING: 5 arguments, where 2 are wanted"),
        ("XCLAIM a g me 0 1-0", "a group has one reader"),
    ],
)
def test_what_is_refused(streams: Streams, line: str, says: str) -> None:
    """A mistake is told with the way out, and the connection goes on."""
    client = streams.connect()
    (refusal,) = client.send(line)
    assert isinstance(refusal, Refusal)
    assert says in refusal
    assert client.send("PING") == ["PONG"]


def test_not_more_than_can_be_remembered(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never acknowledges is given no more at some point."""
    monkeypatch.setattr("comet.resp.groups.MOST_PENDING", 2)
    client = streams.connect()
    assert offsets(read(client)) == [1, 3]
    assert "2 entries are not acknowledged; XACK some of them first" in read(client)
    client.ask(f"XACK a g {at(1)}")
    assert offsets(read(client)) == [4]
