"""``comet sub``: what it prints, and how it goes on."""

from __future__ import annotations

import json
import re
import signal
import time

from comet.commands.held import Line
from tests.comets import begun, comet, pub, sub
from tests.daemons import LONGEST, Daemon
from tests.stage import Stage


def streamed(*lines: object) -> bytes:
    """A response of the transport ``stream``."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    return head + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_control_characters(daemon: Daemon) -> None:
    """What a message would make a terminal do is shown instead of done; bytes that are no text are counted."""
    assert pub(daemon, "cli/control", "\x1b[2J\nx").code == 0
    assert sub(daemon, "cli/control", "--since", "first", "--count", "1").out == "cli/control  \\x1b[2J\\nx\n"


def test_refused_pattern(daemon: Daemon) -> None:
    """A pattern that is none is refused in the daemon's words."""
    ended = sub(daemon, "a//b")
    assert (ended.code, ended.err) == (1, "comet: 'a//b' is not a pattern: it has an empty segment\n")


def test_reconnects_by_its_cursor() -> None:
    """When the connection drops, the subscriber goes on after the last message it has seen."""
    first = streamed(
        {"comet": "open", "stream": "s", "position": "00000000-1", "silence": 25.0},
        {"id": "00000000-7", "topic": "a", "time": 1.0, "data": "one"},
    )
    second = streamed(
        {"comet": "open", "stream": "t", "position": "00000000-7", "silence": 25.0},
        {"comet": "gap", "since": "00000000-7", "until": "00000000-9"},
        {"id": "00000000-10", "topic": "a", "time": 2.0, "data": "two"},
    )
    with Stage(first, second) as stage:
        ended = comet("sub", "a", "b/*", "--count", "2", "--url", f"http://{stage.address}")
    assert (ended.code, ended.out) == (0, "a  one\na  two\n")
    assert stage.requests[0].startswith(b"GET /topics?topic=a&topic=b%2F%2A&transport=stream&since=now HTTP/1.1\r\n")
    assert b"&since=00000000-7 HTTP" in stage.requests[1]
    assert ended.err.splitlines() == [
        "comet: the connection was closed; reconnecting",
        "comet: connected again",
        "comet: messages after 00000000-7 up to 00000000-9 may be missing: "
        "the daemon no longer kept them; with --retain-messages and --retain-seconds it keeps more",
    ]


def test_comes_back_when_told() -> None:
    """A daemon that stops says when to come back, and the subscriber comes no earlier; then it tells what it missed."""
    first = streamed(
        {"comet": "open", "stream": "s", "position": "00000000-1", "silence": 25.0},
        {"comet": "bye", "reason": "shutdown", "retry": 700, "position": "00000000-3"},
    )
    second = streamed(
        {"comet": "open", "stream": "t", "position": "11111111-0", "silence": 25.0},
        {"comet": "gap", "since": "00000000-3", "until": "11111111-0"},
        {"id": "11111111-1", "topic": "a", "time": 2.0, "data": "two"},
    )
    began = time.monotonic()
    with Stage(first, second) as stage:
        ended = comet("sub", "a", "--count", "1", "--url", f"http://{stage.address}")
    assert time.monotonic() - began > 0.7
    assert b"&since=00000000-3 HTTP" in stage.requests[1]
    assert (ended.code, ended.out) == (0, "a  two\n")
    assert ended.err.splitlines() == [
        "comet: the daemon ended the stream; reconnecting",
        "comet: connected again",
        "comet: messages after 00000000-3 up to 11111111-0 may be missing: "
        "the daemon was started anew without them; with comet serve --replace it takes them over",
    ]


def test_gap_is_not_lost_with_the_connection() -> None:
    """A connection that is lost before the gap that it was to tell is made again from the same cursor."""
    opened = {"comet": "open", "stream": "s", "position": "11111111-5", "silence": 25.0}
    gap = {"comet": "gap", "since": "00000000-3", "until": "11111111-4"}
    message = {"id": "11111111-6", "topic": "a", "time": 2.0, "data": "x"}
    acts = [streamed(opened), streamed(opened, gap), streamed(opened), streamed(opened, message)]
    with Stage(*acts) as stage:
        ended = comet("sub", "a", "--count", "1", "--since", "00000000-3", "--url", f"http://{stage.address}")
    assert ended.code == 0
    assert [re.findall(rb"since=(\S+)", request)[0] for request in stage.requests] == [
        b"00000000-3",
        b"00000000-3",
        b"11111111-5",
        b"11111111-5",
    ]


def test_what_is_asked_for() -> None:
    """What was asked for is asked of the daemon below the path of its URL, as behind a proxy."""
    act = streamed({"id": "00000000-7", "topic": "a", "time": 1.0, "data": "one"})
    with Stage(act) as stage:
        url = f"http://{stage.address}/push/"
        ended = comet("sub", "$stats/**", "--count", "1", "--conflate", "--pace", "0.25", "--url", url)
    assert (ended.code, ended.out) == (0, "a  one\n")
    target = b"GET /push/topics?topic=%24stats%2F%2A%2A&transport=stream&since=now&conflate=1&pace=250 HTTP/1.1\r\n"
    assert stage.requests[0].startswith(target)


def test_refused_for_a_while() -> None:
    """Once it has been connected, a subscriber outlasts a proxy whose daemon is away; before, it says so and ends."""
    away = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    opened = streamed({"comet": "open", "stream": "s", "position": "00000000-1", "silence": 25.0})
    message = streamed({"id": "00000000-7", "topic": "a", "time": 1.0, "data": "one"})
    with Stage(opened, away, message) as stage:
        ended = comet("sub", "a", "--count", "1", "--url", f"http://{stage.address}")
    assert (ended.code, ended.out) == (0, "a  one\n")
    with Stage(away) as stage:
        ended = comet("sub", "a", "--url", f"http://{stage.address}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "the answer is 502 Bad Gateway" in ended.err


def test_statistics(daemon: Daemon) -> None:
    """The daemon's own figures can be watched like any topic."""
    shown = json.loads(sub(daemon, "$stats/daemon", "--count", "1", "--json").out)
    assert (shown["topic"], shown["data"]["draining"]) == ("$stats/daemon", False)


def test_interrupt(daemon: Daemon) -> None:
    """An interrupt from the keyboard ends a subscriber without a word."""
    with begun("sub", "cli/interrupt", "--since", "first", "--url", f"http://{daemon.http}/") as subscriber:
        assert pub(daemon, "cli/interrupt", "x").code == 0
        assert subscriber.stdout is not None
        assert subscriber.stderr is not None
        assert subscriber.stdout.readline() == "cli/interrupt  x\n"
        subscriber.send_signal(signal.SIGINT)
        assert subscriber.wait(LONGEST) == 130
        assert subscriber.stderr.read() == ""


def test_reader_that_leaves(daemon: Daemon) -> None:
    """So does the end of whoever reads its output."""
    with begun("sub", "cli/head", "--since", "first", "--url", f"http://{daemon.http}/") as subscriber:
        assert subscriber.stdout is not None
        assert subscriber.stderr is not None
        pub(daemon, "cli/head", "1")
        subscriber.stdout.readline()
        subscriber.stdout.close()
        pub(daemon, "cli/head", "2")
        assert subscriber.wait(LONGEST) == 0
        assert subscriber.stderr.read() == ""


def test_payload_of_a_line() -> None:
    """A subscriber gives back text, bytes and JSON as they were published."""
    decoded = [
        Line(data=json.dumps("h\u00e9").encode()),  # type: ignore[arg-type]
        Line(data64="AP8="),
        Line(data=b'{"a": 1}'),  # type: ignore[arg-type]
    ]
    assert [line.payload() for line in decoded] == ["h\u00e9".encode(), b"\x00\xff", b'{"a": 1}']
