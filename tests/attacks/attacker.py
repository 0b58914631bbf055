"""What attackers do, as far as several tests need it: bytes as they are on a socket, and a look at what the daemon has
left of them. The honest clients are those of ``tests/e2e/held.py``."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.daemons import Daemon
from tests.e2e.held import asked_json, connected, publish, subscribe
from tests.e2e.waiting import PATIENCE, until

MEGABYTE = 1_000_000
CHUNKED = "Transfer-Encoding: chunked"


def exchanged(address: str, *pieces: bytes) -> bytes:
    """Send ``pieces``, each in a packet of its own, and return all that comes until the daemon closes."""
    with connected(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            push(connection, piece)
        return rest_of(connection)


def push(connection: socket.socket, data: bytes) -> bool:
    """Send ``data``; returns False if the daemon does not want it any more."""
    try:
        connection.sendall(data)
    except (ConnectionError, TimeoutError):
        return False
    return True


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the daemon closes the connection, which it must."""
    answer = b""
    try:
        while more := connection.recv(65_536):
            answer += more
    except ConnectionError:
        pass
    return answer


def statuses(answer: bytes) -> list[int]:
    """The status of each response in ``answer``."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ", answer)]


def request(method: str, target: str, *lines: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """The bytes of a request without any length but what ``lines`` say."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1") + body


def publishing(topic: str, body: bytes = b"evil", *lines: str) -> bytes:
    """The bytes of an honest request that publishes: what attackers want to have slipped in."""
    return request("POST", f"/topics/{topic}", f"Content-Length: {len(body)}", *lines, body=body)


@contextmanager
def narrow(address: str) -> Iterator[socket.socket]:
    """A connection with as small a window as the system lets it have."""
    host, _, port = address.rpartition(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect((host, int(port)))
        yield connection


@contextmanager
def crowd(address: str, count: int) -> Iterator[list[socket.socket]]:
    """``count`` connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(address)) for _ in range(count)]


# -- what the daemon has left of it -----------------------------------------------------------------------------------


def published(daemon: Daemon, topic: str) -> list[Any]:
    """What is on ``topic``."""
    found = asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0&transport=poll")["messages"]
    return [message.get("data", message.get("data64")) for message in found]


def serves(daemon: Daemon, topic: str) -> None:
    """An honest subscriber has what an honest publisher publishes."""
    with subscribe(daemon.http, f"/topics/{topic}?transport=sse", "sse") as held:
        publish(daemon.http, topic, "honest")
        assert held.until_messages(1)[0]["data"] == "honest"


def standing(daemon: Daemon) -> dict[str, Any]:
    """What there is of clients at the moment."""
    figures = asked_json(daemon.http, "/stats")
    kept = ("subscriptions", "live", "reading", "stuck", "audiences", "connections")
    return {name: figures[name] for name in kept}


def sockets_of(daemon: Daemon) -> int:
    """How many sockets the daemon has open."""
    found = 0
    for descriptor in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def at_rest(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    """The sockets and what there is of clients, once nobody but who asks is connected."""
    until(lambda: standing(daemon)["connections"] == {"http": 1, "tcp": 0}, "everybody has left")
    found = standing(daemon)
    return sockets_of(daemon), found


@contextmanager
def restored(daemon: Daemon) -> Iterator[None]:
    """Whatever is done within the block, afterwards there is of clients what there was before, and no more sockets."""
    before = at_rest(daemon)
    yield
    until(lambda: at_rest(daemon) == before, f"it is as it was before: {before}")


def memory_of(daemon: Daemon) -> int:
    """Bytes that the daemon occupies (VmRSS)."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
