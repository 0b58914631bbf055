"""Slowloris: connections that are kept busy with as few bytes as possible. Deadlines are absolute: a byte now and then
wins no time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import pytest

from tests.attacks.attacker import CHUNKED, crowd, publishing, push, request, rest_of, restored, serves, statuses
from tests.daemons import Daemon, running
from tests.e2e.held import connected
from tests.e2e.waiting import PATIENCE

SHORT = ("--head-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1s")
EACH = 30


@pytest.fixture(scope="module")
def hurried() -> Iterator[Daemon]:
    """A daemon that gives requests a second."""
    with running(*SHORT) as daemon, restored(daemon):
        yield daemon


@dataclass(slots=True)
class Slow:
    """An attacker, and what he was told."""

    connection: socket.socket
    drops: Iterator[int]
    answer: bytes = b""
    over: bool = False

    def drip(self) -> None:
        """Send one byte more, if the daemon takes it."""
        try:
            self.connection.send(bytes((next(self.drops),)))
            self.answer += (said := self.connection.recv(65_536))
            self.over = not said
        except BlockingIOError:
            pass
        except ConnectionError:
            self.over = True


def slow(connection: socket.socket, start: bytes, drops: bytes) -> Slow:
    """An attacker who sends ``start`` at once, and then ``drops`` for ever and byte by byte."""
    push(connection, start)
    connection.setblocking(False)
    return Slow(connection, cycle(drops))


def drip(attackers: list[Slow]) -> None:
    """Let all ``attackers`` drip until the daemon has ended each."""
    deadline = time.monotonic() + PATIENCE
    while left := [each for each in attackers if not each.over]:
        assert time.monotonic() < deadline, f"{len(left)} connections are kept, a byte at a time"
        for each in left:
            each.drip()
        time.sleep(0.01)  # slow is what the attack is


SLOW = {
    "head": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"x"),
    "request-line": (b"GET /", b"x"),
    "header-by-header": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
    "empty-lines": (b"", b"\r\n"),
    "body": (request("POST", "/topics/slow", "Content-Length: 1000000"), b"x"),
    "chunk": (request("POST", "/topics/slow", CHUNKED, body=b"f0000\r\n"), b"x"),
    "chunk-by-chunk": (request("POST", "/topics/slow", CHUNKED), b"1\r\nx\r\n"),
    "extension": (request("POST", "/topics/slow", CHUNKED, body=b"1;"), b"x"),
    "trailers": (request("POST", "/topics/slow", CHUNKED, body=b"0\r\n"), b"X: y\r\n"),
}


def test_a_byte_at_a_time(hurried: Daemon) -> None:
    """Hundreds of attackers send requests a byte at a time, and never end them: all are refused in time, and an honest
    client is served meanwhile."""
    with crowd(hurried.http, EACH * len(SLOW)) as connections:
        attackers = [slow(connection, *how) for connection, how in zip(connections, cycle(SLOW.values()), strict=False)]
        serves(hurried, "slowloris")
        drip(attackers)
    assert {tuple(statuses(each.answer)) for each in attackers} <= {(408,), ()}
    serves(hurried, "slowloris")


def test_almost_all_at_once(hurried: Daemon) -> None:
    """Who sends a large body at once but for its end, and that a byte at a time, does not hold its memory for long."""
    almost = request("POST", "/topics/slow", "Content-Length: 1000000", body=b"x" * 999_000)
    with crowd(hurried.http, 10) as connections:
        attackers = [slow(connection, almost, b"x") for connection in connections]
        drip(attackers)
    assert {tuple(statuses(each.answer)) for each in attackers} <= {(408,), ()}
    serves(hurried, "slowloris")


def test_between_requests(hurried: Daemon) -> None:
    """Who has been answered, and begins the next request a byte at a time, wins no time either."""
    with connected(hurried.http) as connection:
        push(connection, publishing("slow", b"one"))
        assert statuses(connection.recv(65_536)) == [201]
        attacker = slow(connection, b"", b"x")
        drip([attacker])
    assert statuses(attacker.answer) in ([], [400], [408])


def test_one_byte_and_no_more(hurried: Daemon) -> None:
    """Who sends one byte and then waits is refused as well."""
    with connected(hurried.http) as connection:
        push(connection, b"G")
        assert statuses(rest_of(connection)) == [408]


def test_who_stays_after_the_refusal(hurried: Daemon) -> None:
    """Who was refused and does not leave, but goes on sending, is dropped."""
    with connected(hurried.http) as connection:
        push(connection, b"no HTTP\r\n\r\n")
        assert statuses(connection.recv(65_536)) == [400]
        deadline = time.monotonic() + PATIENCE
        while push(connection, b"x"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
