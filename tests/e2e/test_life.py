"""The daemon's life: what it needs to start, what it tells while it runs, how it ends."""

from __future__ import annotations

import re
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons import Daemon, running, twistd
from tests.e2e.held import Held, asked, asked_json, connected, publish, streams, subscribe
from tests.e2e.waiting import until
from tests.framing_readers import SseReader

TRANSPORTS = ("poll", "stream", "sse", "iframe", "multipart", "mixed", "websocket")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(number: int) -> None:
    """Told to stop, the daemon lets everybody know, in whichever way their transport has, and ends with exit code 0."""
    with running() as daemon, ExitStack() as stack:
        held = {name: subscribe_quietly(stack, daemon, name) for name in TRANSPORTS}
        publisher = stack.enter_context(connected(daemon.tcp))
        publisher.sendall(b"PING\r\n")
        assert publisher.recv(100) == b"+PONG\r\n"
        began = time.monotonic()
        assert daemon.end(number) == 0
        assert time.monotonic() - began < 5  # drain
        for name in ("stream", "sse", "iframe", "multipart", "mixed"):
            assert held[name].until_end().controls("bye")[0]["reason"] == "shutdown", name
        farewell = everything(held["websocket"].socket)
        assert b'{"comet":"bye","reason":"shutdown"' in farewell
        assert farewell.endswith(b"\x88\x02\x03\xe9")  # a close frame that says 1001: going away
        assert everything(held["poll"].socket).startswith(b"HTTP/1.1 200 OK\r\n")
        assert publisher.recv(100) == b""
        log = "".join(daemon.log)
    assert "Traceback" not in log
    assert "Unhandled" not in log


def everything(connection: socket.socket) -> bytes:
    """All that comes until the daemon hangs up."""
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data


def subscribe_quietly(stack: ExitStack, daemon: Daemon, transport: str) -> Held:
    """A subscriber that waits; a poll's head comes with its answer, so that it is only sent."""
    if transport != "poll":
        return stack.enter_context(subscribe(daemon.http, f"/topics/quiet?transport={transport}", transport))
    held = stack.enter_context(Held(connected(daemon.http)))
    held.socket.sendall(b"GET /topics/quiet HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: streams(daemon.http, "quiet"), "the poll is held")
    return held


def test_stop_answers_polls() -> None:
    """A poll that is held while the daemon stops has an empty answer, from whose ``next`` it can go on."""
    with running() as daemon, connected(daemon.http) as poll:
        position = publish(daemon.http, "other", "x")
        poll.sendall(b"GET /topics/quiet HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: streams(daemon.http, "quiet"), "the poll is held")
        assert daemon.end() == 0
        answer = poll.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"messages":[],"next":"%b","retry":2000}' % position.encode())


def test_stop_spreads_the_return() -> None:
    """When they are told to come back differs from client to client, evenly over the seconds of ``spread``."""
    with running("--retry", "1s", "--spread", "4s") as daemon, ExitStack() as stack:
        names = ("stream", "sse", "websocket", "iframe")
        held = [subscribe_quietly(stack, daemon, name) for name in names]
        assert daemon.end() == 0
        assert [each.until_control("bye")["retry"] for each in held] == [1000, 2000, 3000, 4000]


def test_stop_answers_pipelines(topic: str) -> None:
    """Every command that was executed is replied to, even while its publisher goes on sending."""
    with running() as daemon, connected(daemon.tcp) as publisher:
        sending = threading.Thread(target=send_for_ever, args=(publisher, b"XADD a * data x\r\n" * 100))
        sending.start()
        replies = publisher.recv(65_536)
        daemon.process.terminate()
        while more := publisher.recv(65_536):
            replies += more
        publisher.shutdown(socket.SHUT_RDWR)
        sending.join(20)
        assert daemon.process.wait(20) == 0
    offsets = [int(line.rpartition(b"-")[2]) for line in replies.split(b"\r\n")[1::2]]
    assert offsets == list(range(1, len(offsets) + 1))
    assert replies.endswith(b"\r\n")


def send_for_ever(connection: socket.socket, data: bytes) -> None:
    """Send until that is no longer possible."""
    try:
        while True:
            connection.sendall(data)
    except OSError:
        pass


def test_stop_with_a_client_that_does_not_read() -> None:
    """One who does not read cannot keep the daemon from stopping for longer than ``drain``."""
    with running("--drain", "500ms") as daemon, subscribe(daemon.http, "/topics/a?transport=stream", "stream"):
        for _ in range(20):
            publish(daemon.http, "a", "x" * 500_000)
        assert streams(daemon.http, "a")[0]["state"] == "stuck"
        began = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - began < 5


def test_stop_delivers_what_was_acknowledged() -> None:
    """What was acknowledged before the daemon was told to stop reaches the subscribers before their bye."""
    with running() as daemon, subscribe(daemon.http, "/topics/a?transport=stream", "stream") as held:
        with connected(daemon.tcp) as publisher:
            publisher.sendall(b"PUBLISH a x\r\n" * 1000)
            replies = b""
            while replies.count(b"\n") < 1000:
                replies += publisher.recv(65_536)
            daemon.process.terminate()
            held.until_control("bye")
        assert daemon.process.wait(20) == 0
        assert len(held.messages()) == 1000


def test_busy_port() -> None:
    """A port that another process has is told in one line with what to do, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp:{server.getsockname()[1]}:interface=127.0.0.1"
        ended = twistd("-n", "--pidfile=", "comet", "--http", endpoint, "--tcp", "tcp:0:interface=127.0.0.1")
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    assert re.fullmatch(rf"comet: cannot listen on {endpoint}: address already in use; [^\n]*\n", ended.err)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--silence", "soon", "comet: --silence: 'soon' cannot be used: "),
        ("--http", "tcp:x:y", "comet: --http: 'tcp:x:y' cannot be used: "),
        ("--store", "redis:", "comet: --store: 'redis:' cannot be used: "),
    ],
)
def test_bad_setting(flag: str, value: str, said: str) -> None:
    """A setting that cannot be used is told in one line with what is right, and exit code 1."""
    ended = twistd("-n", "--pidfile=", "comet", flag, value)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith(said)
    assert "Traceback" not in ended.out


def test_introspection() -> None:
    """While streams of every transport are open, the daemon tells what it does, to people and to monitors."""
    with running() as daemon, ExitStack() as stack:
        for name in TRANSPORTS:
            subscribe_quietly(stack, daemon, name)
        publish(daemon.http, "loud", "x" * 100)
        assert asked_json(daemon.http, "/healthz")["status"] == "ok"
        assert asked_json(daemon.http, "/readyz")["status"] == "ok"
        found = streams(daemon.http, "quiet")
        assert [stream["transport"] for stream in found] == list(TRANSPORTS)
        assert all(stream["behind"] == {"messages": 0, "bytes": 0, "more": False} for stream in found)
        assert all(re.fullmatch(r"127\.0\.0\.1:[0-9]+", stream["address"]) for stream in found)
        stats = asked_json(daemon.http, "/stats")
        assert stats["subscriptions"] == dict.fromkeys(TRANSPORTS, 1)
        assert (stats["published"], stats["retained"], stats["topics"]) == (1, 1, 1)
        topics = asked_json(daemon.http, "/stats/topics")["topics"]
        assert [(topic["topic"], topic["retained"], topic["subscribers"]) for topic in topics] == [("loud", 1, 0)]
        status, header, body = asked(daemon.http, "GET", "/metrics")
        assert (status, header["content-type"].partition(";")[0]) == (200, "text/plain")
        lines = body.decode().splitlines()
        assert "comet_published_total 1" in lines
        assert 'comet_subscriptions{transport="sse"} 1' in lines


def test_stream_leaves() -> None:
    """A client that leaves, in whichever way, is no longer listed."""
    with running() as daemon:
        first = subscribe(daemon.http, "/topics/a?transport=sse", "sse")
        second = subscribe(daemon.http, "/topics/a?transport=websocket", "websocket")
        with connected(daemon.http) as poll:
            poll.sendall(b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: len(streams(daemon.http, "a")) == 3, "three streams are listed")
        first.socket.close()
        second.reset()
        until(lambda: not streams(daemon.http, "a"), "no stream is listed")


def test_end_a_stream(daemon: Daemon, topic: str) -> None:
    """Who knows a stream's id can change its topics and end it."""
    with subscribe(daemon.http, f"/topics/{topic}?transport=sse", "sse") as held:
        target = f"/streams/{held.until_control('open')['stream']}"
        assert asked(daemon.http, "POST", target, b'{"subscribe":["%b/b"]}' % topic.encode())[0] == 204
        assert sorted(held.until_control("topics")["topics"]) == [topic, f"{topic}/b"]
        publish(daemon.http, f"{topic}/b", "one")
        assert held.until_messages(1)[0]["data"] == "one"
        assert asked(daemon.http, "DELETE", target)[0] == 204
        assert held.until_control("bye")["reason"] == "ended"
        held.until_end()
        assert asked(daemon.http, "DELETE", target)[0] == 404


def test_heartbeat() -> None:
    """A stream on which nothing happens hears a heartbeat, and it advances with what happens on other topics."""
    with running("--silence", "300ms") as daemon, ExitStack() as stack:
        names = ("stream", "sse", "iframe", "mixed", "websocket")
        held = [stack.enter_context(subscribe(daemon.http, f"/topics/a?transport={name}", name)) for name in names]
        position = publish(daemon.http, "b", "x")
        for each in held:
            each.until(lambda held: told(held) == position, "a heartbeat")


def told(held: Held) -> str:
    """The position that the last heartbeat told; on SSE a browser takes it as the last id, and tells no listener."""
    if isinstance(held.reader, SseReader):
        return held.reader.parser.last_event_id
    return str(held.controls("beat")[-1]["position"]) if held.controls("beat") else ""


def test_descriptors() -> None:
    """The daemon raises the number of files that it may have open to what the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with running() as daemon:
            limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = re.search(r"^Max open files\s+(\S+)\s+(\S+)", limits, re.MULTILINE)
    assert found is not None
    assert found[1] == found[2] == str(hard)
