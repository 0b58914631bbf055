"""HAProxy: what its recipe does beside carrying everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.e2e.held import Held, connected, streams
from tests.recipes.faces import HTTP_1, HTTP_2, RECIPES, Face, tried
from tests.recipes.holding import held_on_one_connection
from tests.recipes.proxies import Front

PATH = "haproxy/haproxy.cfg"


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[Face, Front]]:
    """HAProxy and the daemon."""
    with tried(PATH) as face, face.daemon(), face.proxy() as front:
        yield face, front


@pytest.mark.parametrize("protocol", [HTTP_1, HTTP_2])
def test_address_of_the_client(behind: tuple[Face, Front], protocol: str, topic: str) -> None:
    """The daemon sees the address of the client itself, on every transport."""
    face, front = behind
    for transport in RECIPES[PATH].carried(protocol):
        if transport == "poll":
            continue
        with face.client(front, protocol) as client:
            client.ask(f"/topics/{topic}/{transport}?transport={transport}", transport)
            client.until(lambda held: held.objects, "the first object")
            host, port = client.socket.getsockname()
            (stream,) = streams(face.direct, f"{topic}/{transport}")
            assert stream["address"] == f"{host}:{port}"


def test_publishers(behind: tuple[Face, Front], topic: str) -> None:
    """A Redis client publishes over TLS."""
    face, front = behind
    with publisher(face, front, None) as client, Held(connected(face.direct)) as held:
        held.ask(f"/topics/{topic}?transport=stream", "stream").until_control("open")
        client.publish(topic, "sold")
        assert held.until_messages(1)[0]["data"] == "sold"


def test_publishers_have_tokens() -> None:
    """Over TLS nobody publishes without a token, although HAProxy is on the daemon's own machine."""
    with tried(PATH) as face, face.daemon(allowed=()), face.proxy() as front:
        with publisher(face, front, face.token(publish=["news"])) as somebody:
            assert somebody.publish("news", "hello") == 0
            with pytest.raises(redis.exceptions.NoPermissionError):
                somebody.publish("other", "hello")
        with publisher(face, front, None) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.publish("news", "hello")


def publisher(face: Face, front: Front, token: str | None) -> redis.Redis:
    """A Redis client that speaks TLS with the proxy."""
    host, _, port = face.resp.rpartition(":")
    return redis.Redis(host, int(port), password=token, ssl=True, ssl_ca_certs=front.ca)


def test_many_on_one_connection(behind: tuple[Face, Front]) -> None:
    """Over HTTP/2 a browser holds as many responses as it likes, on one connection."""
    assert held_on_one_connection(*behind, 100) == 100
