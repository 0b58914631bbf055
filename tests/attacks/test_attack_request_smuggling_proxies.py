"""Request smuggling through real proxies that keep connections to the daemon for everybody, and that let nobody publish
on one topic. Whatever is sent to them, nothing is published there, and nobody is given the answer of somebody else."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator, Mapping
from secrets import token_hex
from typing import Any

import h2.config
import h2.connection
import pytest

from tests.attacks.attacker import crowd, published, push
from tests.attacks.smuggling import EVIL, REFUSED, UNDERSTOOD, UNENDED
from tests.daemons import Daemon, running
from tests.e2e.held import asked
from tests.recipes.proxies import Front, proxy

NGINX = """
upstream comet { server UPSTREAM; keepalive 8; }
server {
    listen LISTEN LISTENING;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_request_buffering off;
    location / { proxy_pass http://comet; }
    location /topics/forbidden { return 403; }
    FURTHER
}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 3s
    timeout server 3s
frontend pages
    bind LISTEN LISTENING
    FURTHER
    http-request deny if { path,url_dec -m beg /topics/forbidden }
    default_backend comet
backend comet
    http-reuse always
    server comet UPSTREAM
"""

PROXIES = {
    "nginx": ("nginx", NGINX, ""),
    "nginx-buffering": ("nginx", NGINX.replace("proxy_request_buffering off;", ""), ""),
    "nginx-lenient": ("nginx", NGINX, "ignore_invalid_headers off; underscores_in_headers on;"),
    "haproxy": ("haproxy", HAPROXY, ""),
    "haproxy-lenient": ("haproxy", HAPROXY, "option accept-invalid-http-request"),
}
"""By name: the kind, the configuration, and what more stands in it."""

PATIENT = 1.0
"""Seconds in which a proxy has passed on what it means to."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Daemon]:
    """The daemon behind all of these proxies."""
    with running("--body-timeout", "1s") as daemon:
        yield daemon
        assert daemon.end() == 0
        assert "Traceback" not in "".join(daemon.log), "".join(daemon.log)


def listening(name: str, upstream: Daemon, how: str = "") -> Any:
    """The proxy of that name, which listens as ``how`` says."""
    kind, config, further = PROXIES[name]
    return proxy(kind, config.replace("LISTENING", how).replace("FURTHER", further), upstream.http)


def drained(connections: list[socket.socket]) -> None:
    """Read what comes on ``connections`` until nothing has come for a while."""
    left = set(connections)
    while readable := select.select(list(left), [], [], PATIENT)[0]:
        for connection in readable:
            try:
                if not connection.recv(65_536):
                    left.discard(connection)
            except ConnectionError:
                left.discard(connection)


def check_answers(front: Front, name: str) -> None:
    """Everybody has the answer to what they have asked."""
    for number in range(20):
        topic, word = f"honest/{name}/{number}", token_hex(8)
        assert asked(front.address, "POST", f"/topics/{topic}", word.encode())[0] == 201
        status, _, body = asked(front.address, "GET", f"/topics/{topic}?since=-1&wait=0&transport=poll")
        assert status == 200, body
        (message,) = json.loads(body)["messages"]
        assert (message["topic"], message["data"]) == (topic, word)


@pytest.mark.parametrize("name", PROXIES)
def test_behind_a_proxy(upstream: Daemon, name: str) -> None:
    """An attacker sends requests that the proxy and the daemon may take apart in two ways, some of them at a time when
    others use the same connections: none publishes where the proxy forbids it, and the others notice nothing."""
    attacks: Mapping[str, bytes] = {**REFUSED, **UNDERSTOOD, **UNENDED}
    with listening(name, upstream) as front:
        assert asked(front.address, "POST", "/topics/forbidden", b"evil")[0] == 403
        check_answers(front, name)
        with crowd(front.address, len(attacks)) as connections:
            for connection, data in zip(connections, attacks.values(), strict=True):
                push(connection, data)
            check_answers(front, name)
            drained(connections)
        check_answers(front, name)
    assert published(upstream, "open"), "what may pass has passed"
    assert published(upstream, "forbidden") == []


# -- HTTP/2 in front, HTTP/1.1 behind ---------------------------------------------------------------------------------

Fields = list[tuple[str, str]]

_HEAD: Fields = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/topics/open")]
_EVIL = EVIL.decode()
_SLIPPED = f"y\r\n\r\n{_EVIL}"

DOWNGRADED: Mapping[str, tuple[Fields, bytes]] = {
    "length-of-nothing": ([*_HEAD, ("content-length", "0")], EVIL),
    "length-too-short": ([*_HEAD, ("content-length", "4")], b"open" + EVIL),
    "two-lengths": ([*_HEAD, ("content-length", "0"), ("content-length", str(len(EVIL)))], EVIL),
    "chunks": ([*_HEAD, ("transfer-encoding", "chunked")], b"0\r\n\r\n" + EVIL),
    "chunks-and-a-length": ([*_HEAD, ("transfer-encoding", "chunked"), ("content-length", "5")], b"0\r\n\r\n" + EVIL),
    "value-with-a-request": ([*_HEAD, ("x", _SLIPPED)], b""),
    "value-with-a-coding": ([*_HEAD, ("x", "y\r\nTransfer-Encoding: chunked")], b"0\r\n\r\n" + EVIL),
    "value-with-a-line-feed": ([*_HEAD, ("x", "y\nTransfer-Encoding: chunked")], b"0\r\n\r\n" + EVIL),
    "name-with-a-request": ([*_HEAD, (f"x: {_SLIPPED}", "y")], b""),
    "name-with-a-colon": ([*_HEAD, ("transfer-encoding: chunked\r\nx", "y")], b"0\r\n\r\n" + EVIL),
    "path-with-a-request": ([*_HEAD[:3], (":path", f"/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{_EVIL}")], b""),
    "path-with-a-blank": ([*_HEAD[:3], (":path", "/topics/forbidden HTTP/1.1\r\nx: y")], b"evil"),
    "method-with-a-request": (
        [(":method", "POST /topics/forbidden HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\nGET"), *_HEAD[1:]],
        b"",
    ),
    "authority-with-a-request": ([*_HEAD[:2], (":authority", f"localhost\r\n\r\n{_EVIL}"), _HEAD[3]], b""),
    "connection": ([*_HEAD, ("connection", "content-length"), ("content-length", str(len(EVIL)))], EVIL),
    "upgrade": ([*_HEAD, ("upgrade", "websocket"), ("connection", "upgrade")], EVIL),
}
"""By name: the fields as they are sent, which HTTP/2 forbids, and the body."""

H2 = {"nginx": "http2", "nginx-lenient": "http2", "haproxy": "proto h2", "haproxy-lenient": "proto h2"}
"""How each proxy is told to speak HTTP/2 without TLS."""


def send_h2(connection: socket.socket, fields: Fields, body: bytes) -> None:
    """Send one request over HTTP/2, whatever is in its fields."""
    config = h2.config.H2Configuration(
        header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    state = h2.connection.H2Connection(config)
    state.initiate_connection()
    state.send_headers(1, fields, end_stream=not body)
    if body:
        state.send_data(1, body, end_stream=True)
    push(connection, state.data_to_send())


@pytest.mark.parametrize("name", H2)
def test_behind_http_2(upstream: Daemon, name: str) -> None:
    """What HTTP/2 can carry and HTTP/1.1 cannot, such as a line break in a header, does not become a request when the
    proxy passes it on."""
    honest: Fields = [*_HEAD[:3], (":path", f"/topics/honest/{name}")]
    requests = [*DOWNGRADED.values(), (honest, b"honest")]
    with listening(name, upstream, H2[name]) as front, crowd(front.address, len(requests)) as connections:
        for connection, (fields, body) in zip(connections, requests, strict=True):
            send_h2(connection, fields, body)
        drained(connections)
    assert published(upstream, f"honest/{name}") == ["honest"]
    assert published(upstream, "forbidden") == []
