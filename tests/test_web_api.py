"""Health, metrics and introspection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comet.web.api import LARGEST_LIMIT
from tests.web_faces import Face, Wire


@pytest.fixture
def face() -> Face:
    """A daemon in memory."""
    return Face()


def stream(face: Face, target: str = "/topics/a/**?transport=stream") -> Wire:
    """A client that holds a response open."""
    wire = face.connect()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return wire


def asked(face: Face, target: str) -> Any:
    """The JSON that is found at ``target``."""
    answer = face.ask("GET", target)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
    return answer.json()


def test_a_daemon_that_runs_is_healthy_and_ready(face: Face) -> None:
    """Both probes say so."""
    assert asked(face, "/healthz") == asked(face, "/readyz") == {"status": "ok"}


def test_a_daemon_that_shuts_down_is_not_ready(face: Face) -> None:
    """While it ends its streams a daemon is still healthy, but a balancer sends nobody there."""
    face.router.stop()
    assert face.ask("GET", "/healthz").status == 200
    answer = face.ask("GET", "/readyz")
    assert (answer.status, answer.json()["code"]) == (503, "draining")
    assert "retry-after" in answer.headers


def test_metrics_are_prometheus_text(face: Face) -> None:
    """Counters and gauges stand in the text format, each with its help and its type."""
    stream(face)
    face.publish("a/1", "hi")
    answer = face.ask("GET", "/metrics")
    lines = answer.body.decode().splitlines()
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE comet_published_total counter" in lines
    assert 'comet_delivered_total{transport="stream"} 1' in lines
    assert 'comet_subscriptions{transport="stream"} 1' in lines
    assert "comet_topics 1" in lines


def test_stats_say_what_the_daemon_has_and_does(face: Face) -> None:
    """The totals, what is retained, and who is subscribed."""
    stream(face)
    face.publish("a/1", "hi")
    stats = asked(face, "/stats")
    assert stats["position"] == f"{face.router.epoch}-1"
    assert (stats["published"], stats["published_bytes"], stats["delivered"]) == (1, 2, {"stream": 1})
    assert (stats["retained"], stats["topics"], stats["audiences"], stats["reading"]) == (1, 1, 1, 0)
    assert stats["subscriptions"] == {"stream": 1}


def test_rates_are_those_of_the_last_seconds(face: Face) -> None:
    """What happened long ago is in the totals, not in the rates."""
    face.publish("a", "long ago")
    for _ in range(20):
        face.clock.advance(1)
    for _ in range(10):
        face.publish("a", "now")
        face.publish("a", "now")
        face.clock.advance(1)
    stats = asked(face, "/stats")
    assert (stats["published"], stats["uptime"]) == (21, 30.0)
    assert (stats["rates"]["published"], stats["rates"]["published_bytes"]) == (2.0, 6.0)
    assert 9.0 <= stats["rates"]["seconds"] <= 10.0


def test_rates_of_a_fresh_daemon_are_nothing(face: Face) -> None:
    """A daemon that is asked at once divides by no time."""
    assert asked(face, "/stats")["rates"]["published"] == 0.0


def test_topics_are_listed_with_their_subscribers(face: Face) -> None:
    """Each topic has its count, its newest position and its subscribers."""
    stream(face)
    face.publish("a/1", "x")
    face.publish("b", "x")
    face.publish("a/1", "x")
    first, second = asked(face, "/stats/topics")["topics"]
    assert first == {"topic": "a/1", "retained": 2, "position": f"{face.router.epoch}-3", "subscribers": 1}
    assert (second["topic"], second["subscribers"]) == ("b", 0)


def test_topics_are_listed_by_prefix_and_up_to_a_limit(face: Face) -> None:
    """A list that was cut says that there is more."""
    for number in range(5):
        face.publish(f"a/{number}", "x")
        face.publish(f"b/{number}", "x")
    found = asked(face, "/stats/topics?prefix=b/&limit=3")
    assert [topic["topic"] for topic in found["topics"]] == ["b/0", "b/1", "b/2"]
    assert found["more"] is True
    assert asked(face, "/stats/topics?prefix=b/&limit=5")["more"] is False


def test_a_long_list_is_worked_out_over_several_turns(face: Face) -> None:
    """However many topics there are, each is listed once the daemon had time to look at it."""
    for number in range(3000):
        face.publish(f"a/{number}", "x")
    wire = stream(face, f"/stats/topics?limit={LARGEST_LIMIT}")
    for _ in range(100):
        face.clock.advance(0)
    assert len(json.loads(wire.take().partition(b"\r\n\r\n")[2])["topics"]) == 3000


def test_streams_are_listed_without_their_secret(face: Face) -> None:
    """A stream is shown with its client and its state; its id is cut short, since the id is what controls it."""
    opened = stream(face).take().partition(b"\r\n\r\n")[2]
    face.clock.advance(2)
    (shown,) = asked(face, "/stats/streams")["streams"]
    secret = json.loads(opened)["stream"]
    assert shown.pop("stream") == f"{secret[:6]}…"
    assert shown == {
        "transport": "stream",
        "address": "192.0.2.7:50000",
        "patterns": ["a/**"],
        "pattern_count": 1,
        "state": "live",
        "lag": 0,
        "age": 2.0,
    }
    assert face.ask("DELETE", f"/streams/{secret[:6]}").status == 404


def test_a_stream_that_is_behind_shows_its_lag(face: Face) -> None:
    """A client that does not read is reading, in the daemon's terms, and so many messages behind."""
    wire = stream(face)
    wire.fill()
    for number in range(4):
        face.publish("a/1", str(number))
    (shown,) = asked(face, "/stats/streams")["streams"]
    assert (shown["state"], shown["lag"]) == ("reading", 3)


@pytest.mark.parametrize(
    "target",
    [
        "/stats/streams?limit=0",
        "/stats/streams?limit=10001",
        "/stats/streams?limit=many",
        "/stats/streams?limit=%c2%b2",
        "/stats/topics?limit=1&limit=2",
        "/stats/topics?prefx=a",
        "/stats?limit=1",
    ],
)
def test_a_misspelt_query_is_refused(face: Face, target: str) -> None:
    """What a query may say is checked, as everywhere."""
    answer = face.ask("GET", target)
    assert (answer.status, answer.json()["code"]) == (400, "bad_parameter")


@pytest.mark.parametrize("target", ["/stats/nothing", "/healthz/", "/stats//topics", "/stats/%ff", "/stats/topics/a"])
def test_what_is_not_there_is_a_problem_document(face: Face, target: str) -> None:
    """A path that does not exist is answered as everywhere, not by a page of the framework."""
    answer = face.ask("GET", target)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("target", ["/stats", "/healthz", "/metrics"])
def test_other_methods_are_refused(face: Face, target: str) -> None:
    """There is nothing to post here."""
    answer = face.ask("POST", target)
    assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"


def test_head_has_no_body(face: Face) -> None:
    """A HEAD request gets the headers that GET has, and nothing behind them."""
    answer = face.ask("HEAD", "/healthz")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "15", b"")


def test_a_connection_is_kept(face: Face) -> None:
    """A monitor that asks again may use the same connection."""
    wire = face.connect()
    for _ in range(2):
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.take().endswith(b'{"status":"ok"}')
    assert not wire.disconnecting
