"""Publishing with what people have: Redis clients, curl, netcat; and what is not a publisher."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.daemons import Daemon
from tests.e2e.held import Held, asked_json, connected, publish, subscribe
from tests.e2e.tools import CURL, redis_cli, run, split

LOAD = 20_000


@contextmanager
def watching(daemon: Daemon, topic: str) -> Iterator[Held]:
    """A subscriber that is live."""
    with subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream") as held:
        held.until_control("open")
        yield held


@contextmanager
def client(daemon: Daemon, protocol: int) -> Iterator[redis.Redis]:
    """The Redis client of Python."""
    host, port = split(daemon.tcp)
    with redis.Redis(host, int(port), protocol=protocol, socket_timeout=20) as client:
        yield client


def offsets(messages: Iterable[dict[str, str]]) -> list[int]:
    """The offsets of messages."""
    return [int(message["id"].partition("-")[2]) for message in messages]


def test_redis_cli(daemon: Daemon, topic: str) -> None:
    """``redis-cli PUBLISH`` says how many subscribe, ``redis-cli XADD`` under which position the message is kept."""
    assert redis_cli(daemon.tcp, "PUBLISH", topic, "nobody").out == "0\n"
    with watching(daemon, topic) as held:
        assert redis_cli(daemon.tcp, "PUBLISH", topic, "one").out == "1\n"
        added = redis_cli(daemon.tcp, "XADD", topic, "*", "data", '{"bid": 120}', "type", "application/json")
        first, second = held.until_messages(2)
    assert (first["data"], second["data"]) == ("one", {"bid": 120})
    assert second["id"] == added.out.strip()


def test_redis_cli_refused(daemon: Daemon) -> None:
    """A command that does not work says so, and what to do instead."""
    assert redis_cli(daemon.tcp, "PUBLISH", "a//b", "x").out.startswith("ERR bad_topic ")
    assert "PSUBSCRIBE takes patterns" in redis_cli(daemon.tcp, "SUBSCRIBE", "a/*").out


def test_redis_cli_session(daemon: Daemon, topic: str) -> None:
    """Many commands on one connection, as ``redis-cli`` reads them from its input, are answered in order."""
    lines = [f"PUBLISH {topic} {number}" for number in range(200)]
    ended = redis_cli(daemon.tcp, stdin="PING\n" + "\n".join(lines) + "\nECHO end\n")
    assert ended.out.split() == ["PONG", *["0"] * 200, "end"]


def test_load(daemon: Daemon, topic: str) -> None:
    """Of what ``redis-benchmark`` publishes at full speed over several connections, a subscriber gets all, in order."""
    host, port = split(daemon.tcp)
    load = ("-n", str(LOAD), "-P", "64", "-c", "4", "-q", "-r", "1000000000", "PUBLISH", topic, "__rand_int__")
    with watching(daemon, topic) as held:
        ended = run("redis-benchmark", "-h", host, "-p", port, *load)
        # Each connection sends whole pipelines, so that there may be a few more than were asked for.
        total = retained(daemon, topic)[0]["retained"]
        messages = held.until_messages(total)
    assert ended.code == 0, ended.err
    assert "requests per second" in ended.out
    assert "rror" not in ended.out + ended.err, (ended.out, ended.err)
    assert not held.controls("gap")
    positions = offsets(messages)
    assert len(positions) == total >= LOAD
    assert all(earlier < later for earlier, later in itertools.pairwise(positions))


def retained(daemon: Daemon, topic: str) -> list[dict[str, int]]:
    """What the daemon keeps of ``topic``."""
    found: list[dict[str, int]] = asked_json(daemon.http, f"/stats/topics?prefix={topic}")["topics"]
    return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_client(daemon: Daemon, topic: str, protocol: int) -> None:
    """Python's Redis client publishes in either version of the protocol, text and bytes that are none."""
    with watching(daemon, topic) as held, client(daemon, protocol) as publisher:
        assert publisher.ping()
        assert publisher.publish(topic, "one") == 1
        position = publisher.xadd(topic, {"data": b"\xff\x00", "type": "application/octet-stream"})
        messages = held.until_messages(2)
    assert messages[0]["data"] == "one"
    assert messages[1]["data64"] == "/wA="
    assert messages[1]["id"].encode() == position


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("transaction", [True, False])
def test_redis_pipeline(daemon: Daemon, topic: str, protocol: int, transaction: bool) -> None:
    """A pipeline of the client, as a transaction or not, publishes all its messages in order."""
    with watching(daemon, topic) as held, client(daemon, protocol) as publisher:
        pipeline = publisher.pipeline(transaction=transaction)
        for number in range(1000):
            pipeline.publish(topic, str(number))
        assert pipeline.execute() == [1] * 1000
        held.until_messages(1000)
    assert held.payloads() == [str(number) for number in range(1000)]


def test_redis_client_refused(daemon: Daemon, topic: str) -> None:
    """One message of a pipeline that is refused is an exception in its place; the others are published."""
    with watching(daemon, topic) as held, client(daemon, 3) as publisher:
        pipeline = publisher.pipeline(transaction=False)
        for name, text in ((topic, "one"), ("a//b", "x"), (topic, "two")):
            pipeline.publish(name, text)
        first, refused, second = pipeline.execute(raise_on_error=False)
        held.until_messages(2)
    assert (first, second) == (1, 1)
    assert isinstance(refused, redis.ResponseError)
    assert held.payloads() == ["one", "two"]


def test_netcat(daemon: Daemon, topic: str) -> None:
    """``printf … | nc -N``, which hangs up after its last line, gets its replies all the same."""
    host, port = split(daemon.tcp)
    with watching(daemon, topic) as held:
        ended = run("nc", "-N", host, port, stdin=f"PUBLISH {topic} hi\r\nPUBLISH {topic} 'two words'\r\n")
        held.until_messages(2)
    assert (ended.code, ended.out) == (0, ":1\r\n:1\r\n")
    assert held.payloads() == ["hi", "two words"]


def test_curl(daemon: Daemon, topic: str) -> None:
    """``curl -d`` publishes its text, though curl calls it a form; with a content type of its own, JSON is JSON."""
    url = f"http://{daemon.http}/topics/{topic}"
    with watching(daemon, topic) as held:
        first = json.loads(run(*CURL, "-d", "a=1&b=2", url).out)
        run(*CURL, "--json", '{"bid": 120}', url)
        messages = held.until_messages(2)
    assert [message["data"] for message in messages] == ["a=1&b=2", {"bid": 120}]
    assert messages[0]["id"] == first["id"]


def test_curl_batch(daemon: Daemon, topic: str) -> None:
    """Many messages in one POST, an object a line, have their positions in order; one mistake refuses them all."""
    url = f"http://{daemon.http}/topics"
    lines = [json.dumps({"topic": topic, "data": number}) for number in range(100)]
    batch = ("-w", "\n%{http_code}", "-H", "Content-Type: application/x-ndjson", "--data-binary", "@-", url)
    with watching(daemon, topic) as held:
        answer, _, status = run(*CURL, *batch, stdin="\n".join(lines)).out.rpartition("\n")
        assert status == "201"
        refused, _, status = run(*CURL, *batch, stdin="\n".join([*lines, "{}"])).out.rpartition("\n")
        assert status == "400"
        assert "line 101" in json.loads(refused)["detail"]
        publish(daemon.http, topic, "end")
        messages = held.until_messages(101)
    assert [message["data"] for message in messages] == [*range(100), "end"]
    assert [message["id"] for message in messages[:100]] == json.loads(answer)["ids"]


def test_curl_once(daemon: Daemon, topic: str) -> None:
    """A publish that is repeated with its Idempotency-Key is answered by 200 and the first position."""
    command = (
        *CURL,
        "-w",
        "\n%{http_code}",
        "-H",
        "Idempotency-Key: k1",
        "-d",
        "x",
        f"http://{daemon.http}/topics/{topic}",
    )
    first, second = run(*command).out.split("\n"), run(*command).out.split("\n")
    assert (first[1], second[1]) == ("201", "200")
    assert json.loads(first[0]) == json.loads(second[0])
    assert retained(daemon, topic)[0]["retained"] == 1


@pytest.mark.parametrize(
    "request_line", ["POST /topics/{} HTTP/1.1", "GET /topics/{} HTTP/1.1", "OPTIONS /{} HTTP/1.1"]
)
def test_browser_at_the_tcp_port(daemon: Daemon, topic: str, request_line: str) -> None:
    """HTTP at the TCP port is hung up on without an answer, and no line of it is taken for a command."""
    lines = (request_line.format(topic), "Host: 127.0.0.1", "", f"PUBLISH {topic} forged", "")
    with connected(daemon.tcp) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert received(connection) == b""
    assert retained(daemon, topic) == []


def test_curl_at_the_tcp_port(daemon: Daemon, topic: str) -> None:
    """curl is told at once that this is no HTTP."""
    ended = run(*CURL, "-d", f"PUBLISH {topic} forged\r\n", f"http://{daemon.tcp}/topics/{topic}")
    assert ended.code in (52, 56), ended
    assert retained(daemon, topic) == []


def received(connection: socket.socket) -> bytes:
    """All that comes until the daemon hangs up, by whichever means."""
    data = b""
    try:
        while more := connection.recv(65_536):
            data += more
    except ConnectionResetError:
        pass
    return data


def test_publisher_that_does_not_read(daemon: Daemon, topic: str) -> None:
    """A publisher that sends on and on without reading its replies is slowed down; once it reads, none is missing."""
    count = 200_000
    commands = f"PUBLISH {topic} x\r\n".encode() * 1000
    with connected(daemon.tcp) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sending = threading.Thread(target=connection.sendall, args=(commands * (count // 1000),))
        sending.start()
        assert asked_json(daemon.http, "/healthz") == {"status": "ok"}
        replies = 0
        while replies < count:
            replies += connection.recv(65_536).count(b"\n")
        sending.join()
    assert replies == count
