"""Server-side request forgery: a hook, or the URL of the application, that is aimed at what only this machine or its
network can reach. Hooks post to the public internet, however a private address is spelt; and nobody is redirected."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.attacks.attacker import serves
from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, publish
from tests.e2e.waiting import until
from tests.receivers import receiving, reply

SPELLINGS = """
127.0.0.1 127.1 127.0.1 127.0.0.1. 127.000.000.001 0177.0.0.1 0x7f.0.0.1 0x7f000001 0X7F000001 2130706433 017700000001
127.255.255.254 0 0.0.0.0 0x0 00000000000 localhost LOCALHOST localhost. a.localhost LocalHost.
[::1] [0:0:0:0:0:0:0:1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:7f00:1::] [fe80::1] [fc00::1] [fd00:ec2::254] [ff02::1]
10.0.0.1 10.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1 0xc0a80001 3232235521 100.64.0.1
169.254.169.254 169.254.43518 0xa9fea9fe 2852039166 0251.0376.0251.0376 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe]
192.0.2.1 198.18.0.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255
"""

ODD = """
http://user@127.0.0.1/ http://user:secret@127.0.0.1/ http://example.org@127.0.0.1/ http://127.0.0.1@example.org/
http://127.0.0.1#@example.org/ http://127.0.0.1\\@example.org/ http://example.org\\@127.0.0.1/ http:\\\\127.0.0.1\\
http:127.0.0.1/ http:/127.0.0.1/ //127.0.0.1/ http:///127.0.0.1/ http://[127.0.0.1]/ http://[::1%25lo]/ http://[::1%lo]/
http://①②⑦.⓪.⓪.①/ http://127。0。0。1/ http://127%2e0%2e0%2e1/ http://%31%32%37.0.0.1/ http://127.0.0.1%00.example.org/
http://127.0.0.1:99999/ http://127.0.0.1:-1/ http://127.0.0.1:x/ HTTP://127.0.0.1/ hTTp://LOCALHOST/
file:///etc/passwd gopher://127.0.0.1:7081/_PUBLISH dict://127.0.0.1/ ftp://127.0.0.1/ ldap://127.0.0.1/
unix:/run/comet.sock http+unix://run/ data:text/plain,x javascript:1 ws://127.0.0.1/ jar:http://127.0.0.1!/
"""


def refused(daemon: Daemon, url: str) -> str:
    """The code with which a hook that posts to ``url`` is refused; empty if it is made."""
    status, _, body = asked(daemon.http, "POST", "/hooks", json.dumps({"topic": "a", "url": url}).encode())
    return "" if status == 201 else str(json.loads(body)["code"])


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_webhooks_aimed_at_private_addresses(daemon: Daemon, host: str) -> None:
    """A hook that would post to this machine, its network or a cloud's metadata is refused, however the address is
    spelt, and with a port or without."""
    for url in (f"http://{host}/", f"https://{host}:8443/hook", f"http://{host}:7081/PUBLISH"):
        assert refused(daemon, url) in ("address_refused", "bad_hook"), url


@pytest.mark.parametrize("url", ODD.split())
def test_odd_urls(daemon: Daemon, url: str) -> None:
    """A URL that two readers may take apart in two ways, or of another scheme, is none to post to."""
    assert refused(daemon, url) in ("address_refused", "bad_hook")


def test_names_that_resolve_to_a_private_address(daemon: Daemon) -> None:
    """A name may be any, so it counts what it resolves to when the connection is made: then nothing is posted."""
    name = socket.gethostname()
    assert all(is_private(each[4][0]) for each in socket.getaddrinfo(name, 80)), "of a machine with a public name"
    with receiving() as receiver:
        status, _, body = asked(
            daemon.http,
            "POST",
            "/hooks",
            json.dumps({"topic": "named", "url": f"http://{name}:{receiver.port}/"}).encode(),
        )
        hook = json.loads(body)
        assert status in (201, 403), hook
        if status == 201:
            publish(daemon.http, "named", "x")
            until(lambda: asked_json(daemon.http, f"/hooks/{hook['name']}")["error"], "it fails")
            assert asked(daemon.http, "DELETE", f"/hooks/{hook['name']}")[0] == 204
        assert receiver.posts == []


def is_private(address: object) -> bool:
    """Whether an address is of this machine or its network."""
    return str(address).startswith(("127.", "10.", "172.", "192.168.", "169.254.", "::1", "fe80", "fd", "fc"))


@contextmanager
def listening_elsewhere() -> Iterator[tuple[socket.socket, int]]:
    """A server on an address to which the daemon may not connect."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        server.settimeout(0)
        yield server, server.getsockname()[1]


def test_redirects_to_private_addresses() -> None:
    """A receiver that is allowed, and answers with a redirect to what is not, has the daemon go nowhere."""
    with listening_elsewhere() as (server, port):
        answers = [reply(status, location=f"http://127.0.0.2:{port}/") for status in (301, 302, 303, 307, 308)]
        with (
            receiving(*answers) as receiver,
            running("--hook-private", "127.0.0.1/32", "--hook-backoff", "10ms") as daemon,
        ):
            assert refused(daemon, receiver.url()) == ""
            assert refused(daemon, f"http://127.0.0.2:{port}/") == "address_refused"
            publish(daemon.http, "a", "x")
            until(lambda: len(receiver.posts) > len(answers), "it was posted until it was taken")
            serves(daemon, "private")
        with pytest.raises(BlockingIOError):
            server.accept()


def asked_with_a_cookie(daemon: Daemon, topic: str) -> int:
    """The status with which somebody who is known to the application by a cookie is answered."""
    target = f"/topics/{topic}?wait=0"
    return asked(daemon.http, "GET", target, Cookie="session=secret", Sec_Fetch_Site="same-origin")[0]


def test_authorize_urls_that_redirect_to_private_addresses() -> None:
    """The application says by a redirect that somebody else knows who may do what: nobody is asked there, and least of
    all shown the cookie; the client is refused, and not let in."""
    with listening_elsewhere() as (server, port):
        answers = [reply(status, location=f"http://127.0.0.2:{port}/") for status in (301, 302, 303, 307, 308)]
        with (
            receiving(*answers) as application,
            running("--local", "anonymous", "--authorize-url", application.url("/authorize")) as daemon,
        ):
            for number in range(len(answers)):
                assert asked_with_a_cookie(daemon, f"a{number}") == 503
            assert [post.headers["cookie"] for post in application.posts] == ["session=secret"] * len(answers)
        with pytest.raises(BlockingIOError):
            server.accept()


BAD_ANSWERS = (
    *(b"", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"),
    *(
        reply(500),
        reply(404),
        reply(204),
        reply(200, b"yes"),
        reply(200, b"true"),
        reply(200, b"[]"),
        reply(200, b"null"),
    ),
    reply(200, b'{"comet":{"subscribe":["**"],"everything":true}}'),
    reply(200, b'{"comet":{"subscribe":"**"}}'),
    reply(200, b'{"comet":{"subscribe":["**"]},"exp":1}'),
    reply(200, b'{"comet":{"subscribe":["**"]},"ttl":-1}'),
    reply(200, b'{"comet":' + b"[" * 100_000),
    reply(200, b'{"comet":{"subscribe":["**"]},"x":"' + b"x" * 5_000_000 + b'"}'),
)


def test_application_that_answers_anything() -> None:
    """An application that is down, slow, or answers what is no grant lets nobody in."""
    with (
        receiving(*BAD_ANSWERS) as application,
        running("--local", "anonymous", "--authorize-url", application.url(), "--authorize-timeout", "1s") as daemon,
    ):
        for answer in BAD_ANSWERS:
            assert asked_with_a_cookie(daemon, "a") == 503, answer[:100]
        application.down()
        assert asked_with_a_cookie(daemon, "a") == 503
        assert asked(daemon.http, "GET", "/healthz")[0] == 200
        assert "secret" not in "".join(daemon.log)
