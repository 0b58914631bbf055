"""Clients that do what they should not: the others do not notice, and nothing of them stays behind."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import Held, asked_json, connected, publish, streams, subscribe
from tests.e2e.waiting import until

MEGABYTE = "x" * 1_000_000


def sockets_of(daemon: Daemon) -> int:
    """How many sockets the daemon has open."""
    found = 0
    for descriptor in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def narrow(address: str) -> socket.socket:
    """A connection with as small a window as the system lets it have."""
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((host, int(port)))
    return connection


@pytest.mark.parametrize("transport", ["stream", "sse", "iframe", "multipart", "mixed", "websocket"])
def test_reader_that_never_reads(transport: str) -> None:
    """While one subscriber never reads, another has every message; after ``stall`` the first is dropped and counted."""
    with running("--stall", "1s") as daemon, Held(narrow(daemon.http)) as stuck:
        stuck.ask(f"/topics/load?transport={transport}", transport)
        with subscribe(daemon.http, "/topics/load?transport=stream", "stream") as reading:
            for number in range(20):
                publish(daemon.http, "load", f"{number} {MEGABYTE}")
                assert reading.until_messages(number + 1)[number]["data"].startswith(f"{number} ")
            assert not reading.controls("gap")
            until(lambda: len(streams(daemon.http, "load")) == 1, "the one who never reads is no longer listed")
            assert asked_json(daemon.http, "/stats")["stalled"] == 1
            publish(daemon.http, "load", "end")
            assert reading.until_messages(21)[20]["data"] == "end"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while stuck.socket.recv(65_536):
                pass


def test_memory_of_a_reader_that_never_reads(daemon: Daemon, topic: str) -> None:
    """Twenty subscribers that never read do not cost the daemon twenty times what is published."""
    publish(daemon.http, topic, MEGABYTE)
    before = memory_of(daemon)
    with ExitStack() as stack:
        for _ in range(20):
            held = stack.enter_context(Held(narrow(daemon.http)))
            held.ask(f"/topics/{topic}?transport=stream", "stream")
        for _ in range(20):
            publish(daemon.http, topic, MEGABYTE)
        until(lambda: {each["state"] for each in streams(daemon.http, topic)} == {"stuck"}, "all are stuck")
        assert memory_of(daemon) - before < 100_000_000
    until(lambda: not streams(daemon.http, topic), "all have left")


def memory_of(daemon: Daemon) -> int:
    """Bytes that the daemon occupies."""
    pages = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize("transport", ["poll", "stream", "sse", "iframe", "multipart", "mixed"])
def test_pipelined_behind_a_held_response(transport: str) -> None:
    """Twenty clients that pile up requests behind a held one are dropped; nothing of them stays behind."""
    with running() as daemon:
        before = sockets_of(daemon)
        request = f"GET /topics/quiet?transport={transport} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        with ExitStack() as stack:
            clients = [stack.enter_context(connected(daemon.http)) for _ in range(20)]
            for client in clients:
                client.sendall(request)
            until(lambda: len(streams(daemon.http, "quiet")) == 20, "all are held")
            for client in clients:
                overfill(client, request)
            until(lambda: not streams(daemon.http, "quiet"), "none is listed")
            until(lambda: sockets_of(daemon) == before, "no socket is left")


def overfill(connection: socket.socket, request: bytes) -> None:
    """Send more than anybody would, as far as it is taken."""
    try:
        connection.sendall(request * 400)
    except OSError:
        pass


def test_request_that_does_not_end(daemon: Daemon) -> None:
    """Headers without an end are refused once they are too long, and the connection is closed."""
    with connected(daemon.http) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        overfill(connection, b"X-More: " + b"x" * 100 + b"\r\n")
        answer = b""
        try:
            while more := connection.recv(65_536):
                answer += more
        except ConnectionResetError:
            pass
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_slow_head() -> None:
    """A client that sends its request a byte at a time wins no time with that."""
    with running("--head-timeout", "500ms") as daemon, connected(daemon.http) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        connection.setblocking(False)
        answer: list[bytes] = []

        def refused() -> bool:
            try:
                connection.send(b"x")
                answer.append(connection.recv(65_536))
            except BlockingIOError:
                pass
            return bool(answer)

        until(refused, "the connection is closed")
    assert answer[0].startswith(b"HTTP/1.1 408 ")


def test_connections_that_say_nothing() -> None:
    """Connections that say nothing are closed."""
    with running("--head-timeout", "500ms") as daemon, ExitStack() as stack:
        silent = [stack.enter_context(connected(daemon.http)) for _ in range(20)]
        for connection in silent:
            assert connection.recv(100) == b""


def test_other_host(daemon: Daemon) -> None:
    """A name that somebody else has pointed at the loopback is not answered to, nor is a page of another origin."""
    for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        with pytest.raises(AssertionError, match=r"HTTP/1\.1 (403|421) "):
            subscribe(daemon.http, "/topics/a?transport=sse", "sse", **header)
