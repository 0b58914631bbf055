"""Payloads that pretend to be what the daemon writes: SSE fields, parts of a multipart response, JSON lines, script.

Whoever may publish chooses the payload. On every transport it comes out as the payload of one message, as it went in,
for strict readers that were written from the specifications, and nothing of it is taken for anything else.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from tests.attacks.attacker import exchanged, push, request, statuses
from tests.daemons import Daemon
from tests.e2e.held import Held, connected, payload, publish, subscribe
from tests.framing_readers import SseEvent, SseParser

SSE = [
    "one\n\ndata: forged",
    "one\r\rdata: forged",
    'one\r\n\r\nevent: comet\ndata: {"comet":"bye"}',
    "\n\nid: 999-999\nretry: 1\ndata: forged\n\n",
    "\u2028data: forged\u2028",
    "\x85data: forged",
    ":comment\nevent: message",
    "data: data: ",
    "\n" * 1000,
    "\ufeffdata: forged",
    "\0",
]

LINES = ['one\n{"comet":"bye"}', '"}\n{"comet":"gap"}', "\r", "\\u000a", "\\", '\\"', "\u2029{}"]

PARTS = [
    "\r\n\r\n--X\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>",
    "\r\n--X--\r\n",
    "--X",
    '\r\nComet-Control: {"comet":"bye"}\r\n\r\n',
    "Content-Length: 0\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>",
]
"""``X`` stands for the boundary, which an attacker learns by subscribing."""

SCRIPTS = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<!-- --!> --> ]]>",
    "\\u003c/script\\u003e",
    "');alert(1);//",
    '");alert(1);//',
    '\\");alert(1);//',
    "`${alert(1)}`",
    "</title></textarea></style><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "\u2028alert(1)\u2029",
    "</ScRiPt \t\n>",
    "&lt;/script&gt;&#60;",
    '{"__proto__":{"polluted":1}}',
    "\ufeff</script>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "\x1b(J</script>",
]
"""The last two are script in UTF-7 and, for some, in ISO-2022-JP, if the charset were left open."""

HOSTILE = SSE + LINES + PARTS + SCRIPTS
TRANSPORTS = ("stream", "sse", "iframe", "mixed", "websocket", "poll")


def boundary_of(daemon: Daemon, transport: str) -> str:
    """The boundary, as any subscriber learns it."""
    with subscribe(daemon.http, f"/topics/quiet?transport={transport}", transport) as held:
        return held.header["content-type"].partition("boundary=")[2]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_injection_from_a_payload(daemon: Daemon, transport: str, topic: str) -> None:
    """Whatever is in the payloads, a subscriber has as many messages as were published, each as it was."""
    boundary = boundary_of(daemon, "mixed")
    wanted = [text.replace("--X", f"--{boundary}") for text in HOSTILE]
    for text in wanted:
        publish(daemon.http, topic, text)
    with subscribe(daemon.http, f"/topics/{topic}?transport={transport}&since=first", transport) as held:
        held.until_messages(len(wanted))
        assert [payload(message) for message in held.messages()] == wanted
        assert not held.controls("bye")
        assert not held.controls("gap")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_injection_from_json(daemon: Daemon, transport: str, topic: str) -> None:
    """JSON, which is copied as it is, forges nothing either: neither by its strings nor by its white space."""
    bodies = [b'{"a":1}\n', b'\n\n{"a":1}', b'{"a"\r\n:\r1}', b'["</script>\xe2\x80\xa8"]', b'"\\n\\ndata: forged"']
    for body in bodies:
        publish(daemon.http, topic, body, "application/json")
    with subscribe(daemon.http, f"/topics/{topic}?transport={transport}&since=first", transport) as held:
        held.until_messages(len(bodies))
        assert len(held.messages()) == len(bodies)
        assert not held.controls("bye")


@pytest.mark.parametrize("text", [*SSE, *PARTS, "one\ntwo", "one\r\ntwo\rthree"])
def test_sse_injection(daemon: Daemon, text: str, topic: str) -> None:
    """A raw payload on SSE is one event ``message`` under the daemon's own id: no field of it is a field of the
    event."""
    position = publish(daemon.http, topic, text)
    target = f"/topics/{topic}?transport=sse&format=raw&since=first"
    found = sse_events(daemon, target)
    assert found == [SseEvent("message", re.sub("\r\n|\r", "\n", text), position)]


def sse_events(daemon: Daemon, target: str) -> list[SseEvent]:
    """The events of a stream, without those of the daemon itself, up to the first."""
    parser = SseParser()
    with connected(daemon.http) as connection:
        push(connection, request("GET", target))
        head, body = b"", b""
        while not (end := head.find(b"\r\n\r\n") + 4) > 3:
            head += connection.recv(65_536)
        events = parser.feed(head[end:])
        while len(events) < 2:
            body = connection.recv(65_536)
            assert body
            events += parser.feed(body)
    assert events[0].type == "comet"
    return events[1:]


@pytest.mark.parametrize("text", PARTS)
def test_multipart_injection(daemon: Daemon, text: str, topic: str) -> None:
    """A payload with the boundary in it, which would make parts of its own in a stream of pictures, is left out of
    that stream and owed as a gap; what comes next is shown."""
    boundary = boundary_of(daemon, "multipart")
    target = f"/topics/{topic}?transport=multipart&conflate=0"
    with subscribe(daemon.http, target, "multipart") as held:
        publish(daemon.http, topic, text.replace("--X", f"--{boundary}"))
        publish(daemon.http, topic, "honest")
        held.until(lambda held: held.payloads()[-1:] == ["honest"], "what is honest")
        shown = held.payloads()
        assert shown in (["honest"], [text, "honest"])
        assert {message["type"] for message in held.messages()} == {"text/plain"}


@pytest.mark.parametrize("transport", ["multipart", "mixed"])
def test_part_headers(daemon: Daemon, transport: str, topic: str) -> None:
    """Topic and content type, which stand in the headers of parts, cannot make one: topics are percent-encoded, and a
    type is plain ASCII."""
    name = f'{topic}/é"; boundary=x; a: b %0d%0aX-Evil'
    with subscribe(daemon.http, f"/topics/{topic}/*?transport={transport}", transport) as held:
        publish(daemon.http, name.replace("%", "%25").replace(" ", "%20").replace('"', "%22"), "x", 'text/x; a="--b"')
        (message,) = held.until_messages(1) if transport == "mixed" else held.until(has_payload, "a part").messages()
        assert message["type"] == 'text/x; a="--b"'
        assert message.get("topic", name) == name


def has_payload(held: Held) -> bool:
    """Whether a part was shown."""
    return bool(held.messages())


class Elements(HTMLParser):
    """The elements of a document, and the text outside of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.comments = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_comment(self, data: str) -> None:
        self.comments += 1

    def handle_data(self, data: str) -> None:
        self.text += data if self.cdata_elem is None else ""


def test_script_injection_through_the_iframe(daemon: Daemon, topic: str) -> None:
    """In the document of the iframe transport there are the daemon's own scripts and nothing else, whatever was
    published: no element, attribute, comment or text of a payload."""
    for text in [*HOSTILE, "the end"]:
        publish(daemon.http, topic, text)
    with subscribe(daemon.http, f"/topics/{topic}?transport=iframe&since=first&limit=1", "iframe") as held:
        assert held.until_messages(len(HOSTILE) + 1)[-1]["data"] == "the end"
        csp = held.header["content-security-policy"]
        assert "default-src 'none'" in csp
        assert held.header["x-content-type-options"] == "nosniff"
        assert held.header["content-type"] == "text/html; charset=utf-8"
    document = document_of(daemon, f"/topics/{topic}?transport=iframe&since=first")
    reader = Elements()
    reader.feed(document)
    assert {tag for tag, _ in reader.elements} == {"meta", "script"}
    assert [attrs for tag, attrs in reader.elements if tag == "script" and attrs] == []
    assert reader.comments == 1, "the padding"
    assert not reader.text.strip()


def document_of(daemon: Daemon, target: str) -> str:
    """What comes of a document up to the message ``the end``."""
    with connected(daemon.http) as connection:
        push(connection, request("GET", target))
        data = b""
        while b"the end" not in data:
            more = connection.recv(65_536)
            assert more
            data += more
    return data.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize(
    "callback",
    ["alert(1)", "a;b", "a</script>", "a\u2028", "a b", "a[0]", "é", "a//", "a`b`", "(0,eval)", "", "a..b", "a" * 500],
)
def test_script_injection_through_the_callback(daemon: Daemon, callback: str) -> None:
    """The name of the callback, which is copied into a script, is a name and nothing else: there is no reflection."""
    answer = exchanged(
        daemon.http,
        request("GET", f"/topics/a?transport=iframe&callback={quote(callback)}", "Connection: close"),
    )
    assert statuses(answer) == [400]
    assert b"Content-Type: application/problem+json\r\n" in answer
