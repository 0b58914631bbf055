"""Squid between browsers and the world, as in many offices: what comes through one that knows nothing of Comet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import connected, publish
from tests.recipes.clients import Client
from tests.recipes.faces import ANYBODY, HTTP_1, TRANSPORTS, Face, tried
from tests.recipes.proxies import Front, proxy
from tests.recipes.wires import Wire, connect, shaken

OFFICE = """
http_port LISTEN
http_access allow localhost
http_access deny all
"""


@pytest.fixture(scope="module")
def between() -> Iterator[tuple[Daemon, Front]]:
    """A daemon, and a Squid that browsers are told to use."""
    with running(*ANYBODY) as daemon, proxy("squid", OFFICE, daemon.http) as front:
        yield daemon, front


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "websocket"])
def test_forward(between: tuple[Daemon, Front], topic: str, transport: str) -> None:
    """Every transport but WebSocket is carried at once, without TLS."""
    daemon, front = between
    with Client(
        lambda: connect(front.address, None, daemon.http, HTTP_1), daemon.http, f"http://{daemon.http}"
    ) as client:
        publish(daemon.http, topic, "one")
        client.ask(f"/topics/{topic}?transport={transport}&since=first", transport).until_messages(1)
        if transport != "poll":
            publish(daemon.http, topic, "two")
            client.until_messages(2)


def test_forward_websocket(between: tuple[Daemon, Front], topic: str) -> None:
    """A WebSocket without TLS is refused by Comet: Squid drops the Upgrade, and the client is told."""
    daemon, front = between
    wire = connect(front.address, None, daemon.http, HTTP_1)
    with Client(lambda: wire, daemon.http) as client:
        client.wire.send_websocket(f"http://{daemon.http}/topics/{topic}?transport=websocket", {"Host": daemon.http})
        assert client.wire.head().status == 426


@pytest.fixture(scope="module")
def through() -> Iterator[tuple[Face, Callable[[], Wire]]]:
    """A daemon behind nginx, and what connects to it through a Squid that browsers are told to use."""
    with tried("nginx/comet.conf") as face, face.daemon(), face.proxy() as nginx, proxy("squid", OFFICE, "") as squid:

        def tunnel() -> Wire:
            connection = connected(squid.address)
            connection.sendall(f"CONNECT {nginx.address} HTTP/1.1\r\nHost: {nginx.address}\r\n\r\n".encode())
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
            assert nginx.ca is not None
            return shaken(connection, nginx.ca, face.recipe.host, HTTP_1)

        yield face, tunnel


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tunnel(through: tuple[Face, Callable[[], Wire]], topic: str, transport: str) -> None:
    """With TLS every transport is carried: Squid sees a tunnel, and nothing of what is in it."""
    face, tunnel = through
    with Client(tunnel, face.recipe.host) as client:
        publish(face.direct, topic, "one")
        client.ask(f"/topics/{topic}?transport={transport}&since=first", transport).until_messages(1)
        if transport != "poll":
            publish(face.direct, topic, "two")
            client.until_messages(2)
