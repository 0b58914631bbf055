"""Churn: clients that subscribe and unsubscribe in a loop, and topics without end. What is given up leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.attacks.attacker import MEGABYTE, exchanged, memory_of, push, rest_of, restored, serves, standing
from tests.attacks.frames import CLOSE, FINAL, frame, opened, text
from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, connected, publish, subscribe
from tests.e2e.waiting import until

ROUNDS = 1_500


@pytest.fixture(scope="module")
def churned() -> Iterator[Daemon]:
    """A daemon that has seen it before: what it remembers of topics and patterns for later is there already."""
    with running() as daemon, restored(daemon):
        yield daemon


def test_websocket_that_changes_its_topics(churned: Daemon) -> None:
    """A client that subscribes to new topics and gives them up, thousands of times on one WebSocket, leaves neither an
    audience nor memory behind."""
    with restored(churned):
        for rounds in (ROUNDS // 3, ROUNDS):
            before = memory_of(churned)
            with opened(churned.http, "churn") as (connection, _):
                for number in range(rounds):
                    wanted = [f"churn/{number}", f"churn/{number}/*", f"*/{number}/**"]
                    push(connection, text({"subscribe": wanted}) + text({"unsubscribe": wanted}))
                    if number % 10 == 0:
                        assert connection.recv(65_536)
                push(connection, text({"publish": "churn", "data": "end"}))
                while b'"end"' not in connection.recv(65_536):
                    pass
                assert standing(churned)["audiences"] == 1
        assert memory_of(churned) - before < 5 * MEGABYTE


def test_stream_whose_topics_are_changed(churned: Daemon) -> None:
    """The same with ``POST /streams/<stream>``."""
    with restored(churned), subscribe(churned.http, "/topics/churn?transport=sse", "sse") as held:
        stream = held.until_control("open")["stream"]
        before = memory_of(churned)
        for number in range(ROUNDS // 5):
            for change in ("subscribe", "unsubscribe"):
                body = json.dumps({change: [f"churn/{number}", f"churn/{number}/*"]}).encode()
                assert asked(churned.http, "POST", f"/streams/{stream}", body)[0] == 204
        assert standing(churned)["audiences"] == 1
        assert memory_of(churned) - before < 5 * MEGABYTE


def test_back_end_that_changes_its_topics(churned: Daemon) -> None:
    """The same over RESP, with patterns as Redis has them."""
    with restored(churned):
        for rounds in (ROUNDS // 3, ROUNDS):
            before = memory_of(churned)
            with connected(churned.tcp) as connection:
                for number in range(rounds):
                    words = b"churn%d other%d" % (number, number)
                    push(connection, b"SUBSCRIBE %b\r\nPSUBSCRIBE a%d:*\r\n" % (words, number))
                    push(connection, b"UNSUBSCRIBE %b\r\nPUNSUBSCRIBE a%d:*\r\n" % (words, number))
                    if number % 10 == 0:
                        assert connection.recv(65_536)
                push(connection, b"PING end\r\n")
                while b"end" not in connection.recv(65_536):
                    pass
        assert memory_of(churned) - before < 5 * MEGABYTE


def test_streams_that_come_and_go(churned: Daemon) -> None:
    """Clients that open a stream on a topic of their own and leave at once leave nothing, on any transport."""
    transports = ("stream", "sse", "iframe", "multipart", "mixed", "websocket", "poll")
    with restored(churned):
        for rounds in (ROUNDS // 3, ROUNDS):
            before = memory_of(churned)
            for number in range(rounds):
                transport = transports[number % len(transports)]
                target = f"/topics/churn/{number}?topic=churn/*/{number}&transport={transport}"
                with subscribe(churned.http, f"{target}&wait=0" if transport == "poll" else target, transport) as held:
                    if number % 2:
                        held.reset()
            until(lambda: not standing(churned)["audiences"], "all have left")
        assert memory_of(churned) - before < 5 * MEGABYTE


def test_topics_without_end() -> None:
    """A message on each of 200,000 topics: what is retained is bounded by its settings, and what is known of topics
    goes with their messages. The second hundred thousand costs no more memory than the first."""
    with running("--retain-bytes", "4MiB", "--retain-seconds", "1h") as daemon, restored(daemon):
        with subscribe(daemon.http, "/topics/*/x/**?transport=stream&pace=1000&conflate=1", "stream"):
            publish_topics(daemon, 0)
            before = memory_of(daemon)
            publish_topics(daemon, 100_000)
        figures = asked_json(daemon.http, "/stats")
        assert figures["published"] == 200_000
        assert figures["retained_bytes"] <= 4 << 20
        assert figures["topics"] == figures["retained"] < 50_000
        assert memory_of(daemon) - before < 10 * MEGABYTE
        serves(daemon, "topics")


def publish_topics(daemon: Daemon, first: int) -> None:
    """Publish on a hundred thousand topics over the TCP port, from ``topic/x/<first>`` on."""
    with connected(daemon.tcp) as connection:
        for start in range(first, first + 100_000, 1_000):
            connection.sendall(b"".join(b"PUBLISH %d/x/%d hi\r\n" % (n, n) for n in range(start, start + 1_000)))
            answer = b""
            while answer.count(b"\r\n") < 1_000:
                answer += connection.recv(65_536)


def test_deep_topics_without_end() -> None:
    """Topics of a hundred segments are not cheaper for being deep: what they take of memory counts as retained."""
    below = b"/a" * 120
    with running("--retain-bytes", "8MiB") as daemon, restored(daemon):
        before = memory_of(daemon)
        with connected(daemon.tcp) as connection:
            for start in range(0, 2_000, 500):
                connection.sendall(b"".join(b"PUBLISH %d%b hi\r\n" % (n, below) for n in range(start, start + 500)))
                answer = b""
                while answer.count(b"\r\n") < 500:
                    answer += connection.recv(65_536)
        assert asked_json(daemon.http, "/stats")["retained_bytes"] <= 8 << 20
        assert memory_of(daemon) - before < 30 * MEGABYTE


def test_deep_patterns(daemon: Daemon, topic: str) -> None:
    """A request of 25 KB cannot have the daemon keep megabytes: patterns that are deep together are refused, however
    they are brought; a few that are deep, and many that are not, are taken."""
    deep = "/".join(["a"] * 120)
    patterns = [f"{number}/{deep}/*" for number in range(99)]
    query = "&".join(f"topic={pattern}" for pattern in patterns)
    assert asked(daemon.http, "GET", f"/topics?wait=0&{query}")[0] in (400, 414)
    before = memory_of(daemon)
    with opened(daemon.http, topic) as (connection, _):
        for number in range(0, 96, 8):
            push(connection, text({"subscribe": patterns[number : number + 8]}))
        push(connection, frame(FINAL | CLOSE))
        assert rest_of(connection).count(b'"comet":"error"') == 11, "all but the first"
    answer = exchanged(daemon.tcp, f"PSUBSCRIBE {' '.join(patterns)}\r\nQUIT\r\n".encode())
    assert answer.startswith(b"-"), answer
    assert memory_of(daemon) - before < 5 * MEGABYTE
    for wanted in (patterns[:8], [f"{number}/*/a/b/c/d/e/f/g/*" for number in range(100)]):
        query = "&".join(f"topic={pattern}" for pattern in wanted)
        assert asked(daemon.http, "GET", f"/topics?wait=0&{query}")[0] == 200


def test_topics_expire() -> None:
    """Topics on which nothing is published any more are forgotten after ``retain-seconds``, whole."""
    with running("--retain-seconds", "1s") as daemon:
        for number in range(50):
            publish(daemon.http, f"expiring/{number}", "x")
        until(lambda: asked_json(daemon.http, "/stats")["topics"] == 0, "they are forgotten")
        assert asked_json(daemon.http, "/stats")["retained_bytes"] == 0


def test_idempotency_keys_without_end() -> None:
    """A key with each message: so many are remembered, and no more; then a publish with a key is refused, not
    forgotten about."""
    with running("--max-keys", "1000") as daemon:
        body = b"".join(b'{"topic":"keys","data":1,"key":"%d"}\n' % number for number in range(1000))
        assert asked(daemon.http, "POST", "/topics", body)[0] == 201
        status, _, _ = asked(daemon.http, "POST", "/topics/keys", b"x", Idempotency_Key="another")
        assert status in (429, 503)
        assert asked_json(daemon.http, "/stats")["keys"] == 1000
        publish(daemon.http, "keys", "without a key")
