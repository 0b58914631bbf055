"""``/topics``: subscribing over each transport of HTTP, and publishing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from comet.message import Position
from tests.framing_readers import READERS, Object, Reader
from tests.http_wires import Face, Response, Wire, asking, get, position, post, read_head, read_responses

STREAMS = {
    "stream": "application/x-ndjson",
    "sse": "text/event-stream",
    "iframe": "text/html",
    "multipart": "multipart/x-mixed-replace",
    "mixed": "multipart/mixed",
}
MANDATORY = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


@pytest.fixture
def face() -> Face:
    """A daemon in memory, that serves others than programs of this machine, too (HTTP/1.0 is never one of these)."""
    return Face(anonymous=("publish:**", "subscribe:**"))


class Held:
    """A client of a stream, which understands what it reads."""

    def __init__(self, face: Face, transport: str, query: str = "", *lines: str, version: str = "1.1") -> None:
        self.wire: Wire = face.held(get(f"/topics/a/*?transport={transport}{query}", *lines, version=version))
        self.response, self.first = read_head(self.wire.take())
        self._reader: Reader = READERS[transport](self.response.headers["content-type"])
        self._objects = self._reader.feed(self.first)

    def read(self) -> list[Object]:
        """All that came."""
        self._objects += self._reader.feed(self.wire.take())
        return self._objects

    def data(self) -> list[Any]:
        """The data of each message."""
        return [
            found["payload"].decode() if "payload" in found else found["data"]
            for found in self.read()
            if _message(found)
        ]

    def gaps(self) -> list[Object]:
        """Each gap that was told."""
        return [found for found in self.read() if found.get("comet") == "gap"]


def _message(found: Object) -> bool:
    return "payload" in found or "data" in found


def polled(response: Response) -> list[Any]:
    """The data of each message of a poll's answer."""
    assert response.status == 200
    return [message["data"] for message in response.json()["messages"]]


# -- subscribing: streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_begins_at_once(face: Face, transport: str, version: str) -> None:
    """With a head that keeps proxies from collecting it, of a body that ends with the connection."""
    held = Held(face, transport, version=version)
    headers = held.response.headers
    assert held.response.status == 200
    assert headers["content-type"].split(";")[0] == STREAMS[transport]
    assert MANDATORY.items() <= headers.items()
    assert headers["connection"] == "close"
    assert not {"content-length", "transfer-encoding"} & set(headers)
    assert held.first
    assert not held.wire.closed
    assert len(face.router.streams) == 1
    assert face.metrics.subscribed == {transport: 1}


@pytest.mark.parametrize("transport", STREAMS)
def test_messages_come_as_they_are_published(face: Face, transport: str) -> None:
    """In order, each in the turn in which it is published, and only those that match."""
    held = Held(face, transport)
    for number in range(3):
        face.publish("b/1", b"no")
        face.publish(f"a/{number}", b"%d" % number)
        assert held.data() == [str(each) for each in range(number + 1)]


@pytest.mark.parametrize("transport", STREAMS)
def test_history_comes_before_what_is_new(face: Face, transport: str) -> None:
    """In pages as small as it is asked for, without a hole or a repetition between."""
    for number in range(5):
        face.publish(f"a/{number}", b"%d" % number)
    held = Held(face, transport, "&since=first&limit=2&conflate=0")
    face.publish("a/5", b"5")
    assert held.data() == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_goes_on_where_another_ended(face: Face, transport: str) -> None:
    """A position of any transport is good for each other one, in the query or as Last-Event-ID."""
    for number in range(4):
        face.publish(f"a/{number}", b"%d" % number)
    assert Held(face, transport, f"&since={position(2)}").data() == ["2", "3"]
    assert Held(face, transport, "&since=first", f"Last-Event-ID: {position(3)}").data() == ["3"]
    assert Held(face, transport, "&since=-1").data() == ["3"]


@pytest.mark.parametrize("transport", set(STREAMS) - {"multipart"})
def test_a_foreign_position_is_a_gap(face: Face, transport: str) -> None:
    """Of a daemon that has forgotten, or a position that never was: the client is told, and goes on."""
    face.publish("a/1", b"1")
    for since in ("aaaaaaaa-1", position(99)):
        held = Held(face, transport, f"&since={since}")
        face.publish("a/2", b"2")
        (gap,) = held.gaps()
        assert gap["since"] == since or Position.parse(gap["since"])
        assert held.data()[-1:] == ["2"]


@pytest.mark.parametrize("transport", STREAMS)
def test_a_quiet_stream_has_a_heartbeat(face: Face, transport: str) -> None:
    """Something is written before any proxy loses patience."""
    face.publish("a/1", b"1")
    held = Held(face, transport, "&since=first")
    held.read()
    face.pass_time(27)
    assert held.wire.take()
    assert not held.wire.closed


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_ends_when_the_daemon_does(face: Face, transport: str) -> None:
    """It is closed, not reset, and nothing is left of it."""
    held = Held(face, transport)
    face.router.stop()
    face.clock.advance(0)
    held.read()
    assert held.wire.closed == "closed"
    assert not face.left_behind()


@pytest.mark.parametrize("transport", STREAMS)
def test_a_client_that_leaves_is_forgotten(face: Face, transport: str) -> None:
    """At once, on the quietest of topics."""
    held = Held(face, transport)
    held.wire.leave()
    assert not face.left_behind()


@pytest.mark.parametrize("transport", STREAMS)
def test_a_client_that_sends_on_its_stream_is_dropped(face: Face, transport: str) -> None:
    """Even one byte: it would keep the daemon from noticing that the client leaves."""
    held = Held(face, transport)
    held.wire.send(b"\n")
    assert held.wire.closed == "aborted"
    assert face.metrics.intruded == 1
    assert not face.left_behind()
    face.publish("a/1", b"1")
    assert not held.wire.take()


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_with_a_request_behind_it_is_refused(face: Face, transport: str) -> None:
    """It could never be answered: a stream has its connection for itself."""
    wire = face.connect()
    wire.send(get(f"/topics/a?transport={transport}") + get("/topics/a?wait=0"))
    first, second = read_responses(wire.take())
    assert (first.code, second.status) == ("bad_request", 200)
    assert not face.router.streams


def test_a_stream_may_come_last_on_a_kept_connection(face: Face) -> None:
    """Behind other answers."""
    wire = face.connect()
    assert wire.ask(post("/topics/a", b"1")).status == 201
    wire.send(get("/topics/a?transport=sse&since=first"))
    assert b'"data":"1"' in wire.take()


@pytest.mark.parametrize("transport", STREAMS)
def test_a_slow_client_misses_nothing_that_is_retained(face: Face, transport: str) -> None:
    """It is not written to while it does not read, and then goes on where it was."""
    held = Held(face, transport, "&conflate=0")
    held.wire.stall()
    for number in range(20):
        face.publish("a/1", b"%d" % number)
    few = len(held.data())
    assert few < 20
    held.wire.resume()
    face.clock.advance(0)
    assert held.data() == [str(number) for number in range(20)]
    assert face.metrics.slow == 1


@pytest.mark.parametrize("transport", STREAMS)
def test_a_client_that_never_reads_is_dropped(face: Face, transport: str) -> None:
    """After the time that a write may stay stuck."""
    held = Held(face, transport)
    held.wire.stall()
    face.publish("a/1", b"1")
    face.pass_time(face.site.config.stall + 2)
    assert held.wire.closed == "aborted"
    assert face.metrics.stalled == 1
    assert not face.left_behind()


def test_a_frame_can_do_nothing_but_hand_over(face: Face) -> None:
    """Payloads must not become a page that acts: the policy of the frame allows its script and its parent."""
    face = Face(origin=("https://shop.example",))
    policy = Held(face, "iframe").response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    listed = Held(face, "iframe", "&origin=https://shop.example")
    assert "frame-ancestors https://shop.example" in listed.response.headers["content-security-policy"]


# -- subscribing: polls -----------------------------------------------------------------------------------------------


def test_a_poll_is_answered_by_the_next_message(face: Face) -> None:
    """And then the connection waits for the next poll."""
    wire = face.held(get("/topics/a"))
    assert not wire.take()
    face.publish("b", b"no")
    assert not wire.take()
    face.publish("a", b"1", "Content-Type: application/json")
    (answer,) = read_responses(wire.take())
    assert polled(answer) == [1]
    assert answer.headers["content-type"] == "application/json"
    assert MANDATORY.items() <= answer.headers.items()
    assert "connection" not in answer.headers
    assert not wire.closed


def test_polls_follow_each_other_without_a_hole(face: Face) -> None:
    """Each goes on at the position that the last one ended with, on the same connection."""
    wire = face.connect()
    since, got = "now", []
    for number in range(10):
        wire.send(get(f"/topics/a?since={since}"))
        if number == 0 or number % 3:
            face.publish("a", b"%d" % number)
        else:  # while the client is not there
            wire.send(b"")
        answers = read_responses(wire.take())
        for answer in answers:
            got += polled(answer)
            since = answer.json()["next"]
        if not answers:
            face.publish("a", b"%d" % number)
            (answer,) = read_responses(wire.take())
            got += polled(answer)
            since = answer.json()["next"]
    assert got == [str(number) for number in range(10)]
    assert not wire.closed


def test_a_poll_ends_when_its_wait_is_over(face: Face) -> None:
    """With nothing but the position to go on from."""
    wire = face.held(get("/topics/a?wait=5"))
    face.publish("b", b"")
    face.pass_time(4)
    assert not wire.take()
    face.pass_time(2)
    (answer,) = read_responses(wire.take())
    assert answer.json() == {"messages": [], "next": position(1)}


def test_a_poll_without_wait_reads_history(face: Face) -> None:
    """It is answered at once, as much at a time as it asks for."""
    for number in range(5):
        face.publish("a", b"%d" % number)
    first = face.ask(get("/topics/a?since=first&limit=3&wait=0"))
    assert polled(first) == ["0", "1", "2"]
    rest = face.ask(get(f"/topics/a?since={first.json()['next']}&limit=3&wait=0"))
    assert polled(rest) == ["3", "4"]
    assert polled(face.ask(get(f"/topics/a?since={rest.json()['next']}&wait=0"))) == []
    assert polled(face.ask(get("/topics/a?since=last"))) == ["4"]


def test_a_poll_is_told_of_a_gap_at_once(face: Face) -> None:
    """A position of another life of the daemon need not wait for a message."""
    answer = face.ask(get("/topics/a?since=aaaaaaaa-1"))
    assert polled(answer) == []
    assert answer.json()["gap"]
    assert face.ask(get("/topics/a", "Last-Event-ID: aaaaaaaa-1")).json()["gap"]


def test_pollers_that_leave_are_forgotten(face: Face) -> None:
    """Before their answer; and the others get theirs."""
    wires = [face.held(get("/topics/a")) for _ in range(3)]
    wires[0].leave()
    wires[2].leave()
    face.publish("a", b"1")
    assert [bool(wire.take()) for wire in wires] == [False, True, False]
    wires[1].leave()
    assert not face.left_behind()


@pytest.mark.parametrize(("line", "version"), [("Connection: close", "1.1"), ("X: y", "1.0")])
def test_a_poll_may_be_the_last_on_its_connection(face: Face, line: str, version: str) -> None:
    """The answer says so, to it alone, and the connection ends."""
    last, kept = face.held(get("/topics/a", line, version=version)), face.held(get("/topics/a"))
    face.publish("a", b"1")
    (answer,) = read_responses(last.take())
    assert answer.headers["connection"] == "close"
    assert last.closed == "closed"
    assert "connection" not in read_responses(kept.take())[0].headers


def test_polls_are_answered_when_the_daemon_ends(face: Face) -> None:
    """With what they need to go on elsewhere."""
    wire = face.held(get("/topics/a"))
    face.router.stop()
    assert polled(read_responses(wire.take())[0]) == []


# -- what the URL says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["a", "a b", "a/b/c", "ä/日本", "a%b", "a?b#c", "a+b", "a;b&c=d", "a\\b", "~a-b_c.d"])
def test_a_topic_survives_its_url(face: Face, topic: str) -> None:
    """Percent-encoded in the path or the query, it is the same topic."""
    assert face.publish(quote(topic), b"1").status == 201
    assert face.publish(quote(topic, safe=""), b"2").status == 201
    for target in (f"/topics/{quote(topic)}?", f"/topics?topic={quote(topic, safe='')}&", f"/%74opics/{quote(topic)}?"):
        answer = face.ask(get(f"{target}since=first&wait=0"))
        assert [message["topic"] for message in answer.json()["messages"]] == [topic, topic]


def test_the_path_may_be_spelt_otherwise(face: Face) -> None:
    """``%74`` is a ``t``: the topic is what follows, not what stands at the usual place."""
    assert face.ask(post("/%74opics/a/b", b"1")).status == 201
    assert face.ask(post("/%74opics", b'{"topic":"c","data":1}')).json() == {"ids": [position(2)]}
    answer = face.ask(get("/topics/**?since=first&wait=0"))
    assert [message["topic"] for message in answer.json()["messages"]] == ["a/b", "c"]


def test_topics_of_the_query_join_the_one_of_the_path(face: Face) -> None:
    """One subscription to all of them; a ``+`` in the query is a blank."""
    for topic in ("a", "b%20c", "d/e", "f"):
        face.publish(topic, b"1")
    answer = face.ask(get("/topics/a?topic=b+c&topic=d/*&since=first&wait=0"))
    assert [message["topic"] for message in answer.json()["messages"]] == ["a", "b c", "d/e"]


@pytest.mark.parametrize("query", ["conflate", "conflate=", "conflate=1", "&conflate&"])
def test_a_flag_needs_no_value(face: Face, query: str) -> None:
    """``?conflate`` is as good as ``?conflate=1``."""
    for number in range(3):
        face.publish("a", b"%d" % number)
    assert polled(face.ask(get(f"/topics/a?since=first&wait=0&{query}"))) == ["2"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/topics/a?wait=0;since=first", "bad_parameter"),
        ("/topics/a?wait=0&sinse", "bad_parameter"),
        ("/topics/a?since", "bad_since"),
        ("/topics/a?wait=0&wait=0", "bad_parameter"),
        ("/topics/a?=", "bad_parameter"),
        ("/topics/a?%FF=1", "bad_request"),
        ("/topics/a?since=%FF", "bad_request"),
        ("/topics?topic=%FF", "bad_request"),
        ("/topics/%FF", "bad_pattern"),
        ("/topics/a%00", "bad_pattern"),
        ("/topics/a%0D%0AX:y", "bad_pattern"),
        ("/topics/", "bad_pattern"),
        ("/topics/a/", "bad_pattern"),
        ("/topics?" + "&".join(f"topic={number}" for number in range(101)), "too_many_patterns"),
    ],
)
def test_nothing_in_a_query_is_ignored(face: Face, target: str, code: str) -> None:
    """What is misspelt, doubled or no text is refused; ignored, it would lose messages silently."""
    assert face.ask(get(target)).code == code


def test_an_id_that_is_no_text_is_refused(face: Face) -> None:
    """Also in the header that an EventSource sends."""
    wire = face.connect()
    wire.send(get("/topics/a", "Last-Event-ID: X").replace(b"X", b"\xff"))
    assert read_responses(wire.take())[0].code == "bad_request"


# -- publishing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "line", "member", "value"),
    [
        (b"hi", "X: y", "data", "hi"),
        (b"", "X: y", "data", ""),
        ("zażółć".encode(), "Content-Type: text/plain; charset=utf-8", "data", "zażółć"),
        (b'{"bid": 120}', "Content-Type: application/json", "data", {"bid": 120}),
        (b'{"bid": 120}', "Content-Type: Application/JSON; charset=utf-8", "data", {"bid": 120}),
        (b"null", "Content-Type: application/json", "data", None),
        (b"a=1&b=2", "Content-Type: application/x-www-form-urlencoded", "data", "a=1&b=2"),
        (b'{"bid": 120}', "Content-Type: application/x-www-form-urlencoded", "data", '{"bid": 120}'),
        (b"--x\r\n", "Content-Type: multipart/form-data; boundary=x", "data", "--x\r\n"),
        (b"\xff\xd8\xff\xe0", "Content-Type: image/jpeg", "data64", "/9j/4A=="),
        (b"\0\xff", "X: y", "data64", "AP8="),
    ],
)
def test_a_payload_comes_out_as_it_was_meant(face: Face, payload: bytes, line: str, member: str, value: Any) -> None:
    """JSON as JSON, text as text, anything else as bytes; what a form sends by itself says nothing."""
    answer = face.publish("a", payload, line)
    assert (answer.status, answer.json()) == (201, {"id": position(1)})
    assert answer.headers["content-type"] == "application/json"
    (message,) = face.ask(get("/topics/a?since=first&wait=0")).json()["messages"]
    assert message[member] == value
    assert {"data", "data64"} & set(message) == {member}


@pytest.mark.parametrize(
    ("target", "payload", "line", "status", "code"),
    [
        ("/topics/a", b"{", "Content-Type: application/json", 400, "bad_json"),
        ("/topics/a", b"", "Content-Type: application/json", 400, "bad_json"),
        ("/topics/a", b'"\xff"', "Content-Type: application/json", 400, "bad_json"),
        ("/topics/a", b"[" * 100_000, "Content-Type: application/json", 400, "bad_json"),
        ("/topics/a", b"x", "Content-Type: " + "t" * 200, 400, "bad_content_type"),
        ("/topics/a", b"x", "Idempotency-Key: " + "k" * 256, 400, "bad_key"),
        ("/topics/a", b"x", "Idempotency-Key:", 400, "bad_request"),
        ("/topics/a*b", b"x", "X: y", 400, "bad_topic"),
        ("/topics/**", b"x", "X: y", 400, "bad_topic"),
        ("/topics/$stats", b"x", "X: y", 400, "bad_topic"),
        ("/topics/a//b", b"x", "X: y", 400, "bad_topic"),
        ("/topics/%FF", b"x", "X: y", 400, "bad_topic"),
        ("/topics/a%0A", b"x", "X: y", 400, "bad_topic"),
        ("/topics/" + "a" * 256, b"x", "X: y", 400, "bad_topic"),
        ("/topics/a?key=1", b"x", "X: y", 400, "bad_request"),
        ("/topics/a?", b"x" * (1 << 20) + b"x", "X: y", 413, "payload_too_large"),
    ],
)
def test_what_cannot_be_published_is_refused(
    face: Face, target: str, payload: bytes, line: str, status: int, code: str
) -> None:
    """Nothing is published, and the connection is good for another try."""
    wire = face.connect()
    answer = wire.ask(post(target, payload, line))
    assert (answer.status, answer.code) == (status, code)
    assert face.router.log.end == 0
    assert wire.ask(post("/topics/a", b"x")).status == 201


def test_a_key_makes_a_repetition_harmless(face: Face) -> None:
    """The same key again answers 200 with the first id, on any connection; another key publishes."""
    key = "Idempotency-Key: order-1"
    assert face.publish("a", b"1", key).status == 201
    again = face.publish("a", b"1", key)
    assert (again.status, again.json()) == (200, {"id": position(1)})
    assert face.publish("a", b"1", "Idempotency-Key: order-2").json() == {"id": position(2)}
    assert face.router.log.end == 2


def test_a_key_is_good_while_the_first_is_on_its_way(face: Face) -> None:
    """A retry that overtakes the answer of a slow store publishes nothing either."""
    face.store.holds = True
    key = "Idempotency-Key: order-1"
    first, second = face.held(post("/topics/a", b"1", key)), face.held(post("/topics/a", b"1", key))
    face.store.release()
    answers = [*read_responses(first.take()), *read_responses(second.take())]
    assert [(answer.status, answer.json()["id"]) for answer in answers] == [(201, position(1)), (200, position(1))]
    assert face.router.log.end == 1


def test_what_the_store_does_not_take_is_not_published(face: Face) -> None:
    """The publisher is told so, and subscribers hear nothing."""
    held = Held(face, "stream")
    face.store.fails = True
    answer = face.publish("a/1", b"1")
    assert (answer.status, answer.code) == (503, "store_failed")
    face.store.fails = False
    assert face.publish("a/1", b"2").status == 201
    assert held.data() == ["2"]


def test_a_batch_is_answered_with_its_ids(face: Face) -> None:
    """In order, in one answer."""
    answer = face.ask(post("/topics", b'{"topic":"a/1","data":1}\n{"topic":"a/2","data":2}\n'))
    assert (answer.status, answer.json()) == (201, {"ids": [position(1), position(2)]})


def test_equal_requests_are_looked_at_once(face: Face) -> None:
    """Ten thousand clients that come back at once cost one look at what they want; others get their own."""
    for target in ("/topics/a/1?transport=sse", "/topics/a/2?transport=sse"):
        for _ in range(3):
            face.held(get(target))
    assert len(face.router._turns.audiences) == 2
    face.held(get("/topics/a/1", "Accept: text/event-stream"))
    assert len(face.router._turns.audiences) == 2
    assert face.ask(asking("GET", "/topics/a/1?transport=sse&x=1")).code == "bad_parameter"


@pytest.mark.parametrize("transport", ["multipart", "mixed"])
def test_payloads_as_they_are_make_no_page(face: Face, transport: str) -> None:
    """Whoever opens them as a page gets one that can do nothing, and no script in it runs."""
    policy = Held(face, transport).response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-" not in policy
