"""How subscriptions stand, and the daemon's own messages about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comet.errors import BadTopic
from comet.message import Draft
from comet.stats.standing import COUNTED, Standing, Wanted, treatment
from comet.topics import check_topic
from comet.transports import TRANSPORTS
from tests.fakes import FakeWriter, House, Subscriber
from tests.web_faces import Face, Wire

EVERYBODY = Wanted(100)
NOT_BEHIND = {"messages": 0, "bytes": 0, "more": False}


def stuck(house: House, *topics: str, **wishes: Any) -> Subscriber:
    """A client that has not taken the message that it was just given, nor anything since."""
    client = Subscriber(house, *topics, writer=FakeWriter(400), **wishes)
    client.writer.room = 0
    client.router.report([Draft(topics[0].replace("*", "x"), b"the one that is stuck")])
    house.turn()
    assert client.router.is_stuck(client.subscription)
    return client


def standing(house: House, wanted: Wanted = EVERYBODY, slowest: bool = True) -> list[Any]:
    """What is listed."""
    listing = Standing(house.router, house.clock)
    found: list[Any] = []
    (listing.slowest if slowest else listing.oldest)(wanted).addCallback(found.extend)
    house.turn()
    return found


# -- how far behind ---------------------------------------------------------------------------------------------------


def test_behind_are_the_messages_of_its_own_patterns() -> None:
    """Others do not count, nor does what it was given."""
    house = House()
    stuck(house, "a", "b/*")
    house.publish(("a", "12345"), ("b/1", "1"), ("b/1/2", "no"), ("c", "no"))
    (found,) = standing(house)
    assert found["behind"] == {"messages": 2, "bytes": 6, "more": False}


def test_what_is_no_longer_retained_is_not_behind() -> None:
    """It cannot be given any more: that is a gap."""
    house = House(retain_messages=3)
    stuck(house, "a")
    house.publish(*[("a", "x")] * 10)
    (found,) = standing(house)
    assert found["behind"]["messages"] == 3


def test_large_messages_count_like_small_ones() -> None:
    """A page ends with a few of them; what is retained is all of them."""
    house = House()
    stuck(house, "a")
    house.publish(*[("a", "x" * 50_000)] * 20)
    (found,) = standing(house)
    assert found["behind"] == {"messages": 20, "bytes": 1_000_000, "more": False}


@pytest.mark.parametrize("pattern", ["a", "*", "**"])
def test_the_count_has_a_bound(pattern: str) -> None:
    """A client that is far behind costs no more to look at, and it is said that there is more."""
    house = House(retain_messages=100_000)
    stuck(house, pattern)
    house.publish(*[("a", "x")] * (COUNTED + 500))
    (found,) = standing(house)
    assert found["behind"] == {"messages": COUNTED, "bytes": COUNTED, "more": True}


def test_a_bound_also_holds_where_little_matches() -> None:
    """A pattern that hardly anything matches is not looked for in the whole log."""
    house = House(retain_messages=100_000)
    stuck(house, "rare/*")
    house.publish(("rare/1", "x"), *[("a", "x")] * 50_000)
    (found,) = standing(house)
    assert found["behind"] == {"messages": 1, "bytes": 1, "more": True}


def test_history_that_is_still_to_be_read_is_behind() -> None:
    """A client that asked for it has not been given it."""
    house = House()
    house.publish(("a", "1"), ("a", "2"), ("b", "3"))
    client = stuck(house, "c")
    client.change("a", "b", "c", since="first")
    (found,) = standing(house)
    assert found["behind"]["messages"] == 3
    client.change("a", "c")
    (found,) = standing(house)
    assert found["behind"]["messages"] == 2


def test_a_snapshot_that_is_still_to_be_read_is_behind() -> None:
    """Of that only the newest message of each topic."""
    house = House()
    house.publish(("a", "1"), ("a", "2"), ("b", "3"))
    client = stuck(house, "c")
    client.change("a", "b", "c", since="last")
    (found,) = standing(house)
    assert found["behind"]["messages"] == 2


def test_a_client_that_waits_for_its_pace_is_live() -> None:
    """And behind by what it will be given."""
    house = House()
    Subscriber(house, "a", pace=10.0)
    house.publish(("a", "12"))
    house.publish(("a", "34"))
    (found,) = standing(house, slowest=False)
    assert (found["state"], found["pace"]) == ("live", 10_000)
    assert found["behind"]["messages"] <= 2
    house.wait(11)
    (found,) = standing(house, slowest=False)
    assert found["behind"] == NOT_BEHIND


# -- which, and in which order ----------------------------------------------------------------------------------------


def test_the_slowest_in_front() -> None:
    """By messages, then by bytes, then by how long it has taken nothing."""
    house = House()
    stuck(house, "b")
    house.wait(1)
    for topic in "cad":
        stuck(house, topic)
    Subscriber(house, "a")
    house.publish(("a", "1"), ("a", "2"), ("d", "123"))
    found = standing(house)
    assert [each["patterns"] for each in found] == [["a"], ["d"], ["b"], ["c"]]
    assert [each["stuck"] for each in found] == [0.0, 0.0, 1.0, 0.0]


def test_a_client_that_has_gone_is_not_listed() -> None:
    """Though it was when the list was begun."""
    house = House()
    clients = [stuck(house, "a"), stuck(house, "a")]
    listing = Standing(house.router, house.clock)
    found: list[Any] = []
    listing.slowest(Wanted(10)).addCallback(found.extend)
    clients[0].leave()
    house.turn()
    assert len(found) == 1


def test_no_more_than_wanted() -> None:
    """Of many that are slow the slowest."""
    house = House()
    for number in range(100):
        stuck(house, f"a/{number}")
    house.publish(("a/70", "x"), ("a/30", "x"), ("a/30", "x"))
    found = standing(house, Wanted(2))
    assert [each["patterns"] for each in found] == [["a/30"], ["a/70"]]


def test_reading_is_another_state_than_stuck() -> None:
    """A client that takes what it is given, but has not had everything, is not in danger."""
    house = House()
    client = stuck(house, "a")
    house.publish(*[("a", "x" * 1000)] * 300)
    client.drain()
    (found,) = standing(house, Wanted(9, "reading"), slowest=False)
    assert found["behind"]["messages"] > 100
    assert "stuck" not in found
    assert not found["treatment"].startswith("dropped")


@pytest.mark.parametrize(
    ("conflate", "seconds", "said"),
    [
        (False, None, "given pages as it reads, told a gap if it falls out of retention"),
        (
            True,
            None,
            "given only the newest message of each topic as it reads, told a gap if it falls out of retention",
        ),
        (
            False,
            19.0,
            "dropped in 41 s unless it reads (stall); then given pages as it reads, told a gap if it falls out of "
            "retention",
        ),
        (
            False,
            61.0,
            "dropped in 0 s unless it reads (stall); then given pages as it reads, told a gap if it falls out of "
            "retention",
        ),
    ],
)
def test_treatment(conflate: bool, seconds: float | None, said: str) -> None:
    """In words, since the numbers alone say nothing about what will become of it."""
    assert treatment(conflate, seconds, 60.0) == said


# -- $stats -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def face() -> Face:
    """A daemon in memory."""
    return Face()


def stream(face: Face, target: str) -> Wire:
    """A client that holds a response open."""
    wire = face.connect()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return wire


def told(wire: Wire) -> list[Any]:
    """The messages that came on a stream since the last time."""
    return [json.loads(line) for line in wire.take().splitlines() if b'"topic"' in line]


def seconds(face: Face, count: int) -> None:
    """Let seconds pass."""
    for _ in range(count):
        face.clock.pump([0.25] * 4)
        face.clock.pump([0] * 10)


def test_nothing_is_reported_to_nobody(face: Face) -> None:
    """Neither without subscribers nor with those of other topics, wildcards among them."""
    stream(face, "/topics/**?transport=stream")
    stream(face, "/topics/$stats/nothing?transport=stream")
    seconds(face, 5)
    assert face.router.log.count == 0


def test_the_daemon_reports_each_second(face: Face) -> None:
    """What it says is what ``/stats`` says; it counts no publishing; and it stops with the last subscriber."""
    wire = stream(face, "/topics/$stats/daemon?transport=stream")
    seconds(face, 3)
    messages = told(wire)
    assert [message["topic"] for message in messages] == ["$stats/daemon"] * 3
    stats = face.ask("GET", "/stats").json()
    assert stats.keys() == messages[-1]["data"].keys()
    assert messages[-1]["data"]["subscriptions"] == {"stream": 1}
    assert (stats["published"], face.metrics.published_bytes) == (0, 0)
    assert stats["delivered"]["stream"] == 3
    wire.leave()
    seconds(face, 3)
    assert face.router.log.count == 3


def test_a_pattern_gets_all_reports(face: Face) -> None:
    """Also through a wildcard; those that nobody wants are not made."""
    wires = [stream(face, f"/topics/$stats/{end}?transport=stream") for end in ("**", "topics")]
    face.publish("a", "12")
    face.publish("a", "34")
    seconds(face, 1)
    every, topics = map(told, wires)
    assert [message["topic"] for message in every] == ["$stats/daemon", "$stats/topics", "$stats/streams"]
    assert [message["topic"] for message in topics] == ["$stats/topics"]
    assert every[2]["data"] == {"streams": []}
    seconds(face, 1)
    face.publish("a", "5")
    seconds(face, 1)
    message = told(wires[1])[-1]
    (busy,) = message["data"]["topics"]
    assert (busy["topic"], busy["published"], busy["retained"], busy["subscribers"]) == ("a", 1.0, 3, 0)


def test_slow_streams_are_reported(face: Face) -> None:
    """With what becomes of each; those that are live are not among them."""
    wire = stream(face, "/topics/$stats/streams?transport=stream")
    slow = stream(face, "/topics/a?transport=sse")
    slow.fill()
    face.publish("a", "1")
    face.publish("a", "2")
    seconds(face, 2)
    (found,) = told(wire)[-1]["data"]["streams"]
    (listed,) = face.ask("GET", "/stats/streams?state=stuck").json()["streams"]
    assert listed.keys() == found.keys()
    assert (listed["stream"], listed["behind"], listed["state"]) == (found["stream"], found["behind"], "stuck")
    assert (found["transport"], found["behind"]["messages"]) == ("sse", 1)


def test_reports_are_history(face: Face) -> None:
    """They are retained, and who comes back is given them."""
    wire = stream(face, "/topics/$stats/daemon?transport=stream")
    seconds(face, 3)
    first, _, _ = told(wire)
    again = face.ask("GET", f"/topics/$stats/daemon?since={first['id']}&wait=0").json()
    assert len(again["messages"]) == 2


@pytest.mark.parametrize("transport", [row.name for row in TRANSPORTS if row.name != "websocket"])
def test_reports_come_over_every_transport(face: Face, transport: str) -> None:
    """As any message does."""
    wire = stream(face, f"/topics/$stats/daemon?transport={transport}")
    seconds(face, 1)
    assert b"uptime" in wire.take()


@pytest.mark.parametrize("topic", ["$stats", "$stats/daemon", "$other"])
def test_nobody_else_publishes_there(face: Face, topic: str) -> None:
    """What stands under ``$stats`` is the daemon's word."""
    assert face.ask("POST", f"/topics/{topic}", b"{}").json()["code"] == "bad_topic"
    with pytest.raises(BadTopic):
        check_topic(topic)


def test_a_store_that_fails_is_no_trouble(face: Face) -> None:
    """The report is left out, and the next ones come."""
    wire = stream(face, "/topics/$stats/daemon?transport=stream")
    face.store.fails = True
    seconds(face, 2)
    face.store.fails = False
    seconds(face, 1)
    assert len(told(wire)) == 1


def test_a_daemon_on_its_way_out_reports_no_more(face: Face) -> None:
    """Nor is anything left to be called."""
    stream(face, "/topics/$stats/**?transport=stream")
    seconds(face, 1)
    before = face.router.log.count
    face.router.stop()
    seconds(face, 3)
    assert face.router.log.count == before
