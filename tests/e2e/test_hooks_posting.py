"""One post to receivers of every kind, by name and by address, over TLS and without."""

from __future__ import annotations

import gzip
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from zope.interface import implementer

from comet.exchange.requester import LARGEST
from comet.hooks.answers import Answer, PostFailed, Terms
from comet.hooks.posting import Poster
from tests.receivers import Act, receiving, reply
from tests.recipes.certificate import written

LOOPBACK = ("127.0.0.0/8", "::1/128")
TERMS = Terms(10.0, LOOPBACK)
HURRIED = Terms(0.3, LOOPBACK)


async def post(url: str, terms: Terms = TERMS, body: bytes = b"{}", poster: Poster | None = None) -> Answer:
    """Post, with a header of ours."""
    return await (poster or Poster(reactor)).post(url, {"webhook-id": "msg_1"}, body, terms)


async def refused(url: str, terms: Terms = TERMS, poster: Poster | None = None) -> str:
    """Why a post fails."""
    with pytest.raises(PostFailed) as failed:
        await post(url, terms, poster=poster)
    return str(failed.value)


@implementer(IHostnameResolver)
class Names:
    """Resolves every name to ``addresses``, and remembers how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: object) -> Any:
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        for address in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()


@contextmanager
def resolving(*addresses: str) -> Iterator[Names]:
    """Have every name resolve to ``addresses``."""
    names = Names(*addresses)
    before = reactor.installNameResolver(names)
    try:
        yield names
    finally:
        reactor.installNameResolver(before)


@pytest_twisted.ensureDeferred
async def test_a_post() -> None:
    """The receiver has the body, its type, and the headers."""
    with receiving(reply(200, b"thanks")) as receiver:
        assert await post(receiver.url("/in?a=b%20c"), body=b'{"hook":"x"}') == Answer(200)
    [got] = receiver.posts
    assert (got.target, got.body) == ("/in?a=b%20c", b'{"hook":"x"}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == "msg_1"
    assert got.headers["user-agent"].startswith("Comet/")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("status", [200, 204, 302, 410, 429, 500, 599])
@pytest_twisted.ensureDeferred
async def test_statuses(status: int) -> None:
    """Every status is an answer; redirects are not followed."""
    with receiving(reply(status, location="/elsewhere", retry_after="7")) as receiver:
        assert await post(receiver.url()) == Answer(status, "7")
    assert len(receiver.posts) == 1


@pytest_twisted.ensureDeferred
async def test_a_name() -> None:
    """A name is looked up once, and the connection made to what was found; the receiver sees the name."""
    with receiving() as receiver, resolving("127.0.0.1") as names:
        assert await post(f"http://receiver.example:{receiver.port}/") == Answer(204)
    assert names.asked == ["receiver.example"]
    assert receiver.posts[0].headers["host"] == f"receiver.example:{receiver.port}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f000001", "017700000001", "2130706433", "[::ffff:127.0.0.1]", "localhost"]
)
@pytest_twisted.ensureDeferred
async def test_private_addresses(host: str) -> None:
    """The loopback is not posted to unless it is allowed, however it is spelt, and nothing is connected to."""
    with receiving() as receiver:
        text = await refused(f"http://{host}:{receiver.port}/", Terms(10.0))
    assert "is loopback" in text
    assert "--hook-private" in text
    assert not receiver.posts


@pytest_twisted.ensureDeferred
async def test_names_of_private_addresses() -> None:
    """A public name of a private address is refused; and so is the same name when it changes its mind."""
    with receiving() as receiver, resolving("127.0.0.1") as names:
        assert "127.0.0.1 is loopback" in await refused(f"http://rebound.example:{receiver.port}/", Terms(10.0))
        names.addresses = ("169.254.169.254", "10.0.0.1")
        assert "is private" in await refused(f"http://rebound.example:{receiver.port}/")
        names.addresses = ("10.0.0.1", "127.0.0.1")
        assert await post(f"http://rebound.example:{receiver.port}/") == Answer(204)
    assert names.asked == ["rebound.example"] * 3


@pytest_twisted.ensureDeferred
async def test_no_such_name() -> None:
    """A name without an address is said so."""
    with resolving():
        assert await refused("http://nowhere.example/") == "there is no address of 'nowhere.example'"


@pytest_twisted.ensureDeferred
async def test_nobody_there() -> None:
    """A port where nobody listens is said so, and another address of the same name is tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in await refused(f"http://127.0.0.1:{port}/")
    with receiving() as receiver, resolving("127.0.0.2", "127.0.0.1"):
        assert await post(f"http://two.example:{receiver.port}/") == Answer(204)


@pytest.mark.parametrize(
    ("act", "stage"),
    [
        (Act(hangs=True), "an answer"),
        (Act(b"HTTP/1.1 200 OK\r\nContent-", hangs=True), "an answer"),
        (Act(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", hangs=True), "the end of the answer"),
        (Act(b"HTTP/1.1 200 OK\r\n\r\n", hangs=True), "the end of the answer"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_hanging(act: Act, stage: str) -> None:
    """A receiver that does not go on, before its answer or within it, has its time and no more."""
    with receiving(act) as receiver:
        assert await refused(receiver.url(), HURRIED) == f"waited 0.3 s (hook-timeout), at last for {stage}"


@pytest_twisted.ensureDeferred
async def test_connecting_to_nobody() -> None:
    """A receiver that does not accept has a part of the time."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.create_connection(server.getsockname()):
        text = await refused(f"http://127.0.0.1:{server.getsockname()[1]}/", HURRIED)
    assert "a connection" in text or "an answer" in text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_half_an_answer(data: bytes) -> None:
    """What is broken off, or no answer at all, is a failure in one line."""
    with receiving(Act(data)) as receiver:
        text = await refused(receiver.url())
    assert "waiting for" in text
    assert "\n" not in text


@pytest_twisted.ensureDeferred
async def test_huge_answers() -> None:
    """A body is read up to a bound, beyond which only its status counts; a head that long is a failure."""
    with receiving(reply(200, b"x" * 10_000_000), reply(500, b"x" * 10_000_000)) as receiver:
        assert await post(receiver.url()) == Answer(200)
        assert await post(receiver.url()) == Answer(500)
    head = b"HTTP/1.1 200 OK\r\n" + b"X-More: of the same\r\n" * 100_000
    with receiving(Act(head, hangs=True)) as receiver:
        assert await refused(receiver.url()) == f"the head of the answer is longer than {LARGEST} bytes"


@pytest.mark.parametrize("body", [gzip.compress(bytes(50_000_000)), b"no gzip"])
@pytest_twisted.ensureDeferred
async def test_packed_answers(body: bytes) -> None:
    """What a receiver packs is not unpacked, and cookies are not kept."""
    with receiving(reply(200, body, content_encoding="gzip", set_cookie="a=\xff\x00")) as receiver:
        poster = Poster(reactor)
        assert await post(receiver.url(), poster=poster) == Answer(200)
        assert await post(receiver.url(), poster=poster) == Answer(204)
    assert "cookie" not in receiver.posts[1].headers


@pytest_twisted.ensureDeferred
async def test_tls(tmp_path: Path) -> None:
    """TLS is held against the name, and against whom the daemon trusts, whatever the address."""
    files = written(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    trust = trustRootFromCertificates([Certificate.loadPEM(files.cert.read_bytes())])
    with receiving(context=context) as receiver, resolving("127.0.0.1"):
        poster = Poster(reactor, trust)
        assert await post(f"https://push.example.org:{receiver.port}/", poster=poster) == Answer(204)
        text = await refused(f"https://other.example.org:{receiver.port}/", poster=poster)
        assert "while waiting for an answer" in text
        text = await refused(f"https://push.example.org:{receiver.port}/")
        assert "certificate verify failed" in text
        assert await post(f"https://127.0.0.1:{receiver.port}/", poster=poster) == Answer(204)
    assert len(receiver.posts) == 2


@pytest_twisted.ensureDeferred
async def test_giving_up() -> None:
    """A post that is given up drops its connection."""
    with receiving(Act(hangs=True)) as receiver:
        posting = Poster(reactor).post(receiver.url(), {}, b"{}", TERMS)
        failed: list[Any] = []
        posting.addErrback(failed.append)
        posting.cancel()
        assert failed
