"""Reading history on the TCP port: XREAD, XRANGE, XREVRANGE, XLEN, XINFO STREAM."""

from __future__ import annotations

from typing import Any

import pytest

from comet.message import Draft
from comet.resp import reading
from tests.fakes import EPOCH, FakeArchive
from tests.resp_reading import Refusal
from tests.resp_streams import Streams, at, entry, gap

OTHER = "0badcafe-7"
"""A position of another life of the log."""


def on_disk() -> Streams:
    """Of each topic memory keeps one message; the disk has all."""
    return Streams(FakeArchive(), retain_messages=1)


@pytest.fixture(params=["memory", "disk"])
def streams(request: pytest.FixtureRequest) -> Streams:
    """Five messages on three topics, wherever they are kept."""
    streams = Streams() if request.param == "memory" else on_disk()
    streams.publish(("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("b", "5"))
    return streams


# -- XREAD ------------------------------------------------------------------------------------------------------------


def test_each_topic_from_its_own_place(streams: Streams) -> None:
    """Topics come in the order in which they were asked for, each from behind its id; one without news is left out."""
    client = streams.connect()
    assert client.ask(f"XREAD STREAMS b a c 0 {at(1)} 0") == [
        [b"b", [entry(2, "2"), entry(5, "5")]],
        [b"a", [entry(3, "3"), entry(4, "4")]],
    ]
    assert client.ask(f"XREAD COUNT 1 STREAMS a b 0-0 {at(5)}") == [[b"a", [entry(1, "1")]]]
    assert client.ask("XREAD STREAMS a +") == [[b"a", [entry(4, "4")]]]


def test_resp3_has_maps(streams: Streams) -> None:
    """In RESP3 topics and entries are a map (read here as a flat list)."""
    client = streams.connect(3)
    assert client.ask(f"XREAD STREAMS a b {at(3)} 0") == [
        *(b"a", [entry(4, "4")]),
        *(b"b", [entry(2, "2"), entry(5, "5")]),
    ]
    assert client.ask("XREAD STREAMS a $") is None


def test_an_id_that_was_just_given_can_be_used(streams: Streams) -> None:
    """What XADD replies with is an id to read from, at once."""
    client = streams.connect()
    (position,) = client.send("XADD a * data 6 type text/plain")
    assert position == at(6).encode()
    assert client.ask(f"XREAD STREAMS a {at(5)}") == [[b"a", [[position, [b"data", b"6", b"type", b"text/plain"]]]]]
    assert client.ask(f"XRANGE a {at(6)} {at(6)}") == [[position, [b"data", b"6", b"type", b"text/plain"]]]


def test_waiting_for_a_message(streams: Streams) -> None:
    """A reader that waits is answered by the next message of any of its topics; what it sends meanwhile waits too."""
    client = streams.connect()
    assert client.send("XREAD BLOCK 0 STREAMS a b $ $", "PING") == []
    assert client.send("ECHO later") == []
    streams.publish(("c", "6"))
    assert client.arrived() == []
    streams.publish(("b", "7"), ("b", "8"))
    assert client.arrived() == [[[b"b", [entry(7, "7"), entry(8, "8")]]], "PONG", b"later"]
    assert streams.house.router.streams == {}


def test_now_is_behind_what_was_published_before(streams: Streams) -> None:
    """``$`` is the place in the connection's own order: an earlier publish of it is not waited for."""
    client = streams.connect()
    assert client.send("PUBLISH a 6", "XREAD BLOCK 0 STREAMS a $") == [0]
    streams.house.turn()
    assert client.arrived() == []
    streams.publish(("a", "7"))
    assert client.arrived() == [[[b"a", [entry(7, "7")]]]]


@pytest.mark.parametrize(("version", "null"), [(2, b"*-1\r\n"), (3, b"_\r\n")])
def test_waiting_no_longer_than_it_is_told(streams: Streams, version: int, null: bytes) -> None:
    """When the time is over, the reply is null."""
    client = streams.connect(version)
    assert client.send("XREAD BLOCK 2000 STREAMS a $") == []
    streams.house.wait(3)
    assert client.wire.taken() == null
    assert streams.house.router.streams == {}


def test_the_daemons_own_topics_can_be_read(streams: Streams) -> None:
    """Topics that begin with ``$`` are topics to read."""
    client = streams.connect()
    assert client.send("XREAD BLOCK 0 STREAMS $stats/daemon $") == []
    streams.house.router.report([Draft("$stats/daemon", b"{}")])
    streams.house.turn()
    assert client.arrived() == [[[b"$stats/daemon", [entry(6, "{}")]]]]


def test_a_long_reply_is_cut_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply has so many bytes; the rest comes with the next. Who is furthest behind comes first, so that a busy topic
    keeps nobody from the others."""
    monkeypatch.setattr(reading, "READ_BYTES", 100_000)
    streams, text = Streams(), "x" * 70_000
    streams.publish(("busy", text), ("quiet", "q"), *[("busy", text)] * 4)
    client, places, seen = streams.connect(), {"busy": "0", "quiet": "0"}, []
    while reply := client.ask(f"XREAD STREAMS {' '.join(places)} {' '.join(places.values())}"):
        seen.append({topic.decode(): len(entries) for topic, entries in reply})
        places |= {topic.decode(): entries[-1][0].decode() for topic, entries in reply}
    assert seen == [{"busy": 2}, {"quiet": 1, "busy": 2}, {"busy": 1}]


def test_reading_in_pages_makes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many entries are read in several turns of the reactor, and come as one reply."""
    monkeypatch.setattr(reading, "PAGE", 10)
    streams = Streams()
    streams.publish(*(("a", str(number)) for number in range(35)))
    client = streams.connect()
    assert client.send("XREAD COUNT 30 STREAMS a 0") == []
    streams.house.turn()
    (((_, entries),),) = client.arrived()
    assert [data for _, (_, data) in entries] == [b"%d" % number for number in range(30)]


# -- what is lost -----------------------------------------------------------------------------------------------------


def test_a_gap_is_an_entry() -> None:
    """Who was behind what is kept is told from where to where, in an entry with the id to go on from."""
    streams = Streams(retain_messages=2)
    streams.publish(*(("a", str(number)) for number in range(1, 6)))
    client = streams.connect()
    assert client.ask(f"XREAD STREAMS a {at(1)}") == [[b"a", [gap(at(1), 3), entry(4, "4"), entry(5, "5")]]]
    assert client.ask(f"XREAD STREAMS a {at(3)}") == [[b"a", [entry(4, "4"), entry(5, "5")]]]
    assert client.ask("XREAD STREAMS a 0") == [[b"a", [entry(4, "4"), entry(5, "5")]]]
    assert client.ask(f"XRANGE a {at(2)} +") == [gap(at(1), 3), entry(4, "4"), entry(5, "5")]
    assert client.ask("XRANGE a - +") == [entry(4, "4"), entry(5, "5")]
    assert client.ask(f"XREVRANGE a + {at(2)} COUNT 5") == [entry(5, "5"), entry(4, "4"), gap(at(1), 3)]
    assert client.ask(f"XREVRANGE a + {at(2)} COUNT 2") == [entry(5, "5"), entry(4, "4")]


def test_what_memory_has_lost_the_disk_has() -> None:
    """There is a gap only up to where the disk was trimmed."""
    streams = on_disk()
    streams.publish(*(("a", str(number)) for number in range(1, 6)))
    archive = streams.house.store.archive
    assert archive is not None
    archive.trim(2)
    client = streams.connect()
    assert client.ask(f"XREAD STREAMS a {at(1)}") == [
        [b"a", [gap(at(1), 2), entry(3, "3"), entry(4, "4"), entry(5, "5")]]
    ]
    assert client.ask("XREVRANGE a + - COUNT 2") == [entry(5, "5"), entry(4, "4")]
    assert client.ask("XLEN a") == 3


def test_an_id_of_another_life(streams: Streams) -> None:
    """After a restart without a store the log is another one: a gap, and then everything."""
    client = streams.connect()
    everything = [entry(1, "1"), entry(3, "3"), entry(4, "4")]
    assert client.ask(f"XREAD STREAMS a {OTHER}") == [[b"a", [gap(OTHER, 0), *everything]]]
    assert client.ask(f"XRANGE a {OTHER} +") == [gap(OTHER, 0), *everything]
    assert client.ask(f"XREVRANGE a + {OTHER} COUNT 1") == [entry(4, "4")]
    assert client.ask(f"XREVRANGE a + {OTHER} COUNT 9") == [*reversed(everything), gap(OTHER, 0)]
    assert "nothing ends there" in client.ask(f"XRANGE a - {OTHER}")


# -- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "offsets"),
    [
        ("- +", [1, 3, 4]),
        ("0 +", [1, 3, 4]),
        ("- + COUNT 2", [1, 3]),
        ("- + COUNT 0", []),
        (f"{at(3)} +", [3, 4]),
        (f"({at(3)} +", [4]),
        (f"- {at(3)}", [1, 3]),
        (f"- ({at(3)}", [1]),
        (f"({at(1)} ({at(4)}", [3]),
        (f"{at(2)} {at(2)}", []),
        (f"{at(4)} {at(1)}", []),
        ("+ +", []),
        ("- 0", []),
        (f"({at(5)} +", []),
    ],
)
def test_ranges(streams: Streams, bounds: str, offsets: list[int]) -> None:
    """A range is between two ids, with them unless a bracket says otherwise; the other way round it is the same
    entries, and COUNT takes them from there."""
    client = streams.connect()
    assert [offset_of(each) for each in client.ask(f"XRANGE a {bounds}")] == offsets
    first, last, *count = bounds.split(" ", 2)
    if not count:
        found = client.ask(f"XREVRANGE a {last} {first}")
        assert [offset_of(each) for each in found] == offsets[::-1]


def offset_of(found: list[Any]) -> int:
    """The offset of an entry."""
    return int(found[0].decode().removeprefix(f"{EPOCH}-"))


def test_the_newest_first(streams: Streams) -> None:
    """COUNT with XREVRANGE gives the newest."""
    client = streams.connect()
    assert client.ask("XREVRANGE a + - COUNT 1") == [entry(4, "4")]
    assert client.ask(f"XREVRANGE a ({at(4)} - COUNT 1") == [entry(3, "3")]
    assert client.ask(f"XREVRANGE a + {at(3)} COUNT 9") == [entry(4, "4"), entry(3, "3")]
    assert client.ask("XREVRANGE a + - COUNT 0") == []
    assert client.ask("XREVRANGE never + - COUNT 3") == []


def test_a_range_is_never_cut_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many entries, or bytes, are refused, with what to do."""
    monkeypatch.setattr(reading, "RANGE_BYTES", 100)
    streams = Streams(retain_messages=20_000)
    streams.publish(*(("a", "") for _ in range(10_001)), ("b", "x" * 200), ("b", "y"))
    client = streams.connect()
    assert "more than 100 bytes in one range; ask for fewer entries with COUNT" in client.ask("XRANGE b - +")
    assert len(client.ask("XRANGE b - + COUNT 1")) == 1
    monkeypatch.setattr(reading, "RANGE_BYTES", 1 << 30)
    assert "there are more than 10000 entries; ask for some of them with COUNT" in client.ask("XRANGE a - +")
    assert len(client.ask("XREVRANGE a + - COUNT 10000")) == 10_000
    assert "COUNT 10001: at most 10000" in client.ask("XRANGE a - + COUNT 10001")


def test_asking_about_a_topic(streams: Streams) -> None:
    """How many entries there are, the first and the last. Of a topic without any there is nothing to say."""
    client = streams.connect()
    assert client.ask("XLEN a") == 3
    assert client.ask("XLEN never") == 0
    told = client.ask("XINFO STREAM a")
    assert dict(zip(told[::2], told[1::2], strict=True)) == {
        b"length": 3,
        b"last-generated-id": at(4).encode(),
        b"groups": 0,
        b"first-entry": entry(1, "1"),
        b"last-entry": entry(4, "4"),
    }
    told = client.ask("XINFO STREAM never")
    assert dict(zip(told[::2], told[1::2], strict=True))[b"last-entry"] is None
    assert client.ask("XRANGE never - +") == []


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("XREAD STREAMS a", "wrong_arguments XREAD: 2 arguments, where at least 3 are wanted"),
        ("XREAD STREAMS a b 0", "STREAMS: topics and then as many ids are wanted, but there are 3 of both"),
        ("XREAD COUNT 1 BLOCK 5", "STREAMS is missing"),
        ("XREAD COUNT x STREAMS a 0", "COUNT 'x': a number is wanted"),
        ("XREAD COUNT -1 STREAMS a 0", "COUNT '-1': a number is wanted"),
        ("XREAD BLOCK -1 STREAMS a 0", "BLOCK '-1': a number is wanted"),
        ("XREAD NOACK STREAMS a 0", "'NOACK' where COUNT n, BLOCK ms or STREAMS was expected"),
        ("XREAD STREAMS a a 0 0", "a topic is there twice"),
        ("XREAD STREAMS a/* 0", "bad_topic 'a/*' is not a topic: it has a '*'"),
        ("XREAD STREAMS a//b 0", "bad_pattern 'a//b' is not a pattern: it has an empty segment"),
        ("XREAD STREAMS a b c d 0 0 0 0", "too_many_patterns 4 topics in one command; at most 3"),
        ("XREAD STREAMS a 15-0", "bad_since '15-0' is no id"),
        ("XREAD STREAMS a >", "bad_since '>' is no id: wanted is $ (from now on), 0 (from the beginning)"),
        ("XREAD STREAMS a now", "bad_since 'now' is no id"),
        ("XRANGE a - x", "bad_since 'x' is no id: wanted is -, +, or one like 5f0c1a2b-1042"),
        ("XRANGE a $ +", "bad_since '$' is no id"),
        ("XRANGE a - + LIMIT 3", "XRANGE: behind the ids there can only be COUNT n"),
        ("XREVRANGE a + - COUNT", "XREVRANGE: behind the ids there can only be COUNT n"),
        ("XRANGE a -", "wrong_arguments XRANGE: 2 arguments, where at least 3 are wanted"),
        ("XLEN", "wrong_arguments XLEN: 0 arguments, where 1 are wanted"),
        ("XLEN a*", "bad_topic"),
        ("XINFO STREAM", "wrong_arguments"),
        ("XINFO STREAM a FULL", "wrong_arguments XINFO STREAM: 3 arguments, where 2 are wanted"),
        ("XINFO CONSUMERS a g", "XINFO: no 'CONSUMERS' here; there are XINFO STREAM, XINFO GROUPS"),
        ("XTRIM a MAXLEN 3", "retention takes messages away"),
    ],
)
def test_what_is_refused(line: str, says: str) -> None:
    """A mistake is told with the way out, and the connection goes on."""
    streams = Streams(max_patterns=3)
    client = streams.connect()
    (refusal,) = client.send(line)
    assert isinstance(refusal, Refusal)
    assert says in refusal
    assert client.send("PING") == ["PONG"]


def test_a_topic_that_is_not_utf8(streams: Streams) -> None:
    """Bytes that are no topic are refused, not taken for another."""
    assert "it is not UTF-8" in streams.connect().ask('XLEN "\\xff"')


def test_a_disk_that_cannot_be_read() -> None:
    """Is said, and nothing is taken for the end."""
    streams = on_disk()
    streams.publish(("a", "1"), ("a", "2"))
    archive = streams.house.store.archive
    assert archive is not None
    archive.fails = True
    client = streams.connect()
    for line in ("XREAD STREAMS a 0", "XRANGE a - +", "XREVRANGE a + - COUNT 2", "XLEN a"):
        assert client.ask(line).startswith("ERR store_failed ")


def test_there_can_be_too_many_streams() -> None:
    """A reader that waits is a stream; beyond max-streams there is no other."""
    streams = Streams(max_streams=1)
    first, second = streams.connect(), streams.connect()
    first.send("XREAD BLOCK 0 STREAMS a $")
    assert second.ask("XREAD BLOCK 0 STREAMS a $").startswith("ERR too_many_streams ")
    first.lose()
    assert second.send("XREAD BLOCK 0 STREAMS a $") == []


def test_clients_find_the_topics_of_a_command() -> None:
    """COMMAND says where the topic stands, for client libraries that put a prefix before it."""
    client = Streams().connect()
    (rows,) = client.send("COMMAND")
    keys = {name.decode(): (arity, first, last, step) for name, arity, _, first, last, step, *_ in rows}
    assert keys["xrange"] == (-4, 1, 1, 1)
    assert keys["xadd"] == (-5, 1, 1, 1)
    assert keys["xread"] == (-4, 0, 0, 0)
    assert keys["publish"] == (3, 0, 0, 0)
