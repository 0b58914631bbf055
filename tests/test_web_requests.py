"""The access log of the HTTP face: one line a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from comet.config import Config
from comet.logs.observer import Observer
from tests.http_wires import Face, asking, get, post

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)

Lines = Callable[[], list[Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What was logged since the last time, as JSON, without what every line has."""
    logged: list[str] = []
    observer = Observer(Config(log_format="json"), lambda _level, line: logged.append(line))

    def take() -> list[Any]:
        taken = [json.loads(line) for line in logged]
        logged.clear()
        return [{name: each[name] for name in each if name not in ("time", "level", "namespace")} for each in taken]

    globalLogPublisher.addObserver(observer)  # type: ignore[arg-type]
    yield take
    globalLogPublisher.removeObserver(observer)  # type: ignore[arg-type]


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_is_answered_is_not_logged_by_default(lines: Lines) -> None:
    """Neither a publish nor a stream nor a poll."""
    face = Face()
    face.publish("a", b"hello")
    face.ask(get("/topics/a?wait=0&since=first"))
    face.held(get("/topics/a?transport=sse")).leave()
    assert lines() == []


def test_a_refusal_is_one_line(lines: Lines) -> None:
    """What was asked, by whom, and why it was refused; the token is not in it."""
    face = Face()
    face.ask(get("/topics/a?tokn=x&token=s3cret"))
    (line,) = lines()
    assert line["what"] == "GET /topics/a?tokn=x&token=***"
    assert (line["peer"], line["code"]) == ("127.0.0.1:50000", "bad_token")
    assert line["text"] == f"refused {line['what']} of {line['peer']}: {line['code']}: {line['detail']}"
    assert "s3cret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (get("/nowhere"), "not_found"),
        (get("/stats/nothing"), "not_found"),
        (asking("POST", "/stats"), "method_not_allowed"),
        (get("/stats?x=1"), "bad_parameter"),
        (post("/topics/a*", b""), "bad_topic"),
        (get("/topics/a", "Origin: https://evil.example"), "origin_refused"),
        (b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\r\nAuthorization : Bearer s3cret\r\nHost: localhost\r\n\r\n", "bad_request"),
        (get("/topics/a?transport=websocket"), "upgrade_required"),
    ],
)
def test_every_refusal_is_told_once(lines: Lines, data: bytes, code: str) -> None:
    """Wherever in the daemon a request is refused."""
    face = Face()
    face.held(data)
    (line,) = lines()
    assert (line["code"], line["peer"]) == (code, "127.0.0.1:50000")
    assert "s3cret" not in json.dumps(line)
    assert face.metrics.refused == {code: 1}


def test_a_flood_of_refusals_is_counted(lines: Lines) -> None:
    """Ten seconds later it is told how many there were."""
    face = Face()
    for _ in range(50):
        face.ask(get("/nowhere"))
    assert len(lines()) == 5
    face.pass_time(12)
    (line,) = lines()
    assert line["text"] == "… and 45 more of these in 10 s: not_found"
    assert face.metrics.refused == {"not_found": 50}


def test_nothing_is_logged_if_that_is_wished(lines: Lines) -> None:
    """With ``access-log none``."""
    face = Face(access_log="none")
    face.ask(get("/nowhere"))
    assert lines() == []
    assert face.metrics.refused == {"not_found": 1}


# -- all --------------------------------------------------------------------------------------------------------------


def test_every_request_is_one_line(lines: Lines) -> None:
    """A publish, an answer of the framework, a refusal: method, path, status, bytes, seconds, client."""
    face = Face(access_log="all")
    answer = face.publish("a", b"hello")
    (published,) = lines()
    assert published == {
        "text": "POST /topics/a 201 0.0 s 127.0.0.1:50000",
        "method": "POST",
        "target": "/topics/a",
        "status": 201,
        "seconds": 0.0,
        "peer": "127.0.0.1:50000",
        "bytes": len(answer.body),
    }
    body = face.ask(get("/healthz")).body
    (health,) = lines()
    assert (health["target"], health["status"], health["bytes"]) == ("/healthz", 200, len(body))
    face.ask(get("/topics/a?%74oken=s3cret&x=1"))
    (refused,) = lines()
    assert refused["text"].startswith("GET /topics/a?%74oken=***&x=1 401 bad_token 0.0 s")
    assert face.metrics.refused == {"bad_token": 1}
    face.ask(get("/stats/nothing"))
    (unknown,) = lines()
    assert (unknown["status"], unknown["code"]) == (404, "not_found")


def test_refusals_are_not_limited_where_all_is_logged(lines: Lines) -> None:
    """An access log of everything has everything."""
    face = Face(access_log="all")
    for _ in range(50):
        face.ask(get("/nowhere"))
    assert len(lines()) == 50


def test_what_never_became_a_request_is_told_too(lines: Lines) -> None:
    """It has neither method nor path."""
    face = Face(access_log="all")
    face.held(b"GET /\x01 HTTP/1.1\r\n\r\n")
    (line,) = lines()
    assert (line["what"], line["code"]) == ("a request", "bad_request")


def test_a_kept_connection_has_a_line_for_each_request(lines: Lines) -> None:
    """In their order, once each."""
    face = Face(access_log="all")
    wire = face.connect()
    for number in range(3):
        wire.ask(post(f"/topics/{number}", b"hello"))
    wire.leave()
    assert [line["target"] for line in lines()] == ["/topics/0", "/topics/1", "/topics/2"]


def test_a_poll_is_logged_once_it_is_answered(lines: Lines) -> None:
    """With the time that it was held."""
    face = Face(access_log="all")
    face.held(get("/topics/a"))
    face.pass_time(3)
    assert lines() == []
    face.publish("a", b"hello")
    poll, published = sorted(lines(), key=lambda line: line["method"])
    assert (poll["status"], poll["transport"], poll["seconds"]) == (200, "poll", 3.0)
    assert published["method"] == "POST"


def test_a_poll_whose_client_leaves_is_logged(lines: Lines) -> None:
    """With the status that nginx gives it."""
    face = Face(access_log="all")
    wire = face.held(get("/topics/a"))
    face.pass_time(1)
    wire.leave()
    (line,) = lines()
    assert (line["status"], line["seconds"]) == (499, 1.0)


@pytest.mark.parametrize("transport", ["stream", "sse", "iframe", "multipart", "mixed"])
def test_a_stream_is_logged_once_at_its_end(lines: Lines, transport: str) -> None:
    """Not when it begins."""
    face = Face(access_log="all")
    wire = face.held(get(f"/topics/a?transport={transport}"))
    face.pass_time(2)
    assert lines() == []
    wire.leave()
    (line,) = lines()
    assert line["text"] == f"GET /topics/a?transport={transport} 200 {transport} 2.0 s 127.0.0.1:50000"
    assert face.left_behind() == {}


def test_a_websocket_is_logged_at_its_end(lines: Lines) -> None:
    """What is refused on it is told as it comes."""
    face = Face(access_log="all")
    wire = face.held(get("/topics/a", *HANDSHAKE))
    wire.send(b"\x81\x82\x00\x00\x00\x00{}")
    (refused,) = lines()
    assert (refused["what"], refused["code"]) == ("a message on a WebSocket", "bad_request")
    wire.leave()
    (line,) = lines()
    assert (line["status"], line["transport"]) == (101, "websocket")


def test_streams_that_the_daemon_ends_are_logged(lines: Lines) -> None:
    """At a shutdown each has its line."""
    face = Face(access_log="all")
    for _ in range(3):
        face.held(get("/topics/a?transport=sse"))
    face.router.stop()
    face.clock.advance(1)
    assert [line["transport"] for line in lines()] == ["sse"] * 3


def test_a_long_path_is_cut(lines: Lines) -> None:
    """A client cannot fill the disk faster than others."""
    face = Face(access_log="all")
    face.ask(get(f"/topics/{'x' * 20_000}"))
    (line,) = lines()
    assert len(line["text"]) < 1_200


def test_the_log_may_be_changed_while_requests_are_held(lines: Lines) -> None:
    """Those that began before are not told of."""
    face = Face()
    wire = face.held(get("/topics/a?transport=sse"))
    poll = face.held(get("/topics/a"))
    face.site.configure(Config(access_log="all"))
    wire.leave()
    poll.leave()
    assert lines() == []
    face.publish("a", b"hello")
    assert len(lines()) == 1
