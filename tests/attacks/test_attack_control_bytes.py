r"""CR, LF and NUL in topics, ids, events and headers, on every way in: none comes out as a line of its own anywhere.

A value with a line break in it forges a header, an SSE field, a line of NDJSON or of the log for whoever copies it.
Everything that is copied anywhere is refused at the border if it has a control character.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.attacks.attacker import exchanged, published, push, request, rest_of, serves, statuses
from tests.attacks.frames import CLOSE, FINAL, frame, opened, text
from tests.daemons import Daemon
from tests.e2e.held import asked, asked_json, connected, publish

BREAKS = {
    "crlf": "\r\nX-Evil: 1",
    "lf": "\nX-Evil: 1",
    "cr": "\rX-Evil: 1",
    "null": "\0X-Evil: 1",
    "two": "\r\n\r\ndata: X-Evil",
    "del": "\x7fX-Evil",
    "nel": "\x85X-Evil: 1",
    "escape": "\x1b[2JX-Evil",
    "tab": "\tX-Evil",
}
"""By name. U+0085 ends a line for some readers, as ESC begins a command of the terminal that a log is read on."""


def is_clean(daemon: Daemon) -> bool:
    """Whether no line of the log was forged."""
    return not any(line.lstrip().startswith("X-Evil") or "\x1b" in line or "\0" in line for line in daemon.log)


@pytest.mark.parametrize("name", BREAKS)
def test_topics_in_a_path(daemon: Daemon, name: str) -> None:
    """A topic with a line break in it is nowhere to publish on, and nothing to subscribe to; nor does the refusal hold
    the line break."""
    target = f"/topics/evil{quote(BREAKS[name])}"
    for method in ("POST", "GET"):
        status, header, body = asked(daemon.http, method, target)
        assert status == 400
        assert "x-evil" not in header
        assert BREAKS[name] not in json.loads(body)["detail"]
    assert is_clean(daemon)


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize(
    "header",
    ["Content-Type", "Idempotency-Key", "Last-Event-ID", "Accept", "Origin", "Cookie", "X-Forwarded-For", "User-Agent"],
)
def test_headers(daemon: Daemon, header: str, name: str, topic: str) -> None:
    """A control character in a header is refused, whichever header that is, or is the end of that header for everybody:
    what follows then is a header that nobody has asked for."""
    for encoding in ("latin-1", "utf-8"):
        line = f"{header}: text/plain{BREAKS[name]}".encode(encoding)
        data = request("POST", f"/topics/{topic}", "Content-Length: 2", "Connection: close")
        answer = exchanged(daemon.http, data.replace(b"Connection", line + b"\r\nConnection", 1) + b"hi")
        assert b"\r\nX-Evil" not in answer
        if name not in ("crlf", "two", "tab"):
            assert statuses(answer) == [400]
    assert is_clean(daemon)


@pytest.mark.parametrize("name", BREAKS)
def test_messages_of_a_batch(daemon: Daemon, name: str) -> None:
    """No member of a message holds a control character where it would be copied into a header."""
    break_ = BREAKS[name]
    for forged in ({"topic": f"evil{break_}"}, {"type": f"text/plain{break_}"}, {"key": f"evil{break_}"}):
        body = json.dumps({"topic": "evil", "data": "x", **forged}).encode()
        for batch in (body, b"[%b]" % body):
            status, _, answer = asked(daemon.http, "POST", "/topics", batch)
            assert status == 400, answer
    assert published(daemon, "evil") == []


@pytest.mark.parametrize("name", BREAKS)
def test_messages_on_a_websocket(daemon: Daemon, name: str, topic: str) -> None:
    """The same holds for what a client publishes and subscribes to on a WebSocket."""
    break_ = BREAKS[name]
    forged = (
        {"publish": f"evil{break_}", "data": "x"},
        {"publish": "evil", "data": "x", "type": f"text/plain{break_}"},
        {"publish": "evil", "data": "x", "key": f"evil{break_}"},
        {"subscribe": [f"evil{break_}"]},
        {"subscribe": ["evil"], "since": f"now{break_}"},
    )
    with opened(daemon.http, topic) as (connection, _):
        push(connection, b"".join(map(text, forged)) + frame(FINAL | CLOSE))
        assert rest_of(connection).count(b'"comet":"error"') == len(forged)
    assert published(daemon, "evil") == []


def array(*words: bytes) -> bytes:
    """A command as RESP spells it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


@pytest.mark.parametrize("name", BREAKS)
def test_commands(daemon: Daemon, name: str) -> None:
    """Over RESP, where a topic may have any length and bytes, each is refused in one line of reply."""
    break_ = BREAKS[name].encode()
    commands = (
        array(b"PUBLISH", b"evil" + break_, b"x"),
        array(b"XADD", b"evil" + break_, b"*", b"data", b"x"),
        array(b"XADD", b"evil", b"*", b"data", b"x", b"type", b"text/plain" + break_),
        array(b"XADD", b"evil", b"*", b"data", b"x", b"key", b"evil" + break_),
        array(b"SUBSCRIBE", b"evil" + break_),
        array(b"PSUBSCRIBE", b"evil" + break_),
        array(b"XREAD", b"STREAMS", b"evil" + break_, b"0"),
        array(b"evil" + break_),
        array(b"ECHO" + break_, b"x"),
    )
    for command in commands:
        lines = exchanged(daemon.tcp, command + b"QUIT\r\n").split(b"\r\n")
        assert lines[0].startswith(b"-"), lines
        assert lines[1:] in ([b"+OK", b""], [b""]), lines
        assert not any(byte < 0x20 or byte == 0x7F for byte in lines[0])
    assert published(daemon, "evil") == []
    assert is_clean(daemon)


def test_client_names(daemon: Daemon) -> None:
    """A connection on the TCP port cannot give itself a name of several lines."""
    answer = exchanged(daemon.tcp, array(b"CLIENT", b"SETNAME", b"a\r\nevil") + b"QUIT\r\n")
    assert answer.startswith(b"-")


@pytest.mark.parametrize("name", BREAKS)
def test_names_that_are_kept(daemon: Daemon, name: str) -> None:
    """The names of consumers and hooks are kept, and shown later: they have no control character from the beginning."""
    break_ = BREAKS[name]
    hook = {"topic": "a", "url": "https://example.org/", "name": f"evil{break_}"}
    for target, body in (
        ("/hooks", hook),
        ("/hooks", {**hook, "name": "evil", "url": f"https://example.org/{break_}"}),
        ("/hooks", {**hook, "name": "evil", "topic": f"a{break_}"}),
    ):
        status, _, answer = asked(daemon.http, "POST", target, json.dumps(body).encode())
        assert status == 400, (body, answer)
    for target in (f"/consumers/evil{quote(break_)}?topic=a&wait=0", f"/hooks/evil{quote(break_)}"):
        status, _, answer = asked(daemon.http, "GET", target)
        assert status in (400, 404), answer
        assert break_ not in json.loads(answer)["detail"]
    assert is_clean(daemon)


PARAMETERS = ("since", "transport", "callback", "origin", "format", "padding", "token", "topic", "wait", "_")


@pytest.mark.parametrize("name", BREAKS)
def test_queries(daemon: Daemon, name: str) -> None:
    """No parameter of a query brings a line break into the header of the answer, or the log."""
    for parameter in PARAMETERS:
        target = f"/topics/quiet?wait=0&{parameter}=evil{quote(BREAKS[name])}"
        answer = exchanged(daemon.http, request("GET", target, "Connection: close"))
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert b"\nX-Evil" not in head, parameter
        assert b"\x1b" not in answer
    assert is_clean(daemon)


def test_redirects(daemon: Daemon) -> None:
    """A redirect of a page repeats nothing of the path but what was plain there."""
    for target in (
        "/demo%0d%0aX-Evil:1",
        "/demo?%0d%0aX-Evil:1",
        "//evil.example/%2e%2e",
        "/demo%2f..%2f..//evil.example",
    ):
        answer = exchanged(daemon.http, request("GET", target, "Connection: close"))
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert b"\nX-Evil" not in head
        assert b"location: //" not in head.lower()


def test_last_event_id(daemon: Daemon, topic: str) -> None:
    """A Last-Event-ID is a position and nothing else: it is never repeated as it came."""
    publish(daemon.http, topic, "one")
    for forged in ("a", "x-1", "1-2-3", "5f0c1a2b-1 data: evil", "-1e9", "9" * 300, "<script>", "first<"):
        target = f"/topics/{topic}?transport=poll&wait=0"
        answer = exchanged(daemon.http, request("GET", target, f"Last-Event-ID: {forged}", "Connection: close"))
        assert statuses(answer) == [400], forged
        assert b"Content-Type: application/problem+json\r\n" in answer


def test_nothing_of_it_in_what_is_told(daemon: Daemon, topic: str) -> None:
    """After all that, what the daemon says of its topics is of honest ones only."""
    serves(daemon, topic)
    found: dict[str, Any] = asked_json(daemon.http, "/stats/topics?limit=10000")
    assert not any("evil" in each["topic"].lower() for each in found["topics"])
    with connected(daemon.tcp) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
