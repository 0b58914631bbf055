"""Health, metrics and introspection."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from comet import __version__
from comet.web.query import LARGEST_LIMIT
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


def metrics(face: Face) -> dict[tuple[str, str], float]:
    """What a strict reader finds at ``/metrics``, by name and label."""
    answer = face.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.body.decode())
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, "".join(sample.labels.values())): sample.value for sample in found}


def test_metrics_are_prometheus_text(face: Face) -> None:
    """Counters and gauges stand in the text format, each with its help and its type."""
    stream(face)
    face.publish("a/1", "hi")
    found = metrics(face)
    assert found["comet_published_total", ""] == 1
    assert found["comet_delivered_total", "stream"] == 1
    assert found["comet_subscriptions", "stream"] == found["comet_live", "stream"] == 1
    assert found["comet_topics", ""] == 1
    assert found["comet_flush_seconds_count", ""] == 1
    assert found["comet_build_info", __version__] == 1


def test_metrics_of_the_process(face: Face) -> None:
    """The names are those that every Prometheus dashboard knows."""
    found = metrics(face)
    assert 1_000_000 < found["process_resident_memory_bytes", ""] < 1 << 40
    assert 3 <= found["process_open_fds", ""] <= found["process_max_fds", ""]
    assert found["process_cpu_seconds_total", ""] > 0
    assert time.time() - 86_400 < found["process_start_time_seconds", ""] <= time.time()


def test_connections_and_their_bytes_are_counted(face: Face) -> None:
    """Idle ones, held ones, polls: as long as they are open."""
    wires = [face.connect(), stream(face), stream(face, "/topics/a?wait=20")]
    assert metrics(face)["comet_http_connections", ""] == 4  # with the one that asks
    received = metrics(face)["comet_received_bytes_total", "http"]
    wires[0].send(b"GET /healthz HTTP/1.1\r\n")
    asking = len(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    assert metrics(face)["comet_received_bytes_total", "http"] == received + 23 + asking
    before = face.metrics.http_connections
    for wire in wires:
        wire.leave()
    assert face.metrics.http_connections == before - 3


def test_stats_say_what_the_daemon_has_and_does(face: Face) -> None:
    """The totals, what is retained, and who is subscribed."""
    stream(face)
    face.publish("a/1", "hi")
    stats = asked(face, "/stats")
    assert stats["position"] == f"{face.router.epoch}-1"
    assert (stats["published"], stats["published_bytes"], stats["delivered"]) == (1, 2, {"stream": 1})
    assert (stats["retained"], stats["topics"], stats["audiences"], stats["reading"]) == (1, 1, 1, 0)
    assert stats["subscriptions"] == stats["live"] == {"stream": 1}
    assert stats["connections"] == {"http": 2, "tcp": 0}


def test_stats_say_how_the_daemon_is(face: Face) -> None:
    """What an operator looks at first: processor, memory, descriptors, how long flushes take, what was refused."""
    stream(face)
    assert asked(face, "/stats")["flush"] == {"p50": None, "p99": None}
    for _ in range(20):
        face.publish("a/1", "hi")
    assert face.ask("GET", "/topics/%00").status == 400
    face.clock.advance(1)
    stats = asked(face, "/stats")
    assert 0 < stats["flush"]["p50"] <= stats["flush"]["p99"] < 10
    assert stats["cpu"] >= 0
    assert stats["memory"] > 1_000_000
    assert 3 <= stats["descriptors"]["open"] <= stats["descriptors"]["allowed"]
    assert stats["refused"] == {"bad_pattern": 1}
    assert 0 <= stats["reactor_lag"] <= stats["reactor_lag_max"]


def test_flushes_of_long_ago_are_not_told(face: Face) -> None:
    """How long they take is said of the last seconds."""
    stream(face)
    face.publish("a/1", "hi")
    face.clock.pump([1.0] * 20)
    assert asked(face, "/stats")["flush"] == {"p50": None, "p99": None}


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
        "address": "127.0.0.1:50000",
        "patterns": ["a/**"],
        "pattern_count": 1,
        "state": "live",
        "behind": {"messages": 0, "bytes": 0, "more": False},
        "age": 2.0,
        "conflate": False,
        "pace": 0,
    }
    assert face.ask("DELETE", f"/streams/{secret[:6]}").status == 404


def test_a_stream_that_is_stuck_says_what_becomes_of_it(face: Face) -> None:
    """A client that does not read: how much it has not been given, since when, and when it will be dropped."""
    wire = stream(face)
    wire.fill()
    for number in range(4):
        face.publish("a/1", str(number))
    face.publish("b", "not one of its own")
    face.clock.advance(19)
    (shown,) = asked(face, "/stats/streams")["streams"]
    assert (shown["state"], shown["behind"]) == ("stuck", {"messages": 3, "bytes": 3, "more": False})
    assert shown["stuck"] == 19.0
    assert shown["treatment"] == (
        "dropped in 41 s unless it reads (stall); then given pages as it reads, told a gap if it falls out of retention"
    )


def filled(face: Face) -> list[Wire]:
    """Streams of several kinds, of which two are stuck, one further behind than the other."""
    wires = [
        stream(face),
        stream(face, "/topics/a/1?transport=sse"),
        stream(face, "/topics/a/1?transport=sse&conflate"),
    ]
    for wire in wires[1:]:
        wire.fill()
        for number in range(5):
            face.publish("a/1", str(number))
    return wires


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [("stream", "live"), ("sse", "stuck"), ("sse", "stuck")]),
        ("?state=live", [("stream", "live")]),
        ("?state=stuck", [("sse", "stuck"), ("sse", "stuck")]),
        ("?state=reading", []),
        ("?transport=stream", [("stream", "live")]),
        ("?transport=sse&state=live", []),
        ("?sort=age&state=live", [("stream", "live")]),
        ("?sort=behind&state=live", [("stream", "live")]),
        ("?sort=behind", [("sse", "stuck"), ("sse", "stuck")]),
        ("?sort=behind&transport=stream", []),
    ],
)
def test_streams_are_listed_by_state_and_transport(face: Face, query: str, found: list[tuple[str, str]]) -> None:
    """Each only if it is what was asked for."""
    filled(face)
    listed = asked(face, f"/stats/streams{query}")["streams"]
    assert [(each["transport"], each["state"]) for each in listed] == found


def test_the_slowest_are_in_front(face: Face) -> None:
    """Those that are furthest behind, and how each is treated."""
    filled(face)
    listed = asked(face, "/stats/streams?sort=behind")["streams"]
    assert [each["behind"]["messages"] for each in listed] == [9, 4]
    assert [each["conflate"] for each in listed] == [False, True]
    assert "then given only the newest message of each topic" in listed[1]["treatment"]
    cut = asked(face, "/stats/streams?sort=behind&limit=1")
    assert (cut["streams"], cut["more"]) == (listed[:1], True)


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
        "/stats/streams?state=slow",
        "/stats/streams?sort=lag",
        "/stats/streams?state=",
    ],
)
def test_a_misspelt_query_is_refused(face: Face, target: str) -> None:
    """What a query may say is checked, as everywhere."""
    answer = face.ask("GET", target)
    assert (answer.status, answer.json()["code"]) == (400, "bad_parameter")


def test_a_transport_that_is_none_is_refused(face: Face) -> None:
    """A misspelt filter would show nothing, and look like good news."""
    answer = face.ask("GET", "/stats/streams?transport=web")
    assert (answer.status, answer.json()["code"]) == (400, "unknown_transport")


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
