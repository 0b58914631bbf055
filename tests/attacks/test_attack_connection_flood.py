"""Connection floods: thousands of connections that ask for nothing, or leave at once."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.attacks.attacker import crowd, memory_of, restored, serves, sockets_of
from tests.daemons import running
from tests.e2e.held import connected, publish, subscribe
from tests.e2e.waiting import until

MANY = 2000
PER_SILENT = 8_000
"""Bytes that a connection may cost which says nothing."""


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """This process may have ``count`` descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, before[0]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_that_say_nothing() -> None:
    """Two thousand connections on which nothing is sent are closed after the head timeout; an honest client is not
    disturbed, and neither a descriptor nor much memory is left with the daemon."""
    with (
        descriptors(MANY + 500),
        running("--head-timeout", "2s") as daemon,
        restored(daemon),
        subscribe(daemon.http, "/topics/flood?transport=stream", "stream") as honest,
    ):
        before = memory_of(daemon), sockets_of(daemon)
        with crowd(daemon.http, MANY) as silent:
            publish(daemon.http, "flood", "during")
            assert honest.until_messages(1)[0]["data"] == "during"
            assert memory_of(daemon) - before[0] < MANY * PER_SILENT
            for connection in silent:
                assert connection.recv(1) == b""
        until(lambda: sockets_of(daemon) == before[1], "their descriptors are back")
        publish(daemon.http, "flood", "after")
        assert honest.until_messages(2)[1]["data"] == "after"


def test_connections_that_leave_at_once() -> None:
    """Two thousand connections that come and go leave nothing."""
    with running() as daemon, restored(daemon):
        for number in range(MANY):
            connected(daemon.http if number % 2 else daemon.tcp).close()
        serves(daemon, "flood")
