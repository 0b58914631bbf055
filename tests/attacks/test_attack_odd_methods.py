"""Methods, expectations, upgrades and ranges that nobody needs: each is refused, or ignored as its RFC allows, and none
gets at what it should not."""

from __future__ import annotations

import pytest

from tests.attacks.attacker import exchanged, published, request, serves, statuses
from tests.daemons import Daemon
from tests.e2e.held import asked

CLOSE = "Connection: close"
METHODS = {
    "connect": request("CONNECT", "localhost:22", CLOSE),
    "connect-to-a-path": request("CONNECT", "/topics/forbidden", CLOSE),
    "trace": request("TRACE", "/", CLOSE, "Cookie: secret"),
    "trace-a-topic": request("TRACE", "/topics/forbidden", CLOSE, "Cookie: secret"),
    "track": request("TRACK", "/", CLOSE, "Cookie: secret"),
    "debug": request("DEBUG", "/", CLOSE),
    "put": request("PUT", "/topics/forbidden", CLOSE, "Content-Length: 4", body=b"evil"),
    "patch": request("PATCH", "/topics/forbidden", CLOSE, "Content-Length: 4", body=b"evil"),
    "delete": request("DELETE", "/topics/forbidden", CLOSE),
    "propfind": request("PROPFIND", "/", CLOSE),
    "purge": request("PURGE", "/comet.js", CLOSE),
    "small-letters": request("post", "/topics/forbidden", CLOSE, "Content-Length: 4", body=b"evil"),
    "overridden": request("GET", "/streams/x", CLOSE, "X-HTTP-Method-Override: DELETE"),
    "overridden-publish": request(
        "GET", "/topics/forbidden?wait=0", CLOSE, "X-HTTP-Method-Override: POST", "Content-Length: 4", body=b"evil"
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_odd_methods(daemon: Daemon, name: str) -> None:
    """A method that is not offered does nothing, and repeats nothing of the request: no tunnel, and no cookie for a
    script to read (cross-site tracing)."""
    answer = exchanged(daemon.http, METHODS[name])
    assert statuses(answer) in ([400], [404], [405], [501]) or name == "overridden-publish", answer
    assert b"secret" not in answer
    assert published(daemon, "forbidden") == []


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, evil", "evil", "100-continue;q=1"])
def test_expectations(daemon: Daemon, expectation: str) -> None:
    """An expectation that nobody knows is refused before the body is read."""
    answer = exchanged(daemon.http, request("POST", "/topics/forbidden", f"Expect: {expectation}", "Content-Length: 4"))
    assert statuses(answer) in ([400], [417])


def test_expectation_of_a_body_that_is_too_large(daemon: Daemon) -> None:
    """Who asks first whether he may send a terabyte is told that he may not."""
    head = request("POST", "/topics/forbidden", "Expect: 100-continue", "Content-Length: 1000000000000")
    assert statuses(exchanged(daemon.http, head)) == [413]


UPGRADES = ("h2c", "h2c, websocket2", "TLS/1.0", "HTTP/2.0", "connect-udp", "foo, bar")


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_upgrades(daemon: Daemon, upgrade: str) -> None:
    """An upgrade to HTTP/2 without TLS, with which requests are tunnelled past a proxy's rules, is not made; nor any
    other but to a WebSocket. The request is answered as if nothing had been said of it."""
    lines = (f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    answer = exchanged(daemon.http, request("GET", "/healthz", "Connection: Upgrade, HTTP2-Settings, close", *lines))
    assert statuses(answer) == [200]
    assert b"\r\nupgrade:" not in answer.lower()


def test_upgrade_of_a_publish(daemon: Daemon) -> None:
    """A WebSocket is not opened by what is no GET, and its handshake publishes nothing."""
    lines = ("Connection: Upgrade, close", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Content-Length: 0")
    answer = exchanged(daemon.http, request("DELETE", "/topics/forbidden", *lines))
    assert statuses(answer) == [405]
    assert published(daemon, "forbidden") == []


RANGES = {
    "many": "bytes=" + ",".join(f"{number}-" for number in range(3_000)),
    "overlapping": "bytes=" + ",".join(["0-"] * 5_000),
    "backwards": "bytes=5-1",
    "beyond": "bytes=99999999999999999999-",
    "from-the-end": "bytes=-99999999999999999999",
    "of-another-unit": "evil=0-1",
    "junk": "bytes=a-b,,,;",
}


@pytest.mark.parametrize("name", RANGES)
def test_range_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """A file is sent once and whole, however many ranges of it are asked for."""
    whole = asked(daemon.http, "GET", "/comet.js")[2]
    status, header, body = asked(daemon.http, "GET", "/comet.js", Range=RANGES[name])
    assert (status, len(body)) == (200, len(whole))
    assert "multipart" not in header["content-type"]
    serves(daemon, topic)


def test_many_parameters_of_a_type(daemon: Daemon, topic: str) -> None:
    """A content type of very many parameters is refused for its length."""
    many = "text/plain" + ";a=b" * 5_000
    status, _, body = asked(daemon.http, "POST", f"/topics/{topic}", b"x", Content_Type=many)
    assert status == 400, body
