"""An application that is asked over sockets: one that answers, and those that are slow, huge, broken or gone."""

from __future__ import annotations

import gzip
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from comet import __version__
from comet.access.asking import AT_ONCE, Application
from comet.access.grant import Grant
from comet.config import Config
from comet.errors import AuthorizationFailed, Forbidden, Unauthorized
from comet.metrics import Metrics
from tests.fakes import START
from tests.receivers import Act, Receiver, receiving, reply

ALICE = reply(200, b'{"sub":"alice","ttl":60,"comet":{"subscribe":["news/**"]}}')
HEADERS = {b"cookie": b"session=alice; theme=\xc3\xbc", b"referer": b"https://shop.example/"}
PATIENCE = 0.3


def asking(url: str, **settings: Any) -> Application:
    """What asks the application at ``url``."""
    return Application(Config(authorize_url=url, **settings), reactor, Metrics())


async def granted(application: Application, cookie: bytes = b"") -> Grant:
    """What the application says; by ``cookie``, or of :data:`HEADERS`."""
    answer = application.grant({b"cookie": cookie} if cookie else HEADERS, START)
    return answer if isinstance(answer, Grant) else await answer


async def refused(receiver: Receiver, **settings: Any) -> None:
    """See that nobody gets in."""
    with pytest.raises(AuthorizationFailed):
        await granted(asking(receiver.url(), **settings))


@pytest_twisted.ensureDeferred
async def test_a_question() -> None:
    """The application is asked with a GET, and shown the cookies of the client as they came."""
    with receiving(ALICE) as receiver:
        application = asking(receiver.url("/authorize?a=b%20c"))
        grant = await granted(application)
        assert await granted(application) is grant
    assert (grant.subject, [pattern.text for pattern in grant.subscribe]) == ("alice", ["news/**"])
    [got] = receiver.posts
    assert (got.target, got.body) == ("/authorize?a=b%20c", b"")
    assert got.headers == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "close",
        "cookie": HEADERS[b"cookie"].decode("latin-1"),
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"Comet/{__version__}",
    }


@pytest_twisted.ensureDeferred
async def test_refusing() -> None:
    """401 and 403 refuse, each in its own way."""
    with receiving(reply(401), reply(403, b"<html>no</html>")) as receiver:
        application = asking(receiver.url())
        with pytest.raises(Unauthorized):
            await granted(application, b"a")
        with pytest.raises(Forbidden):
            await granted(application, b"b")


@pytest_twisted.ensureDeferred
async def test_redirecting() -> None:
    """An application that redirects to its login page has not said yes, and is not followed there."""
    with receiving(reply(302, location="/login"), ALICE) as receiver:
        await refused(receiver)
    assert len(receiver.posts) == 1


@pytest.mark.parametrize(
    "act",
    [
        Act(hangs=True),
        Act(b"HTTP/1.1 200 OK\r\nContent-", hangs=True),
        Act(ALICE[:-1], hangs=True),
        Act(b'HTTP/1.1 200 OK\r\n\r\n{"sub":"alice"}', hangs=True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_hanging(act: Act) -> None:
    """An application that does not go on has its time and no more, also if the most of its answer is here."""
    with receiving(act) as receiver:
        await refused(receiver, authorize_timeout=PATIENCE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ALICE[:20],
        ALICE[:-1],
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{"sub":"alice"}\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n{"sub":"alice"',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b'{"sub":"alice"}',
        reply(500, b'{"sub":"alice"}'),
        reply(200, gzip.compress(b'{"sub":"alice"}'), content_encoding="gzip"),
        reply(200, b'{"sub":"alice"}' + b" " * 10_000_000),
        b"HTTP/1.1 200 OK\r\n" + b"X-More: of the same\r\n" * 100_000,
    ],
)
@pytest_twisted.ensureDeferred
async def test_broken(data: bytes) -> None:
    """Half an answer, none, one without end, or one that is not understood, lets nobody in."""
    with receiving(Act(data)) as receiver:
        await refused(receiver)


@pytest_twisted.ensureDeferred
async def test_nobody_there() -> None:
    """An application that is not there lets nobody in; once it is, it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AuthorizationFailed):
        await granted(asking(f"http://127.0.0.1:{port}/"))
    with receiving(ALICE) as receiver:
        receiver.down()
        application = asking(receiver.url())
        with pytest.raises(AuthorizationFailed):
            await granted(application)
        receiver.up()
        assert (await granted(application)).subject == "alice"


@pytest_twisted.ensureDeferred
async def test_many_clients() -> None:
    """Clients that all come back at once are asked about a few at a time, and equal ones together."""
    count = AT_ONCE * 3
    with receiving(*[ALICE] * count) as receiver:
        application = asking(receiver.url(), authorize_timeout=30.0)
        cookies = [b"session=%d" % number for number in range(count)] * 2
        grants = [application.grant({b"cookie": cookie}, START) for cookie in cookies]
        answers = await gatherResults([each for each in grants if not isinstance(each, Grant)])
    assert len(answers) == 2 * count
    assert len(receiver.posts) == count
    assert receiver.most_at_once <= AT_ONCE


@pytest_twisted.ensureDeferred
async def test_cookies_of_the_application() -> None:
    """A cookie that the application sets is for nobody, least of all for the next client."""
    with receiving(reply(200, b"{}", set_cookie="session=admin"), ALICE) as receiver:
        application = asking(receiver.url())
        await granted(application, b"session=bob")
        answer = application.grant({}, START)
        assert not isinstance(answer, Grant)
        await answer
    assert "cookie" not in receiver.posts[1].headers
