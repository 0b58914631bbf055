"""A daemon at its limits, on real sockets: it refuses in a clean way, serves on those it has, and recovers."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, connected, secured, subscribe
from tests.e2e.waiting import until
from tests.recipes.certificate import written

FEW = ("sh", "-c", 'ulimit -n 200 && exec "$@"', "sh")
"""Put before a command, it has two hundred descriptors."""

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
STRICT = ("--local", "anonymous", "--anonymous", "subscribe:**", "--anonymous", "publish:**")


@contextmanager
def short_of_descriptors(*options: str) -> Iterator[Daemon]:
    """A daemon that has two hundred descriptors, and whose log is as it should be when it has ended."""
    with running(*options, before=FEW) as daemon:
        yield daemon
        assert daemon.end() == 0
    log = "".join(daemon.log)
    for unwanted in ("Traceback", "Unhandled", "EMFILE", "Could not"):
        assert unwanted not in log, log


def everything(connection: socket.socket) -> bytes:
    """All that comes on ``connection`` until it ends; a reset behind a whole answer is no harm."""
    data = b""
    try:
        while more := connection.recv(65_536):
            data += more
    except ConnectionResetError:
        pass
    return data


def answer(connection: socket.socket) -> tuple[int, str]:
    """The status and the code of one whole answer, which may be followed by another."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        assert more, data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    (length,) = (int(line.split(": ")[1]) for line in lines if line.startswith("content-length"))
    while len(body) < length:
        more = connection.recv(65_536)
        assert more, data + body
        body += more
    status = int(lines[0].split()[1])
    if status >= 500:
        assert any(line.startswith("retry-after: ") for line in lines), lines
    return status, json.loads(body).get("code", "")


def asks(connection: socket.socket) -> tuple[int, str]:
    """What the daemon says of its health; a refusal may have come before it was asked."""
    try:
        connection.sendall(HEALTH)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return answer(connection)


def descriptors(daemon: Daemon) -> int:
    """How many descriptors the daemon has open."""
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def test_at_the_descriptor_limit() -> None:
    """Three hundred connections to a daemon with two hundred descriptors: those beyond are told so, over HTTP and over
    TCP; one that was there before is served on; once the others have gone all is as before."""
    with short_of_descriptors() as daemon, connected(daemon.http) as early, connected(daemon.tcp) as publisher:
        assert asks(early) == (200, "")
        at_rest = descriptors(daemon)
        with subscribe(daemon.http, "/topics/a?transport=sse", "sse") as held, ExitStack() as stack:
            crowd = [stack.enter_context(connected(daemon.http)) for _ in range(300)]
            told = Counter(asks(connection) for connection in crowd)
            assert set(told) == {(200, ""), (503, "too_many_connections")}
            assert told[200, ""] >= 100
            assert told[503, "too_many_connections"] >= 150
            assert descriptors(daemon) <= 190

            with connected(daemon.tcp) as late:
                refusal = everything(late)
                assert refusal.startswith(b"-ERR ")
                assert b" too_many_connections " in refusal
            assert asks(early) == (200, "")
            publisher.sendall(b"PUBLISH a 1\r\n")
            assert publisher.recv(100) == b":1\r\n"
            held.until_messages(1)
        until(lambda: descriptors(daemon) <= at_rest, "the descriptors are back")
        with connected(daemon.http) as again:
            assert asks(again) == (200, "")
        refused = asked_json(daemon.http, "/stats")["refused"]["too_many_connections"]
        assert refused == told[503, "too_many_connections"] + 1


def test_a_flood_at_the_descriptor_limit() -> None:
    """Connections that come all at once, are held, and say nothing: the daemon accepts them all, closes what it cannot
    keep, and answers those who were there and those who come afterwards."""
    with short_of_descriptors() as daemon, connected(daemon.http) as early:
        assert asks(early) == (200, "")
        at_rest = descriptors(daemon)
        for _ in range(3):
            with ExitStack() as stack:
                crowd = [stack.enter_context(socket.socket()) for _ in range(600)]
                host, _, port = daemon.http.rpartition(":")
                for each in crowd:
                    each.setblocking(False)
                    each.connect_ex((host, int(port)))
                assert asks(early) == (200, "")
                until(lambda: asked(daemon.http, "GET", "/healthz")[0] == 503, "there is no room")
        until(lambda: descriptors(daemon) <= at_rest, "the descriptors are back")
        assert asked(daemon.http, "GET", "/healthz")[0] == 200


def test_over_tls(tmp_path: Path) -> None:
    """The refusal comes behind the handshake, and in time."""
    written(tmp_path)
    endpoint = f"ssl:0:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem:interface=127.0.0.1"
    with running("--http", endpoint, "--max-connections", "1") as daemon:
        plain, tls = re.findall(r"console +https?://([0-9.:]+)", "".join(daemon.log))
        with connected(plain) as first:
            assert asks(first) == (200, "")
            with secured(tls, str(tmp_path / "cert.pem")) as late:
                assert asks(late) == (503, "too_many_connections")
            assert asks(first) == (200, "")
        until(lambda: asks_anew(secured(tls, str(tmp_path / "cert.pem"))), "there is room again")


def test_one_address_among_others() -> None:
    """An address that has as many connections as it may is told so; another is served."""
    with running(*STRICT, "--max-connections-per-address", "5") as daemon, ExitStack() as stack:
        host, _, port = daemon.http.rpartition(":")

        def comes_from(address: str) -> socket.socket:
            return stack.enter_context(socket.create_connection((host, int(port)), 20, (address, 0)))

        greedy = [comes_from("127.0.0.2") for _ in range(5)]
        assert {asks(connection) for connection in greedy} == {(200, "")}
        refused = comes_from("127.0.0.2")
        status, code = answer(refused)
        assert (status, code) == (429, "too_many_from_one")
        assert asks(comes_from("127.0.0.3")) == (200, "")
        greedy.pop().close()
        until(lambda: asks_anew(comes_from("127.0.0.2")), "there is room again")


def test_one_address_behind_a_proxy() -> None:
    """Connections on which a proxy says whose they are count for that address, and not for the proxy's."""
    options = ("--proxy", "127.0.0.1", "--anonymous", "subscribe:**", "--max-connections-per-address", "2")
    where = ("--http", "haproxy:tcp:0:interface=127.0.0.1", "--tcp", "tcp:0:interface=127.0.0.1")
    with running(*options, anywhere=where) as daemon, ExitStack() as stack:

        def speaks_for(address: str) -> socket.socket:
            connection = stack.enter_context(connected(daemon.http))
            connection.sendall(f"PROXY TCP4 {address} 127.0.0.1 50000 80\r\n".encode())
            return connection

        greedy = [speaks_for("192.0.2.7") for _ in range(2)]
        for _ in range(3):
            assert {asks(connection) for connection in greedy} == {(200, "")}
        assert asks(speaks_for("192.0.2.7")) == (429, "too_many_from_one")
        assert asks(speaks_for("192.0.2.8")) == (200, "")
        greedy.pop().close()
        until(lambda: asks_anew(speaks_for("192.0.2.7")), "there is room again")


def asks_anew(connection: socket.socket) -> bool:
    """Whether a new connection is served; one that is not is closed."""
    with connection:
        return asks(connection)[0] == 200


def test_too_many_requests_from_one_address() -> None:
    """One address that asks too often is told when to come again; another is not held up."""
    options = ("--requests-per-address", "5", "--burst", "2s")
    with running(*STRICT, *options) as daemon:
        host, _, port = daemon.http.rpartition(":")
        with (
            socket.create_connection((host, int(port)), 20, ("127.0.0.2", 0)) as eager,
            socket.create_connection((host, int(port)), 20, ("127.0.0.3", 0)) as calm,
        ):
            told = Counter(asks_for_topic(eager) for _ in range(40))
            assert set(told) == {200, 429}
            assert 10 <= told[200] < 40
            assert asks_for_topic(calm) == 200
            until(lambda: asks_for_topic(eager) == 200, "its time has come")


def asks_for_topic(connection: socket.socket) -> int:
    """The status of a poll that does not wait."""
    connection.sendall(b"GET /topics/a?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return answer(connection)[0]


def test_streams_that_come_and_go_are_counted_right() -> None:
    """Whoever opens and ends streams for long enough has as much room as before."""
    with running(*STRICT, "--max-streams-per-address", "10") as daemon:

        def churn() -> None:
            for number in range(40):
                transport = ("sse", "stream", "websocket")[number % 3]
                with subscribe(daemon.http, f"/topics/a?transport={transport}", transport) as held:
                    if number % 2:
                        held.reset()

        threads = [threading.Thread(target=churn) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with ExitStack() as stack:
            for _ in range(10):
                until(lambda: opens(daemon, stack), "there is room")
            assert opens(daemon, stack) is None


def opens(daemon: Daemon, stack: ExitStack) -> object:
    """Open one more stream; None if that is refused."""
    try:
        return stack.enter_context(subscribe(daemon.http, "/topics/a?transport=sse", "sse"))
    except AssertionError as refused:
        assert "too_many_from_one" in str(refused)
        return None
