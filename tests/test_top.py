"""``comet top``: what its screen shows, and what it does when it cannot."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from comet.commands.amounts import age, aligned, duration, padded, rate, share, short, size
from comet.commands.dashboard import Screen, Shown, dashboard
from comet.commands.terminal import cells
from comet.commands.watch import Behind, Daemon, Flush, Rates, Stream, Topic
from tests.comets import comet
from tests.daemons import Daemon as Process
from tests.stage import Stage

DAEMON = Daemon(
    version="0.1.0",
    uptime=90_000.0,
    rates=Rates(published=1234.5, published_bytes=123_456.0, delivered=412_000.0, delivered_bytes=41_200_000.0),
    cpu=0.874,
    memory=85_100_000,
    flush=Flush(p50=0.000123, p99=0.0042),
    reactor_lag=0.0012,
    reactor_lag_max=0.0305,
    gaps=3,
    slow=12,
    refused={"bad_topic": 2, "too_large": 10},
    subscriptions={"stream": 1000, "sse": 12},
    reading=12,
    stuck=2,
    retained=12_345,
    retained_bytes=1_200_000,
    topics=341,
)
TREATMENT = (
    "dropped in 48 s unless it reads (stall); then given pages as it reads, told a gap if it falls out of retention"
)


def topics(count: int) -> list[Topic]:
    """Busy topics."""
    return [Topic(f"auction/{number}", 99.5 - number, 9950.0, 1000, number) for number in range(count)]


def streams(count: int) -> list[Stream]:
    """Slow streams."""
    return [
        Stream(
            "websocket", f"192.0.2.1:{number}", ["news/**"], 1, "stuck", Behind(1000, 5_000_000, True), 12.3, TREATMENT
        )
        for number in range(count)
    ]


def screen(
    width: int = 80,
    height: int = 24,
    *,
    state: str = "live",
    daemon: Daemon = DAEMON,
    busy: list[Topic] | None = None,
    slow: list[Stream] | None = None,
) -> list[str]:
    """The lines of the screen, which have to fit."""
    shown = Shown("http://127.0.0.1:7080/", state, daemon, topics(20) if busy is None else busy, slow or [])
    lines = dashboard(shown, Screen(width, height))
    assert len(lines) < height
    assert max(map(cells, lines)) < width
    return lines


def test_screen() -> None:
    """On a terminal of 80 by 24, there is everything that one looks for first."""
    assert screen(slow=streams(5)) == [
        "Comet 0.1.0   http://127.0.0.1:7080/   up 1 d 1 h                          live",
        "",
        "in        1.23k/s  123 kB/s   subscribers  1,012   memory  85.1 MB",
        "out       412k/s   41.2 MB/s  live         1,000   CPU     87 %",
        "retained  12.3k    1.20 MB    reading      10      lag     1.20 ms, max 30.5 ms",
        "topics    341                 stuck        2       flush   123 µs, p99 4.20 ms",
        "by transport  stream 1,000   sse 12",
        "so far        gaps 3   slow 12   stalled 0",
        "refused       too_large 10   bad_topic 2",
        "",
        "BUSIEST TOPICS                             in      bytes  retained  subscribers",
        "auction/0                              99.5/s  9.95 kB/s     1,000            0",
        "auction/1                              98.5/s  9.95 kB/s     1,000            1",
        "auction/2                              97.5/s  9.95 kB/s     1,000            2",
        "auction/3                              96.5/s  9.95 kB/s     1,000            3",
        "auction/4                              95.5/s  9.95 kB/s     1,000            4",
        "auction/5                              94.5/s  9.95 kB/s     1,000            5",
        "",
        "SLOW STREAMS, 2 of 12",
        "websocket  192.0.2.1:0  stuck for 12 s  1,000+ behind (5.00 MB)  news/**",
        "  dropped in 48 s unless it reads (stall); then given pages as it reads, told …",
        "websocket  192.0.2.1:1  stuck for 12 s  1,000+ behind (5.00 MB)  news/**",
        "  dropped in 48 s unless it reads (stall); then given pages as it reads, told …",
    ]


def test_larger_screen() -> None:
    """A larger terminal shows more topics, more streams, and more of each."""
    small, large = screen(slow=streams(20)), screen(120, 40, slow=streams(20))
    assert sum("auction/" in line for line in large) > sum("auction/" in line for line in small)
    assert sum("websocket" in line for line in large) > sum("websocket" in line for line in small)
    assert any(line.endswith(TREATMENT) for line in large)
    assert len(screen(200, 80, slow=streams(20))) == 9 + 1 + 21 + 1 + 41


@pytest.mark.parametrize("width", [20, 79, 80, 200])
def test_any_screen(width: int) -> None:
    """However few lines there are, the screen is not higher; however many, the rest is not wider."""
    for height in range(2, 60):
        for slow in (0, 1, 20):
            screen(width, height, slow=streams(slow))


def test_quiet() -> None:
    """Where nothing happens, the screen says so in words."""
    lines = screen(daemon=Daemon(), busy=[])
    assert "nothing is published" in lines
    assert any(line.endswith("nobody is subscribed") for line in lines)
    assert any(line == "refused       nothing" for line in lines)
    assert lines[-2:] == ["SLOW STREAMS", "nobody"]


def test_state() -> None:
    """The state of the connection is at the right end of the first line, and so is that the daemon is draining."""
    assert screen(state="disconnected, trying again")[0].endswith("  disconnected, trying again")
    assert screen(daemon=msgspec.structs.replace(DAEMON, draining=True))[0].endswith("  draining")


def test_nothing_for_the_terminal() -> None:
    """What a terminal would obey is replaced wherever it stands, and the columns stay in line."""
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\n"
    lines = screen(
        100,
        busy=[Topic(f"a{evil}b", 1.0, 1.0, 1, 1), Topic("c", 1.0, 1.0, 1, 1)],
        slow=[Stream(evil, evil, [evil], 1, evil, Behind(), None, evil)],
        daemon=msgspec.structs.replace(DAEMON, version=evil, subscriptions={evil: 1}, refused={evil: 1}),
        state=f"off{evil}",
    )
    assert not any(each in "".join(lines) for each in "\x1b\x07\x9b\u202e\r\n")
    first, second = (line for line in lines if line.endswith("1            1"))
    assert len(first) == len(second)


def test_wide_letters() -> None:
    """Letters that take two columns are counted so."""
    lines = screen(busy=[Topic("日本" * 40, 1.0, 1.0, 1, 1), Topic("é", 1.0, 1.0, 1, 1)])
    first, second = (line for line in lines if line.endswith("1            1"))
    assert cells(first) == cells(second)


# -- amounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (short(0), "0"),
        (short(999), "999"),
        (short(999.6), "1.00k"),
        (short(12_345), "12.3k"),
        (short(0.5), "0.50"),
        (rate(1_234_567), "1.23M/s"),
        (size(0), "0 B"),
        (size(4_100_000), "4.10 MB"),
        (duration(None), "–"),
        (duration(0), "0 ms"),
        (duration(0.0000304), "30.4 µs"),
        (duration(0.0012), "1.20 ms"),
        (duration(0.9996), "1.00 s"),
        (duration(75), "75.0 s"),
        (age(59.9), "59 s"),
        (age(3_600), "1 h 0 min"),
        (age(90), "1 min 30 s"),
        (age(90_000), "1 d 1 h"),
        (share(0.875), "88 %"),
        (padded("日本", 3), "日…"),
        (padded("abc", 5), "abc  "),
    ],
)
def test_amounts(text: str, expected: str) -> None:
    """Amounts have three digits and a unit."""
    assert text == expected


def test_aligned() -> None:
    """Words are on the left of their columns, numbers on the right."""
    assert aligned([["name", "n"], ["日本", "10"], ["a", "1"]]) == ["name   n", "日本  10", "a      1"]


# -- the command ------------------------------------------------------------------------------------------------------


def streamed(*lines: object) -> bytes:
    """A response of the transport ``stream``."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    return head + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def report(name: str, value: Any) -> dict[str, Any]:
    """A message that the daemon publishes of itself."""
    return {"id": "5f0c1a2b-1", "topic": f"$stats/{name}", "time": 1.0, "data": value}


def test_in_a_pipe(daemon: Process) -> None:
    """In a pipe, each look is a line of JSON with all that the daemon publishes of itself."""
    ended = comet("top", "--url", f"http://{daemon.http}/", "--count", "2")
    assert (ended.code, ended.err) == (0, "")
    looks = [json.loads(line) for line in ended.out.splitlines()]
    assert len(looks) == 2
    for look in looks:
        assert look["connected"]
        assert look["age"] < 3
        assert set(Daemon.__struct_fields__) <= set(look["daemon"])
        assert look["daemon"]["subscriptions"]["stream"] >= 1
        assert isinstance(look["topics"], list)
        assert isinstance(look["streams"], list)
    assert looks[1]["daemon"]["time"] >= looks[0]["daemon"]["time"]


def test_what_is_asked(daemon: Process) -> None:
    """One stream is all that it holds, and of each topic it wants the newest only."""
    look = json.loads(comet("top", "--url", f"http://{daemon.http}/", "--count", "1").out)
    assert look["daemon"]["connections"]["http"] >= 1
    with Stage(
        streamed(report("daemon", {}), report("topics", {"topics": []}), report("streams", {"streams": []}))
    ) as stage:
        comet("top", "--url", f"http://{stage.address}/push/", "--count", "1")
    [request] = stage.requests
    assert request.startswith(
        b"GET /push/topics?topic=%24stats%2F%2A%2A&transport=stream&since=now&conflate=1 HTTP/1.1\r\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "none"], "comet top: argument --count: 'none' cannot be used: write a whole number above 0; see "),
        (["--url", "127.0.0.1"], "comet top: argument --url: '127.0.0.1' cannot be used: write a URL such as http://"),
        (["--url", "http://u:pw@h/"], "comet top: argument --url: a name or password in a URL is not used: write "),
        (["--url", "http://127.0.0.1:1/"], "comet top: cannot watch http://127.0.0.1:1/: connection refused; start "),
    ],
)
def test_mistake(arguments: list[str], said: str) -> None:
    """A mistake, or nobody there, is one line with a hint, and exit code 1."""
    ended = comet("top", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(said)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<html>", "--url takes the HTTP port of Comet"),
        (b"+PONG\r\n", "that is not HTTP"),
        (streamed("no object"), "what came is no stream of Comet"),
        (
            b'HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n{"code":"forbidden","detail":"not for you"}',
            "not for you",
        ),
    ],
)
def test_another_server(act: bytes, said: str) -> None:
    """What is no Comet, or one that refuses, is said in one line."""
    with Stage(act) as stage:
        ended = comet("top", "--url", f"http://{stage.address}/", "--count", "1")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1), ended.err
    assert said in ended.err
