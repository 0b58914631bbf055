"""The blocking publisher, as an application uses it."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from comet.publish import Draft, Publisher, PublishFailed, PublishRefused
from tests.daemons import Daemon, command, running
from tests.e2e.held import asked_json
from tests.e2e.waiting import until
from tests.recipes import certificate
from tests.relay import Relay
from tests.stage import Stage

_topics = count()


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"publish/{next(_topics)}"


@pytest.fixture(params=["tcp", "http"])
def publisher(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Publisher]:
    """A publisher over TCP, and one over HTTP."""
    with Publisher(daemon.tcp if request.param == "tcp" else f"http://{daemon.http}/") as publisher:
        yield publisher


def stored(daemon: Daemon, topic: str) -> list[dict[str, Any]]:
    """All messages of ``topic``."""
    found: list[dict[str, Any]] = asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0&limit=10000")["messages"]
    return found


@pytest.mark.parametrize(
    ("data", "content_type", "member", "value"),
    [
        ("text", None, "data", "text"),
        ("", None, "data", ""),
        ("12", None, "data", "12"),
        ("12", "application/json", "data", 12),
        ('"a"', "application/json", "data", "a"),
        (b"\xff\x00", None, "data64", "/wA="),
        (bytearray(b"bytes"), "image/png", "data", "bytes"),
        ({"bid": 120, "name": "\u00e9"}, None, "data", {"bid": 120, "name": "\u00e9"}),
        ([1, None], None, "data", [1, None]),
        (None, None, "data", None),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_data(
    daemon: Daemon,
    publisher: Publisher,
    topic: str,
    data: object,
    content_type: str,
    member: str,
    value: object,
    many: bool,
) -> None:
    """Bytes and text are published as they are, anything else as JSON; the answer is the position."""
    drafts = [Draft(topic, data, content_type)] * 2
    if many:
        positions = publisher.publish_many(drafts)
    else:
        positions = [publisher.publish(topic, data, content_type=content_type) for _ in drafts]
    messages = stored(daemon, topic)
    assert [message["id"] for message in messages] == positions
    assert [message[member] for message in messages] == [value, value]


def test_data_that_is_no_json(publisher: Publisher, topic: str) -> None:
    """What cannot be written as JSON is the caller's mistake; with ``dumps`` the caller says how to write it."""
    with pytest.raises(TypeError):
        publisher.publish(topic, {1, 2})
    with pytest.raises(ValueError, match="JSON"):
        publisher.publish(topic, float("nan"))
    with Publisher(publisher.server, dumps=repr) as other, pytest.raises(PublishRefused, match="bad_json"):
        other.publish(topic, {1, 2})


def test_topics(daemon: Daemon, publisher: Publisher) -> None:
    """Topics are any text, also where it has to be spelt in another way on the wire."""
    for topic in ("publish/a b", "publish/%41", "publish/\u00e9?x=1#y", "publish/'\"\\"):
        position = publisher.publish(topic, "x")
        found = asked_json(daemon.http, "/topics/publish/*?since=-1&wait=0")["messages"]
        assert [(message["id"], message["topic"]) for message in found] == [(position, topic)]


def test_key(daemon: Daemon, publisher: Publisher, topic: str) -> None:
    """With a key of the application, the same message is published once, however often it is tried."""
    first = publisher.publish(topic, "x", key="k\u00e9y")
    assert publisher.publish(topic, "x", key="k\u00e9y") == first
    assert publisher.publish_many([Draft(topic, "x", None, "k\u00e9y"), (topic, "y")])[0] == first
    assert [message["data"] for message in stored(daemon, topic)] == ["x", "y"]


def test_many(daemon: Daemon, publisher: Publisher, topic: str) -> None:
    """Many messages are published in order, and so are their positions."""
    positions = publisher.publish_many((topic, number) for number in range(999))
    messages = stored(daemon, topic)
    assert [message["data"] for message in messages] == list(range(999))
    assert [message["id"] for message in messages] == positions
    assert publisher.publish_many([]) == []


def test_slow_source(daemon: Daemon, publisher: Publisher, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that took its time to come does not wait for the next one: when that is asked for, it is on its way."""
    monkeypatch.setattr("comet.publish.GATHERED", 0.0)

    def messages() -> Iterator[tuple[str, int]]:
        for number in range(3):
            yield topic, number
            until(lambda: len(stored(daemon, topic)) > number, "the message before")  # noqa: B023

    assert len(publisher.publish_many(messages())) == 3


def test_refused(publisher: Publisher) -> None:
    """What the daemon refuses is told with its code and its words, and not tried again."""
    with pytest.raises(PublishRefused, match="bad_topic: 'a//b' is not a topic") as refused:
        publisher.publish("a//b", "x")
    assert (refused.value.code, refused.value.index, refused.value.positions) == ("bad_topic", 0, [None])
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.positions) == (str(refused.value), [None])


def test_refused_among_others(daemon: Daemon, publisher: Publisher, topic: str) -> None:
    """One message that is refused does not keep those beside it from being published; no more are asked for."""
    asked = []

    def messages() -> Iterator[tuple[str, str]]:
        for number in range(5000):
            asked.append(number)
            yield topic if number != 3 else "a//b", str(number)

    with pytest.raises(PublishRefused) as refused:
        publisher.publish_many(messages())
    positions = refused.value.positions
    assert (refused.value.index, len(positions)) == (3, len(asked))
    assert [number for number, position in enumerate(positions) if position is None] == [3]
    assert len(asked) < 5000
    found = stored(daemon, topic)
    assert [message["id"] for message in found] == [position for position in positions if position]


def test_mistake_of_the_caller(daemon: Daemon, publisher: Publisher, topic: str) -> None:
    """When the messages end in an exception, that is what the caller gets, and the publisher is as before."""

    def messages() -> Iterator[tuple[str, str]]:
        yield topic, "1"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        publisher.publish_many(messages())
    publisher.publish(topic, "2")
    assert stored(daemon, topic)[-1]["data"] == "2"


def test_threads(daemon: Daemon, topic: str) -> None:
    """Any number of threads may share a publisher; its connections are as many as publish at once, and are kept."""
    with (
        Relay(daemon.tcp, lambda _: True) as relay,
        Publisher(relay.address) as publisher,
        ThreadPoolExecutor(8) as threads,
    ):
        positions = list(threads.map(lambda number: publisher.publish(topic, number), range(400)))
        assert len(set(positions)) == 400
        assert sorted(message["data"] for message in stored(daemon, topic)) == list(range(400))
        made = relay.connections
        assert 1 <= made <= 8
        publisher.publish(topic, "x")
        assert relay.connections == made


FORK = """
import os, sys
from comet.publish import Publisher
with Publisher(sys.argv[1]) as publisher:
    publisher.publish(sys.argv[2], "before")
    child = os.fork()
    for number in range(200):
        publisher.publish(sys.argv[2], ("parent" if child else "child") + str(number))
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


def test_fork(daemon: Daemon, topic: str) -> None:
    """A process that forks goes on publishing, and so does its child, each on connections and with keys of its own."""
    ended = command("-c", FORK, daemon.tcp, topic)
    assert (ended.code, ended.err) == (0, "")
    data = [message["data"] for message in stored(daemon, topic)]
    assert data[0] == "before"
    for name in ("parent", "child"):
        assert [each for each in data if each.startswith(name)] == [f"{name}{number}" for number in range(200)]


@pytest.mark.parametrize("many", [True, False])
def test_connection_broken_off(daemon: Daemon, topic: str, many: bool) -> None:
    """When the connection breaks and replies are lost with it, what was not acknowledged is sent again, and published
    once, because the daemon knows its key."""
    lots = []

    def cut(data: bytes) -> bool:
        lots.append(data)
        return len(lots) not in (2, 3, 5)

    with Relay(daemon.tcp, cut) as relay, Publisher(relay.address) as publisher:
        if many:
            positions = publisher.publish_many((topic, number) for number in range(5000))
        else:
            positions = [publisher.publish(topic, number) for number in range(100)]
        assert relay.connections == 4
    messages = stored(daemon, topic)
    assert [message["data"] for message in messages] == list(range(len(positions)))[-1000:]
    assert [message["id"] for message in messages] == positions[-1000:]


POSITION = b"$10\r\n00000000-1\r\n"


@pytest.mark.parametrize(
    "first", [b"", b"-ERR draining the daemon is shutting down\r\n", b"-ERR store_failed no room\r\n", b"$10\r\n0000"]
)
def test_tried_again(first: bytes) -> None:
    """A message that is not answered, or refused for a while, is sent again as it was, with the same key."""
    with Stage(first, POSITION) as stage, Publisher(stage.address) as publisher:
        assert publisher.publish("a", "x") == "00000000-1"
        publisher.close()
    assert stage.requests[0] == stage.requests[1]
    assert b"$3\r\nkey\r\n" in stage.requests[0]


def test_tried_again_over_http() -> None:
    """So is one that a proxy answers because the daemon is not there, or does not answer at all."""
    gone = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    done = b'HTTP/1.1 201 Created\r\nContent-Length: 19\r\n\r\n{"id":"00000000-1"}'
    with Stage(b"", gone, done) as stage, Publisher(f"http://{stage.address}/push/") as publisher:
        assert publisher.publish("a", "x") == "00000000-1"
        publisher.close()
    assert len({request.partition(b"\r\n\r\n")[0] for request in stage.requests}) == 1
    assert stage.requests[0].startswith(b"POST /push/topics/a HTTP/1.1\r\n")
    assert b"\r\nIdempotency-Key: " in stage.requests[0]


def test_refused_by_a_proxy() -> None:
    """What answers may be no Comet; then its status is the reason."""
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    with Stage(answer) as stage, Publisher(f"http://{stage.address}") as publisher:
        with pytest.raises(PublishRefused, match="http_403: the answer is 403 Forbidden"):
            publisher.publish("a", "x")
        publisher.close()


def test_nobody_there() -> None:
    """When patience is over, the exception has the messages with their keys, so that they can be tried once more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:" + str(server.getsockname()[1])
    with Publisher(address, patience=0.2) as publisher, pytest.raises(PublishFailed) as failed:
        publisher.publish_many([("a", "1"), Draft("b", {"x": 1}, None, "mine")])
    error = failed.value
    assert str(error) == (f"2 of 2 messages are not acknowledged; the last attempt: {address}: connection refused")
    assert error.positions == [None, None]
    first, second = error.unacknowledged
    assert first[:3] == ("a", b"1", None)
    assert first.key
    assert second == Draft("b", b'{"x":1}', "application/json", "mine")
    again = pickle.loads(pickle.dumps(error))
    assert again.unacknowledged == error.unacknowledged


def test_comes_later(topic: str) -> None:
    """A daemon that is not there yet is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Publisher(f"127.0.0.1:{port}") as publisher, ThreadPoolExecutor(1) as threads:
        published = threads.submit(publisher.publish, topic, "x")
        with running("--tcp", f"tcp:{port}:interface=127.0.0.1", "--http", "tcp:0:interface=127.0.0.1", anywhere=()):
            assert published.result(20).endswith("-1")


def test_no_answer() -> None:
    """A daemon that takes messages and does not answer is given up after the time it was given."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:" + str(server.getsockname()[1])
        with Publisher(address, timeout=0.1, patience=0.2) as publisher:
            with pytest.raises(PublishFailed, match="it takes too long to answer"):
                publisher.publish("a", "x")
            with pytest.raises(PublishFailed, match="it takes too long to answer"):
                publisher.publish("a", "x" * 10_000_000)


def test_wrong_port(daemon: Daemon) -> None:
    """Who confuses the two ports is told so, at once over TCP."""
    with Publisher(daemon.http) as publisher, pytest.raises(PublishRefused, match="does not speak RESP; give the TCP"):
        publisher.publish("a", "x")
    with (
        Publisher(f"http://{daemon.tcp}", patience=0.1) as publisher,
        pytest.raises(PublishFailed, match="connection reset by peer"),
    ):
        publisher.publish("a", "x")


def test_too_many_keys(topic: str) -> None:
    """A daemon that remembers as many keys as it may is waited for; who publishes without keys need not wait."""
    with running("--max-keys", "1") as daemon:
        with Publisher(daemon.tcp, patience=0.2) as publisher:
            publisher.publish(topic, "1")
            with pytest.raises(PublishFailed, match="too_many_keys: 1 idempotency keys are remembered already"):
                publisher.publish(topic, "2")
        with Publisher(daemon.tcp, keys=False) as publisher:
            publisher.publish(topic, "3")
        assert [message["data"] for message in stored(daemon, topic)] == ["1", "3"]


def test_unix_socket(tmp_path: Path, topic: str) -> None:
    """A daemon on the same machine may be named by its socket."""
    path = tmp_path / "comet.sock"
    with running("--tcp", f"unix:{path}") as daemon, Publisher(str(path)) as publisher:
        position = publisher.publish(topic, "x")
        assert [message["id"] for message in stored(daemon, topic)] == [position]


def test_tls(tmp_path: Path, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over https the certificate is checked, and the connection is kept; what is not trusted is not published to."""
    files = certificate.written(tmp_path)
    endpoint = f"ssl:0:privateKey={files.key}:certKey={files.cert}:interface=127.0.0.1"
    with running("--http", endpoint) as daemon:
        plain, tls = re.findall(r"console +https?://(\S+?)/?$", "".join(daemon.log), re.MULTILINE)
        with Publisher(f"https://{tls}/", patience=0.1) as publisher:
            with pytest.raises(PublishFailed, match="certificate verify failed"):
                publisher.publish(topic, "x")
            monkeypatch.setenv("SSL_CERT_FILE", str(files.cert))
            first, second = (publisher.publish(topic, "x") for _ in range(2))
        assert [message["id"] for message in stored(replace(daemon, http=plain), topic)] == [first, second]


def test_closed(daemon: Daemon, topic: str) -> None:
    """A publisher that is closed publishes no more, and says so."""
    publisher = Publisher(daemon.tcp)
    publisher.publish(topic, "x")
    publisher.close()
    publisher.close()
    with pytest.raises(ValueError, match="closed"):
        publisher.publish(topic, "x")


def test_bad_server() -> None:
    """A server that cannot be is refused when the publisher is made, not when it is used."""
    for server in ("push", "http://"):
        with pytest.raises(ValueError, match="cannot be used"):
            Publisher(server)


def test_default(daemon: Daemon, topic: str) -> None:
    """The module has a function for who needs no publisher of their own; a variable says where the daemon is."""
    program = "import sys; from comet.publish import publish; print(publish(sys.argv[1], {'x': 1}))"
    ended = command("-W", "error", "-X", "dev", "-c", program, topic, environ={"COMET_SERVER": daemon.tcp})
    assert (ended.code, ended.err) == (0, "")
    assert [message["id"] for message in stored(daemon, topic)] == [ended.out.strip()]


def test_light() -> None:
    """The module is light: it imports nothing that an application does not have anyway."""
    program = "import sys, comet.publish; print(*(name.partition('.')[0] for name in sys.modules))"
    modules = set(command("-c", program).out.split())
    assert not modules & {"twisted", "zope", "msgspec", "klein", "treq", "http", "ssl", "email", "asyncio"}
