"""``comet bench``: finding messages in the bytes of any transport, and telling what is wrong with them."""

from __future__ import annotations

import json
import resource
from argparse import Namespace
from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.commands.bench.latencies import Latencies
from comet.commands.bench.options import parsed, places_of, plan_of, raise_limit
from comet.commands.bench.payload import GAP, SMALLEST, START, Block, Blocks, Run, clock, fillers, head
from comet.commands.bench.publishers import messages
from comet.commands.bench.reports import Finished, Given, Opened, Outcome, Place, Plan, Published, Sample
from comet.commands.bench.result import Result
from comet.commands.bench.score import Score
from comet.commands.bench.sequences import Faults, Sequences
from comet.commands.bench.subscribers import Group, Lost, Subscriber, Target
from comet.commands.bench.ways import WAYS
from comet.control import Beat, Bye, Open
from comet.interfaces import Framing
from comet.message import Gap, Message, Page, Position
from comet.transports import BY_NAME, TRANSPORTS, Wishes
from tests.comets import comet
from tests.daemons import Ended

EPOCH = "5f0c1a2b"
SIZE = 60
STREAMS = [transport.name for transport in TRANSPORTS if transport.name != "poll"]


def bench(*arguments: str) -> Ended:
    """Run ``comet bench`` until it ends by itself."""
    return comet("bench", *arguments)


def payload(sequence: int, source: int = 0, sent: int = 7, size: int = SIZE) -> bytes:
    """The payload of a message."""
    rest = fillers(size)
    return head(source, sequence, sent) + rest[sequence % len(rest)]


def message(offset: int, sequence: int, source: int = 0) -> Message:
    """A message as the log has it."""
    return Message("bench/1/0", payload(sequence, source), "", 1790000000.0, offset)


def position(offset: int) -> Position:
    """The position of an offset."""
    return Position(EPOCH, offset)


def framing_of(name: str) -> Framing:
    """The framing of a transport, as the bench asks for it."""
    return BY_NAME[name].framing(Wishes(format=BY_NAME[name].formats[0]))


def written(name: str) -> bytes:
    """What a daemon writes on a stream: ``open``, two messages, a heartbeat, a gap in front of one, a gap alone."""
    framing = framing_of(name)
    gap = Gap(position(5), position(8))
    pieces = [framing.open(Open("stream", position(3), 25.0))]
    for page in (
        Page([message(4, 0), message(5, 1)], position(5)),
        None,
        Page([message(9, 5), message(10, 0, source=1)], position(10), gap),
        Page([], position(12), gap),
    ):
        if page is None:
            pieces.append(framing.control(Beat(position(5))))
            continue
        pieces.append(framing.page(page))
        framing = framing.after(page)
    return b"".join(pieces)


def read(name: str, pieces: Sequence[bytes]) -> tuple[list[Run], Block]:
    """What is read of ``pieces``, runs put together, and the last block that had a position."""
    blocks = Blocks(WAYS[name].signs, SIZE)
    runs: list[Run] = []
    rest, last = b"", Block()
    for piece in pieces:
        block = blocks.read(rest + piece)
        assert not block.damaged
        for run in block.runs:
            if runs and runs[-1][0] == run[0] != GAP and runs[-1][2] + 1 == run[1]:
                runs[-1] = (run[0], runs[-1][1], run[2])
            else:
                runs.append(run)
        rest = block.rest
        last = block if block.cursor else last
    return runs, last


def _byte(value: int) -> bytes:
    return bytes((value,))


# -- the payload ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_every_split_of_a_stream(name: str) -> None:
    """Wherever the network cuts a stream, the same messages, gaps and position are found in it."""
    data = written(name)
    expected = [(0, 0, 1), (GAP, 0, 0), (0, 5, 5), (1, 0, 0)]
    if name != "multipart":  # which owes a gap until it has a header to tell it in
        expected.append((GAP, 0, 0))
    for place in range(len(data)):
        runs, last = read(name, [data[:place], data[place:]])
        assert runs == expected, place
        assert last.cursor == (b"" if name == "multipart" else b"5f0c1a2b-10"), place


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_byte_by_byte(name: str) -> None:
    """However small the pieces are, nothing is missed."""
    data = written(name)
    (runs, last), (whole, last_whole) = (read(name, pieces) for pieces in ([*map(_byte, data)], [data]))
    assert (runs, last.cursor) == (whole, last_whole.cursor)


def test_position_of_what_is_complete() -> None:
    """A message that is cut does not move the position to which a subscriber comes back."""
    data = b"".join(
        b'{"id":"5f0c1a2b-%d","topic":"bench/1/0","time":1,"data":"%b"}\n' % (offset, payload(offset))
        for offset in (1, 2)
    )
    for place in range(data.index(payload(2)) + SIZE):
        block = Blocks(WAYS["stream"].signs, SIZE).read(data[:place])
        assert block.cursor == (b"5f0c1a2b-1" if payload(1) in data[:place] else b"")


def test_missing() -> None:
    """Of a large message that is cut it is known how much is to come, so that it is not looked at in between."""
    data = b'{"id":"5f0c1a2b-1","data":"%b"}\n' % payload(1, size=100_000)
    blocks = Blocks(WAYS["stream"].signs, 100_000)
    block = blocks.read(data[:65_536])
    assert block.rest == data[:65_536]
    assert len(block.rest) + block.missing == data.index(b'"}')
    assert blocks.read(data[: len(block.rest) + block.missing]).runs == [(0, 1, 1)]


def test_sent() -> None:
    """How many messages were sent at which tick of the clock is known."""
    data = b"\n".join((payload(0, sent=3), payload(1, sent=3), payload(2, sent=5))) + b"}\n"
    block = Blocks(WAYS["stream"].signs, SIZE).read(data)
    assert (block.sent, block.messages) == ([(3, 2), (5, 1)], 3)


@pytest.mark.parametrize(
    "wrong",
    [
        payload(4).replace(b"z", b"y"),
        payload(4)[:-1] + b"?",
        payload(4).replace(START, START + b"?", 1)[:SIZE],
        payload(4, size=SIZE - 1) + b'"',
    ],
)
def test_damaged(wrong: bytes) -> None:
    """A payload that is not as it was sent is counted, and not taken for a message."""
    block = Blocks(WAYS["stream"].signs, SIZE).read(b'{"data":"%b"}\n{"data":"%b"}\n' % (wrong, payload(5)))
    assert (block.damaged, block.messages, block.runs) == (1, 1, [(0, 5, 5)])


def test_when_to_come_back() -> None:
    """The delay of a ``bye`` is found, on every transport that says one."""
    for name in STREAMS:
        framing = framing_of(name)
        said = framing.control(Bye("draining", 3150, position(4)))
        block = Blocks(WAYS[name].signs, SIZE).read(said)
        assert block.retry == (3150 if said else 0), name
        opened = framing.open(Open("stream", position(3), 25.0))
        assert Blocks(WAYS[name].signs, SIZE).read(opened).retry == 0, name


def test_smallest() -> None:
    """The smallest payload has no filler, and is found as any other."""
    block = Blocks(WAYS["sse"].signs, SMALLEST).read(b"data: %b\n\n" % payload(3, size=SMALLEST))
    assert block.runs == [(0, 3, 3)]


def test_clock() -> None:
    """The clock does not go back, and its ticks are short."""
    ticks = [clock() for _ in range(100)]
    assert ticks == sorted(ticks)


# -- sequences --------------------------------------------------------------------------------------------------------


def faults_of(*runs: Run, total: int) -> Faults:
    """What is wrong with ``runs``, of a source that has sent ``total`` messages."""
    sequences = Sequences([0])
    sequences.take(list(runs))
    return sequences.end({0: total})


def test_in_order() -> None:
    """Where each message came once and in order, nothing is wrong."""
    assert faults_of((0, 0, 4), (0, 5, 5), total=6) == Faults()


@pytest.mark.parametrize(
    ("runs", "total", "faults"),
    [
        ([(0, 0, 1), (0, 4, 5)], 6, Faults(lost=2)),
        ([(0, 0, 1)], 6, Faults(lost=4)),
        ([], 3, Faults(lost=3)),
        ([(0, 0, 3), (0, 2, 3)], 4, Faults(twice=2)),
        ([(0, 0, 3), (0, 2, 5)], 6, Faults(twice=2)),
        ([(0, 1, 1), (0, 0, 0), (0, 2, 2)], 3, Faults(disordered=1)),
        ([(0, 0, 0), (0, 5, 5), (0, 2, 3), (0, 3, 3)], 6, Faults(lost=2, disordered=2, twice=1)),
        ([(7, 0, 2), (0, 0, 0)], 1, Faults(misrouted=3)),
        ([(0, 0, 0), (GAP, 0, 0), (0, 4, 4)], 5, Faults(gaps=1, skipped=3)),
        ([(0, 0, 0), (GAP, 0, 0)], 5, Faults(gaps=1, skipped=4)),
        ([(0, 0, 0), (GAP, 0, 0), (0, 1, 1), (0, 3, 3)], 4, Faults(gaps=1, lost=1)),
        ([(0, 0, 0), (GAP, 0, 0), (0, 2, 2), (0, 4, 4)], 5, Faults(gaps=1, skipped=1, lost=1)),
    ],
)
def test_faults(runs: list[Run], total: int, faults: Faults) -> None:
    """What is lost, repeated, out of order or for somebody else is counted; what a gap tells is not lost silently."""
    assert faults_of(*runs, total=total) == faults


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=4))
def test_any_order(order: list[int], again: list[int]) -> None:
    """However messages are shuffled and repeated, none of those that came counts as lost."""
    faults = faults_of(*((0, each, each) for each in [*order, *again]), total=8)
    assert (faults.lost, faults.twice) == (0, len(again))


def test_complete() -> None:
    """Everybody is waited for who has not everything."""
    sequences = Sequences([0, 1])
    sequences.take([(0, 0, 2)])
    assert sequences.complete({0: 3})
    assert not sequences.complete({0: 3, 1: 1})


# -- latencies --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_latencies(ticks: list[int]) -> None:
    """Shares of the latencies are right within one in a hundred, however they are put together."""
    parts = [Latencies(), Latencies()]
    for tick, number in zip(ticks, count(), strict=False):
        parts[number % 2].add({tick: 1})
    merged = Latencies().merge(parts)
    ordered = sorted(ticks)
    assert merged.maximum() == ordered[-1] / 1e5
    for share in (0.5, 0.99, 1.0):
        exact = next(value for place, value in enumerate(ordered, 1) if place >= share * len(ordered) - 1e-9)
        found = merged.quantile(share)
        assert found is not None
        assert exact * 0.99 <= found * 1e5 + 1e-6 <= exact + 1e-5


def test_no_latencies() -> None:
    """Of nothing there is no latency."""
    assert (Latencies().quantile(0.5), Latencies().maximum()) == (None, None)


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_ways() -> None:
    """Every transport of the daemon can be asked for."""
    assert set(WAYS) == set(BY_NAME)


def test_what_is_published() -> None:
    """Publishers send to the topics in turn, each message numbered within its topic, none of them with a key."""
    plan = Plan(TARGET, "x:1", ["a", "b"], 2, SIZE, 0.0, 32, 1.0, False)
    sent = [next_ for next_, _ in zip(messages(plan, 1), range(5), strict=False)]
    found = Blocks(WAYS["stream"].signs, SIZE).read(b"\n".join(each.payload for each in sent) + b"}\n")
    assert [each.topic for each in sent] == ["a", "b", "a", "b", "a"]
    assert sorted(found.runs) == [(2, 0, 2), (3, 0, 1)]
    assert {each.key for each in sent} == {""}
    keyed = messages(plan._replace(keys=True), 1)
    assert len({next(keyed).key for _ in range(100)}) == 100


TARGET = Target(2, ("127.0.0.1", 1), "h:1", "")


def test_spread() -> None:
    """Subscribers are spread over transports, topics and processes, so that each of them has its share."""
    options = parsed(
        ["--subscribers", "60", "--topics", "3", "--transports", "stream, sse", "--processes", "4", "--rate", "0"]
    )
    places = places_of(options)
    assert [len(each) for each in places] == [15, 15, 15, 15]
    together = [place for each in places for place in each]
    assert all(together.count(Place(way, topic)) == 10 for way in ("stream", "sse") for topic in range(3))
    assert len(places_of(parsed(["--subscribers", "2", "--processes", "9"]))) == 2


def test_window() -> None:
    """A publisher without a rate has few messages on their way, one with a rate as many as it takes."""
    assert plan_of(parsed(["--rate", "0"])).window == 32
    assert plan_of(parsed(["--rate", "9"])).window == 1000
    assert plan_of(parsed(["--rate", "9", "--window", "1"])).window == 1


def test_server() -> None:
    """Without ``--server``, the TCP port is sought where the HTTP port is."""
    assert parsed(["--url", "http://127.0.0.2:99/"]).server == "127.0.0.2:7081"
    assert parsed(["--url", "http://[::1]:99/"]).server == "[::1]:7081"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--transports", "stream,carrier"],
            "argument --transports: there is no transport 'carrier'; there are stream,",
        ),
        (["--subscribers", "0"], "argument --subscribers: '0' cannot be used: write a number from 1 to 1,000,000"),
        (["--rate", "fast"], "argument --rate: 'fast' cannot be used: write a number from 0 to "),
        (["--size", "10"], "argument --size: '10' cannot be used: write a number from 33 to "),
        (["--server", "7081"], "argument --server: '7081' cannot be used: write host:port, or "),
        (["--processes", "few"], "argument --processes: 'few' cannot be used: write a number from 1 to 256"),
        (["--topics", "1000000", "--publishers", "99"], "these are too many topics for so many publishers; ask "),
        (["--url", "https://127.0.0.1:1/"], "--url: its subscribers speak plain HTTP; give the daemon's own http:// "),
        (["--url", "http://127.0.0.1:1/"], "cannot reach http://127.0.0.1:1/: connection refused; start the daemon "),
    ],
)
def test_mistake(arguments: list[str], said: str) -> None:
    """A mistake is one line with a hint, and exit code 1."""
    ended = bench(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1), ended.err
    assert ended.err.startswith(f"comet bench: {said}")


def test_help() -> None:
    """``--help`` has an example."""
    ended = bench("--help")
    assert (ended.code, ended.err) == (0, "")
    assert "\n  comet bench --subscribers " in ended.out


def test_limit() -> None:
    """More subscribers than a process may have files open are refused, with what to do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = [[Place("stream", 0)] * hard]
    with pytest.raises(SystemExit) as ended:
        raise_limit(places)
    assert f"at most {hard:,} are allowed here; raise the limit (ulimit -Hn), or ask for --processes 2" in str(
        ended.value
    )
    assert "\n" not in str(ended.value)


# -- subscribers ------------------------------------------------------------------------------------------------------


def subscriber(way: str) -> Subscriber:
    """A subscriber that is not connected."""
    return Subscriber(Group(WAYS[way], TARGET, SIZE), "/topics/x", [0])


def test_nobody_there() -> None:
    """Who finds nobody is told so."""
    each = subscriber("stream")
    with pytest.raises(Lost, match="connection refused"):
        each.connect()
        each.ask()
    each.close()


# -- the result -------------------------------------------------------------------------------------------------------


def score(faults: Faults, busy: float = 0.1) -> Score:
    """What the processes of a small bench have said."""
    found = Score([[Place("stream", 0), Place("sse", 0)]], 1)
    latencies = Latencies()
    latencies.add({200: 10, 400: 10})
    found.take(0, Opened(1))
    assert (found.opened, found.all_open) == (1, False)
    found.take(0, Sample([], 2, 0.0))
    assert (found.opened, found.all_open) == (2, True)
    found.begin()
    given_ = [Given("stream", 10, 2000, latencies), Given("sse", 10, 2000, latencies)]
    found.take(0, Sample(given_, 2, found.begun + 2.0))
    found.take(1, Published(10))
    found.take(1, Finished({0: 10}, 2.0, 0.01))
    assert found.all_published
    found.take(0, Outcome({"stream": faults, "sse": Faults()}, busy))
    assert found.all_told
    return found


def result(faults: Faults, busy: float = 0.1, rate: float = 5.0) -> Result:
    """The result of a small bench."""
    options = Namespace(topics=1, size=100, rate=rate, publishers=1, seconds=2.0)
    stats = {"cpu": 0.5, "rates": {"seconds": 9.7}, "reactor_lag_max": 0.0123, "flush": {"p99": None}}
    return Result(options, [[Place("stream", 0), Place("sse", 0)]], score(faults, busy), stats)


def test_table() -> None:
    """The table has a row for each transport and one for all, and says what became of the messages."""
    assert list(result(Faults()).lines()) == [
        "transport  subs  msgs/s  MB/s  p50 ms   p99   max  lost  twice  order  gaps",
        "stream        1       5  0.00    2.00  4.00  4.00     0      0      0     0",
        "sse           1       5  0.00    2.00  4.00  4.00     0      0      0     0",
        "all           2      10  0.00    2.00  4.00  4.00     0      0      0     0",
        "",
        "published  10 messages of 100 B, 5/s, of 5/s asked for",
        "daemon     CPU 50 % (last 10 s), flush p99 –, lag max 12.3 ms",
        "bench      busy 10 % of the time, publishing 1 %",
        "messages   each came once and in order",
    ]


@pytest.mark.parametrize(
    ("faults", "code", "said"),
    [
        (Faults(lost=1), 1, "1 lost without a word"),
        (Faults(twice=2, disordered=3), 1, "2 came twice, 3 came out of order"),
        (Faults(damaged=4), 1, "4 came damaged"),
        (Faults(misrouted=5), 1, "5 came to the wrong subscriber"),
        (Faults(gaps=2, skipped=6), 0, "but for 6 that subscribers know"),
        (Faults(dropped=7), 0, "7 connections were cut off and made again"),
    ],
)
def test_verdict(faults: Faults, code: int, said: str) -> None:
    """What a daemon must never do is exit code 1; what it has told is not."""
    found = result(faults)
    assert found.code == code
    lines = list(found.lines())
    assert said in " ".join(line.strip() for line in lines)
    assert max(map(len, lines)) <= 79


def test_honest() -> None:
    """If the bench itself has no time to spare, it says that the figures are its own limit, and no daemon's."""
    assert any("subscribers were the bottleneck" in line for line in result(Faults(), busy=0.95).lines())
    assert any("rate was not reached" in line for line in result(Faults(), rate=50.0).lines())
    assert "bottleneck" not in "".join(result(Faults()).lines())


def test_figures() -> None:
    """The result as JSON has the rows of the table, and what the daemon said of itself."""
    figures = json.loads(json.dumps(result(Faults(lost=3)).figures()))
    assert [row["transport"] for row in figures["transports"]] == ["stream", "sse"]
    assert (figures["all"]["lost"], figures["all"]["p50"], figures["all"]["delivered"]) == (3, 0.002, 20)
    assert figures["daemon"]["cpu"] == 0.5
