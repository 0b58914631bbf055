"""Varnish as it comes: what the recipe is needed for."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import publish, streams, subscribe
from tests.e2e.waiting import until
from tests.recipes.clients import Client
from tests.recipes.faces import ANYBODY
from tests.recipes.proxies import Front, proxy
from tests.recipes.wires import connect

PLAIN = """
vcl 4.1;
backend comet { .host = "127.0.0.1"; .port = "UPSTREAM_PORT"; }
"""


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[Daemon, Front]]:
    """A Varnish that is told where Comet is, and nothing else."""
    with running(*ANYBODY) as daemon, proxy("varnish", PLAIN, daemon.http) as front:
        yield daemon, front


def client_of(front: Front) -> Client:
    """A new connection."""
    return Client(lambda: connect(front.address, front.ca, "localhost", "http/1.1"), "localhost")


def test_streams_lag(behind: tuple[Daemon, Front], topic: str) -> None:
    """Of a stream, the message that crosses a border of 16 KiB does not come before the next one."""
    daemon, front = behind
    with client_of(front) as client, subscribe(daemon.http, f"/topics/{topic}?transport=sse", "sse") as direct:
        client.ask(f"/topics/{topic}?transport=sse", "sse")
        until(lambda: len(streams(daemon.http, topic)) == 2, "both are held")
        for _ in range(2):
            publish(daemon.http, topic, "x" * 9_000)
        direct.until_messages(2)
        client.until_messages(1)
        while select.select([client.socket], [], [], 0)[0]:
            client.read()
        assert len(client.messages()) == 1
        publish(daemon.http, topic, "x" * 9_000)
        client.until_messages(3)


def test_websocket(behind: tuple[Daemon, Front], topic: str) -> None:
    """A WebSocket is refused by Comet: Varnish drops the Upgrade, and the client is told."""
    _, front = behind
    with client_of(front) as client:
        client.wire.send_websocket(f"/topics/{topic}?transport=websocket", {"Host": "localhost"})
        assert client.wire.head().status == 426


def test_equal_polls_wait(behind: tuple[Daemon, Front], topic: str) -> None:
    """Polls work one at a time: of two that ask for the same, the second waits until the first is answered."""
    daemon, front = behind
    target = f"/topics/{topic}?transport=poll&wait=20"
    with client_of(front) as first, client_of(front) as second, client_of(front) as other:
        first.begin(target, "poll")
        until(lambda: len(streams(daemon.http, topic)) == 1, "the first is held")
        second.begin(target, "poll")
        assert other.exchange("GET", "/healthz").status == 200
        assert len(streams(daemon.http, topic)) == 1
        publish(daemon.http, topic, "one")
        first.arrive("poll").until_messages(1)
        until(lambda: len(streams(daemon.http, topic)) == 1, "the second is held")
        publish(daemon.http, topic, "two")
        assert second.arrive("poll").until_messages(1)[0]["data"] == "two"
