"""nginx: what its recipes do beside carrying everything."""

from __future__ import annotations

from tests.recipes.faces import HTTP_1, HTTP_2, tried
from tests.recipes.holding import held_on_one_connection
from tests.recipes.wires import Http2


def test_many_on_one_connection() -> None:
    """Over HTTP/2 a browser holds as many responses as it likes, on one connection."""
    with tried("nginx/comet.conf") as face, face.daemon(), face.proxy() as front:
        assert held_on_one_connection(face, front, 100) == 100


def test_websockets_over_http_2() -> None:
    """nginx does not offer WebSocket over HTTP/2, so that browsers open it over HTTP/1.1 beside."""
    with tried("nginx/comet.conf") as face, face.proxy() as front, face.client(front, HTTP_2) as client:
        assert isinstance(client.wire, Http2)
        assert not client.wire.connection.takes_websockets()


def test_rest_of_the_site() -> None:
    """Below the prefix is Comet, and beside it what was there."""
    with tried("nginx/prefix.conf") as face, face.daemon(), face.proxy() as front:
        with face.client(front, HTTP_1) as client:
            assert client.exchange("GET", "/healthz").json() == {"status": "ok"}
        beside = face.client(front, HTTP_1)
        beside.prefix = ""
        with beside as client:
            answer = client.exchange("GET", "/healthz")
            assert (answer.status, answer.header["content-type"]) == (404, "text/html")
            assert client.exchange("GET", "/push").status == 301
