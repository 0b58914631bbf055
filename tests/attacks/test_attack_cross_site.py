"""Cross-site requests: a web page somewhere has the browser of its visitor ask the daemon on the visitor's machine.

Whatever a page can have a browser send (forms, beacons, images, scripts, streams, WebSockets), nothing is published
by it, and it is given nothing to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.attacks.access import asks, guarded, retained, token
from tests.attacks.attacker import exchanged, published, request, serves, statuses
from tests.attacks.frames import HANDSHAKE
from tests.daemons import Daemon, running
from tests.e2e.held import publish

CROSS = "Sec-Fetch-Site: cross-site"
EVIL = "Origin: https://evil.example"

PUBLISHING: Mapping[str, tuple[str, ...]] = {
    "form": (EVIL, CROSS, "Sec-Fetch-Mode: navigate", "Content-Type: application/x-www-form-urlencoded"),
    "text-form": (EVIL, CROSS, "Sec-Fetch-Mode: navigate", "Content-Type: text/plain"),
    "multipart-form": (EVIL, CROSS, "Content-Type: multipart/form-data; boundary=x"),
    "fetch": (EVIL, CROSS, "Sec-Fetch-Mode: no-cors", "Content-Type: text/plain"),
    "fetch-with-json": (EVIL, CROSS, "Sec-Fetch-Mode: cors", "Content-Type: application/json"),
    "beacon": (EVIL, CROSS, "Sec-Fetch-Dest: empty", "Content-Type: text/plain;charset=UTF-8"),
    "of-an-older-browser": (EVIL, "Content-Type: text/plain"),
    "of-a-sandbox": ("Origin: null", CROSS, "Content-Type: text/plain"),
    "of-a-file": ("Origin: null", "Content-Type: text/plain"),
    "without-an-origin": (CROSS, "Content-Type: text/plain"),
    "navigation-without-an-origin": (CROSS, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
    "of-an-extension": ("Origin: chrome-extension://abcdefghijklmnop", "Content-Type: text/plain"),
}
"""What browsers send along with a POST that a page of another site has caused."""


@pytest.mark.parametrize("name", PUBLISHING)
def test_cross_site_publish(daemon: Daemon, name: str) -> None:
    """A page elsewhere publishes nothing on somebody's own machine, one message or many, and makes and ends nothing."""
    for method, target, body in (
        ("POST", "/topics/forbidden", b"evil"),
        ("POST", "/topics", b'{"topic":"forbidden","data":"evil"}'),
        ("POST", "/hooks", b'{"topic":"a","url":"https://evil.example"}'),
        ("DELETE", "/consumers/x", b""),
    ):
        lines = (*PUBLISHING[name], f"Content-Length: {len(body)}", "Connection: close")
        answer = exchanged(daemon.http, request(method, target, *lines, body=body))
        assert statuses(answer)[0] in (401, 403), answer
        assert b"access-control-allow" not in answer.lower()
    assert published(daemon, "forbidden") == []


READING: Mapping[str, tuple[str, ...]] = {
    "image": (CROSS, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
    "script": (CROSS, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"),
    "style": (CROSS, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: style"),
    "frame": (CROSS, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
    "object": (CROSS, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object"),
    "download": (CROSS, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty"),
    "fetch": (EVIL, CROSS, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
    "stream": (EVIL, CROSS, "Accept: text/event-stream"),
    "fetch-of-an-older-browser": (EVIL,),
    "fetch-of-a-sandbox": ("Origin: null",),
}


@pytest.mark.parametrize("name", READING)
def test_cross_site_reading(daemon: Daemon, name: str, topic: str) -> None:
    """A page elsewhere gets nothing of what is published on somebody's own machine, on any transport, and none of its
    figures."""
    publish(daemon.http, topic, "confidential")
    for target in (
        *(f"/topics/{topic}?since=first&wait=0&transport={name}" for name in ("poll", "sse", "iframe", "multipart")),
        *("/stats", "/stats/streams", "/metrics", "/hooks", "/consumers"),
    ):
        answer = exchanged(daemon.http, request("GET", target, *READING[name], "Connection: close"))
        assert statuses(answer)[0] in (401, 403), answer
        assert b"confidential" not in answer
        assert b"access-control-allow" not in answer.lower()


ORIGINS = (
    *("https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "null", "", "file://"),
    *("http://localhost", "http://localhost:1", "http://localhost:7080@evil.example", "http://evil.example#localhost"),
    *("ftp://localhost", "http://localhost:", "localhost", "http://localhost/", "http://localhost http://evil.example"),
    *("moz-extension://x", "http://[::1]", "http://127.0.0.1", "*", "http://evil.example, http://localhost"),
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_cross_site_websocket(daemon: Daemon, origin: str, topic: str) -> None:
    """A page of another origin, even of another port of this machine, opens no WebSocket: browsers let it try, and
    would let it read and publish."""
    host = f"localhost:{daemon.http_port()}"
    lines = (*HANDSHAKE, f"Origin: {origin}")
    answer = exchanged(
        daemon.http, request("GET", f"/topics/{topic}", *lines, host=host).replace(b": Upgrade", b": Upgrade, close")
    )
    assert statuses(answer) == [403], answer


def test_own_page(daemon: Daemon, topic: str) -> None:
    """The pages of the daemon itself may do all of this."""
    host = f"localhost:{daemon.http_port()}"
    lines = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin", "Content-Length: 4", "Connection: close")
    answer = exchanged(daemon.http, request("POST", f"/topics/{topic}", *lines, body=b"fine", host=host))
    assert statuses(answer) == [201], answer


HOSTS = (
    *("evil.example", "evil.example:7080", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.", "127.1"),
    *(
        "0.0.0.0",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "[::]",
        "localhost.localdomain",
        "0",
        "127.0.0.2",
        "xn--localhost",
    ),
)


@pytest.mark.parametrize("host", HOSTS)
def test_dns_rebinding(daemon: Daemon, host: str) -> None:
    """Somebody has a name of his resolve to 127.0.0.1, so that his page is of the same origin as the daemon for a
    browser: the daemon does not answer to that name, whatever is asked, and says nothing of what it has."""
    lines = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin", "Content-Length: 4", "Connection: close")
    for method, target in (
        ("POST", "/topics/forbidden"),
        ("GET", "/topics/forbidden?wait=0"),
        ("GET", "/stats"),
        ("GET", "/"),
        ("OPTIONS", "/topics/forbidden"),
    ):
        for with_lines in (lines, lines[2:]):
            answer = exchanged(daemon.http, request(method, target, *with_lines, body=b"evil", host=host))
            assert statuses(answer) == [421], answer
            absolute = request(method, f"http://{host}{target}", *with_lines, body=b"evil")
            assert statuses(exchanged(daemon.http, absolute)) == [421]
    answer = exchanged(daemon.http, request("GET", "/topics/a", *HANDSHAKE, "Connection: close", host=host))
    assert statuses(answer) == [421]
    assert published(daemon, "forbidden") == []


def test_no_script_to_include(daemon: Daemon, topic: str) -> None:
    """A script element of another page cannot have the answer call a function of it (JSONP): there is no such answer,
    and what there is says that it is no script."""
    publish(daemon.http, topic, "confidential")
    for name in ("callback", "jsonp", "cb"):
        target = f"/topics/{topic}?since=first&wait=0&transport=poll&{name}=evil"
        answer = exchanged(daemon.http, request("GET", target, "Connection: close"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"evil(" not in body
        assert b"Content-Type: application/" in head
        assert b"X-Content-Type-Options: nosniff" in head or statuses(answer) == [400]


# -- with cookies -----------------------------------------------------------------------------------------------------

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def shop() -> Iterator[Daemon]:
    """A daemon that takes tokens by cookie, from pages of the shop."""
    with guarded("--origin", SHOP) as daemon:
        yield daemon


def cookie() -> str:
    """The cookie of somebody who is logged in."""
    return f"Cookie: theme=dark; __Host-comet={token()}"


@pytest.mark.parametrize("name", PUBLISHING)
def test_cross_site_publish_with_a_cookie(shop: Daemon, name: str) -> None:
    """A page elsewhere, of whose requests the browser sends the visitor's cookie along, publishes nothing."""
    lines = (*PUBLISHING[name], cookie(), "Content-Length: 4", "Connection: close")
    answer = exchanged(shop.http, request("POST", "/topics/open/a", *lines, body=b"evil"))
    assert statuses(answer)[0] in (401, 403), answer
    assert b"access-control-allow" not in answer.lower()
    assert retained(shop, "open/a") == []


@pytest.mark.parametrize("name", READING)
def test_cross_site_reading_with_a_cookie(shop: Daemon, name: str) -> None:
    """Nor does it read anything with it."""
    assert asks(shop, "POST", "/topics/open/b", token(), b"confidential")[0] == 201
    for transport in ("poll", "sse", "iframe", "multipart"):
        target = f"/topics/open/b?since=first&wait=0&transport={transport}"
        answer = exchanged(shop.http, request("GET", target, *READING[name], cookie(), "Connection: close"))
        assert statuses(answer)[0] in (401, 403), answer
        assert b"confidential" not in answer


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://shop.example.evil.example",
            "http://shop.example",
            "https://shop.example:8443",
            "https://evil.example",
        ),
        *("https://SHOP.example", "https://shop.example.", "https://xshop.example", "https://shop.example/", "null"),
        *("https://a.shop.example", "https://shop.example https://evil.example", "https://shop.example\\.evil.example"),
    ],
)
def test_origins_that_look_like_a_listed_one(shop: Daemon, origin: str) -> None:
    """Only the listed origin, letter by letter, may use a cookie, open a WebSocket, or read an answer."""
    lines = (f"Origin: {origin}", cookie(), "Connection: close")
    for data in (
        request("POST", "/topics/open/a", *lines, "Content-Length: 4", body=b"evil"),
        request("GET", "/topics/open/a?wait=0", *lines),
        request("OPTIONS", "/topics/open/a", *lines, "Access-Control-Request-Method: POST"),
        request("GET", "/topics/open/a", *lines, *HANDSHAKE),
    ):
        answer = exchanged(shop.http, data)
        assert statuses(answer) == [403], answer
        assert b"access-control-allow" not in answer.lower()
    assert retained(shop, "open/a") == []


def test_listed_origin(shop: Daemon) -> None:
    """The listed one may, and is told so alone: the answer is not for caches that serve others."""
    lines = (f"Origin: {SHOP}", cookie(), "Sec-Fetch-Site: cross-site", "Content-Length: 4", "Connection: close")
    answer = exchanged(shop.http, request("POST", "/topics/open/c", *lines, body=b"fine"))
    assert statuses(answer) == [201], answer
    assert f"Access-Control-Allow-Origin: {SHOP}\r\n".encode() in answer
    assert b"Vary: Origin\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["id"]


def test_any_origin_is_not_to_be_had() -> None:
    """There is no setting that lets pages of every origin in: a star is no origin."""
    with pytest.raises(AssertionError, match="origin"), running("--origin", "*"):
        pass


def test_it_goes_on(daemon: Daemon, topic: str) -> None:
    """After all that, whoever may is served."""
    serves(daemon, topic)
