"""Spoofed addresses: a client says in a header that it is somebody else, or on this machine. Who a client is, only its
connection says, or a proxy that the operator has listed; and nobody behind a proxy is on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.attacks.access import asks
from tests.attacks.attacker import exchanged, published, push, request, rest_of, serves, statuses
from tests.daemons import ANYWHERE, Daemon, running
from tests.e2e.held import Held, asked_json, streams, subscribe
from tests.e2e.waiting import until
from tests.recipes.proxies import Front, free_port, proxy

SPOOFS = (
    *("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: ::1", "X-Forwarded-For: localhost", "X-Forwarded-For:"),
    *(
        "X-Forwarded-For: 127.0.0.1, 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        'Forwarded: for="[::1]"',
        "Via: 1.1 localhost",
    ),
    *("X-Real-IP: 127.0.0.1", "X-Forwarded-Host: localhost", "X-Forwarded-Proto: http", "x-FORWARDED-for: 127.0.0.1"),
)


@pytest.mark.parametrize("line", SPOOFS)
def test_forwarding_headers(daemon: Daemon, line: str, topic: str) -> None:
    """Whoever sends a header that only proxies add is not a program of this machine, whatever the header says: a proxy
    in front must not make everybody one."""
    evil = request("POST", "/topics/forbidden", line, "Content-Length: 4", "Connection: close", body=b"evil")
    assert statuses(exchanged(daemon.http, evil)) == [401]
    assert statuses(exchanged(daemon.http, request("GET", "/stats", line, "Connection: close"))) == [401]
    assert published(daemon, "forbidden") == []
    serves(daemon, topic)


def test_address_of_an_unlisted_peer() -> None:
    """What somebody who is no listed proxy says of its address is not believed: neither in what is shown, nor where
    clients are counted."""
    options = ("--local", "anonymous", "--anonymous", "subscribe:**", "--requests-per-address", "5", "--burst", "2s")
    with running(*options, "--proxy", "10.0.0.0/8") as daemon:
        found = [
            asks(daemon, "GET", "/topics/a?wait=0", X_Forwarded_For=f"198.51.100.{number}")[0] for number in range(100)
        ]
        assert set(found) == {200, 429}
        assert found.count(200) < 50
    with (
        running("--anonymous", "subscribe:**", "--proxy", "10.0.0.0/8") as daemon,
        subscribe(daemon.http, "/topics/a?transport=stream", "stream", X_Forwarded_For="198.51.100.1") as held,
    ):
        host, port = held.socket.getsockname()
        (stream,) = streams(daemon.http, "a")
        assert stream["address"] == f"{host}:{port}"


def test_address_by_a_listed_peer() -> None:
    """A listed proxy is believed as to the last address alone: what stands in front of that the client has written."""
    with running("--anonymous", "subscribe:**", "--proxy", "127.0.0.2/32") as daemon:
        host, port = daemon.http.split(":")
        for forwarded, address in (
            ("198.51.100.1", "198.51.100.1"),
            ("127.0.0.1, 198.51.100.1", "198.51.100.1"),
            ("198.51.100.9, 198.51.100.1, 127.0.0.2", "198.51.100.1"),
            ("127.0.0.1", "127.0.0.1"),
        ):
            with (
                socket.create_connection((host, int(port)), 20, ("127.0.0.2", 0)) as connection,
                Held(connection) as held,
            ):
                held.ask("/topics/a?transport=stream", "stream", X_Forwarded_For=forwarded)
                (stream,) = streams(daemon.http, "a")
                assert stream["address"].startswith(address), stream
            until(lambda: not streams(daemon.http, "a"), "it has left")
            with socket.create_connection((host, int(port)), 20, ("127.0.0.2", 0)) as connection:
                line = f"X-Forwarded-For: {forwarded}"
                push(connection, request("POST", "/topics/forbidden", line, "Content-Length: 4", body=b"evil"))
                assert statuses(connection.recv(65_536)) == [401], "the proxy's own machine is not the client's"
        assert published(daemon, "forbidden") == []


NGINX = """
server {
    listen LISTEN;
    location / {
        proxy_pass http://UPSTREAM;
        proxy_http_version 1.1;
        HEADERS
    }
}
"""
ADDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
KEPT = "proxy_set_header Host $http_host;"
HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend pages
    bind LISTEN
    HEADERS
    default_backend comet
backend comet
    server comet UPSTREAM
"""

FRONTS = {
    "nginx": ("nginx", NGINX, f"{ADDED} {KEPT}"),
    "nginx-that-changes-the-host": ("nginx", NGINX, ADDED),
    "haproxy": ("haproxy", HAPROXY, "option forwardfor"),
}


@contextmanager
def front(name: str, daemon: Daemon) -> Iterator[Front]:
    """The proxy of that name."""
    kind, config, headers = FRONTS[name]
    with proxy(kind, config.replace("HEADERS", headers), daemon.http) as found:
        yield found


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("options", [(), ("--proxy", "127.0.0.1/32")], ids=["unlisted", "listed"])
def test_behind_a_proxy_on_this_machine(name: str, options: tuple[str, ...]) -> None:
    """A proxy on this machine, be it listed or forgotten, does not make its clients local, whatever they say of
    themselves."""
    with running(*options) as daemon, front(name, daemon) as behind:
        for line in ("X: y", *SPOOFS):
            for data in (
                request("POST", "/topics/forbidden", line, "Content-Length: 4", "Connection: close", body=b"evil"),
                request("GET", "/stats", line, "Connection: close"),
                request("GET", "/topics/**?wait=0", line, "Connection: close"),
            ):
                assert statuses(exchanged(behind.address, data)) == [401], (line, data)
        health = asked_json(behind.address, "/healthz")
        assert health == {"status": "ok"}
        if not options:
            assert published(daemon, "forbidden") == []


PROXIED = (
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    b"PROXY TCP6 ::1 ::1 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02",
)
EVIL = request("POST", "/topics/forbidden", "Content-Length: 4", "Connection: close", body=b"evil")


@pytest.mark.parametrize("header", PROXIED)
def test_proxy_protocol_where_nobody_expects_it(daemon: Daemon, header: bytes) -> None:
    """On a plain port the header of the PROXY protocol is no request."""
    assert statuses(exchanged(daemon.http, header + EVIL)) == [400]
    assert published(daemon, "forbidden") == []


def attempted(address: str, data: bytes) -> bytes:
    """What is answered to ``data``; nothing if the connection is dropped at once."""
    try:
        return exchanged(address, data)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("header", PROXIED)
def test_proxy_protocol_by_anybody(header: bytes) -> None:
    """On a port for the PROXY protocol only listed proxies are heard, for whoever is can name any address; and what
    comes from there is never of this machine, whatever address is named."""
    port = free_port()
    listening = ("--http", f"haproxy:tcp:{port}:interface=127.0.0.1", *ANYWHERE)
    options = ("--proxy", "127.0.0.2/32", "--anonymous", "subscribe:open")
    with running(*options, anywhere=listening) as daemon:
        assert attempted(f"127.0.0.1:{port}", header + EVIL) == b""
        with socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.2", 0)) as listed:
            push(listed, header + EVIL)
            assert statuses(rest_of(listed)) in ([], [400], [401])
        assert published(daemon, "forbidden") == []


def test_proxy_protocol_without_a_list() -> None:
    """A port for the PROXY protocol is not opened at all where no proxy is listed."""
    with (
        pytest.raises(AssertionError, match="proxy"),
        running("--http", f"haproxy:tcp:{free_port()}:interface=127.0.0.1"),
    ):
        pass


def test_resp_by_a_proxy() -> None:
    """On the TCP port the same holds: who is announced by a listed proxy has to say who it is."""
    port = free_port()
    options = ("--proxy", "127.0.0.2/32", "--tcp", f"haproxy:tcp:{port}:interface=127.0.0.1")
    with running(*options, "--anonymous", "subscribe:open") as daemon:
        with socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.2", 0)) as listed:
            push(listed, PROXIED[0] + b"PUBLISH forbidden evil\r\nQUIT\r\n")
            assert b"NOAUTH" in rest_of(listed)
        assert attempted(f"127.0.0.1:{port}", PROXIED[0] + b"PUBLISH forbidden evil\r\n") == b""
        assert published(daemon, "forbidden") == []
