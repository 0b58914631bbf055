"""Programs that show a token: the commands, the blocking publisher, and the client on Twisted, with a real daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from comet.client import Client, Message, Refused, TCPPublisher
from comet.publish import Publisher, PublishRefused
from tests.daemons import Daemon, Ended, command, running
from tests.e2e.tools import COMET
from tests.e2e.waiting import until
from tests.minting import SECRET, minted

ALLOWED = {"publish": ["news/**"], "subscribe": ["news/**"]}


def token(seconds: float = 3600.0) -> str:
    """A token that allows what these tests do, for so long; the daemon gives it five seconds more."""
    return minted(sub="alice", comet=ALLOWED, exp=time.time() + seconds)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon at which nobody may do anything without a token."""
    key: Path = tmp_path_factory.mktemp("keys") / "key"
    key.write_text(SECRET)
    with running("--local", "anonymous", "--key", str(key)) as daemon:
        yield daemon


def comet(*words: str, shown: str = "") -> Ended:
    """Run ``comet`` with a token in its environment, if there is one."""
    return command(*COMET[1:], *words, environ={"COMET_TOKEN": shown} if shown else {})


# -- commands ---------------------------------------------------------------------------------------------------------


def test_commands_show_the_token_of_their_environment(guarded: Daemon) -> None:
    """``comet pub`` and ``comet sub`` do what it allows."""
    published = comet("pub", "news/commands", "hello", "--server", guarded.tcp, shown=token())
    assert (published.code, published.err) == (0, "")
    url = f"http://{guarded.http}"
    read = comet("sub", "news/commands", "--since", "first", "--count", "1", "--url", url, shown=token())
    assert (read.code, read.err) == (0, "")
    assert "hello" in read.out


@pytest.mark.parametrize("shown", ["", "nonsense", minted("another secret, as long as one must be", sub="mallory")])
def test_commands_say_that_it_is_for_want_of_a_token(guarded: Daemon, shown: str) -> None:
    """At once, in one line, and never with the token in it."""
    for words in (
        ("pub", "news/a", "hello", "--server", guarded.tcp),
        ("sub", "news/a", "--url", f"http://{guarded.http}"),
    ):
        ended = comet(*words, shown=shown)
        assert ended.code == 1
        assert len(ended.err.strip().splitlines()) == 1
        assert "token" in ended.err
        assert not shown or shown not in ended.err


def test_a_token_that_cannot_be_one(guarded: Daemon) -> None:
    """It is not sent."""
    ended = comet("pub", "news/a", "hello", "--server", guarded.tcp, shown="a b")
    assert (ended.code, ended.err) == (1, "comet: COMET_TOKEN: the token has characters that no token has\n")


# -- the blocking publisher -------------------------------------------------------------------------------------------


def servers(daemon: Daemon) -> tuple[str, str]:
    """Its TCP port, and its HTTP port."""
    return daemon.tcp, f"http://{daemon.http}/"


def test_a_publisher_shows_its_token(guarded: Daemon) -> None:
    """Over TCP and over HTTP; it may be asked for anew."""
    for server in servers(guarded):
        with Publisher(server, token=token()) as publisher:
            publisher.publish("news/a", "hello")
        with Publisher(server, token=token) as publisher:
            assert len(publisher.publish_many([("news/a", str(number)) for number in range(2_000)])) == 2_000


@pytest.mark.parametrize(("shown", "codes"), [("", "unauthorized NOAUTH"), ("x", "bad_token")])
def test_a_publisher_without_a_good_token_is_refused(guarded: Daemon, shown: str, codes: str) -> None:
    """For good: it does not try for ever."""
    for server in servers(guarded):
        with Publisher(server, token=shown) as publisher, pytest.raises(PublishRefused) as refused:
            publisher.publish("news/a", "hello")
        assert refused.value.code in codes.split()


def test_a_publisher_whose_token_is_over_shows_the_next(guarded: Daemon) -> None:
    """On a connection that was kept; each message is published once."""
    shown: list[str] = []

    def current() -> str:
        shown.append(token() if shown else token(-4.5))
        return shown[-1]

    with Publisher(guarded.tcp, token=current) as publisher:
        first = publisher.publish("news/over", "one")
        until(lambda: publisher.publish("news/over", "more") and len(shown) > 1, "another token to be asked for")
    assert len(shown) == 2
    assert first


# -- the client on Twisted --------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_shows_its_token(guarded: Daemon) -> None:
    """Publishing over HTTP and TCP, and subscribing; a stream whose token is over goes on with the next."""
    shown: list[str] = []

    def current() -> str:
        shown.append(token(-3.5))
        return shown[-1]

    async with Client(f"http://{guarded.http}/", token=current) as client:
        async with TCPPublisher(guarded.tcp, token=token) as publisher, client.subscribe("news/client") as messages:
            sent = 0
            while len(shown) < 4 or sent < 20:
                await publisher.publish("news/client", {"number": sent})
                message = await messages.__anext__()
                assert isinstance(message, Message)
                assert message.data == {"number": sent}
                sent += 1
        await client.publish("news/client", "over HTTP")


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_good_token_is_refused(guarded: Daemon) -> None:
    """For good, whatever it does."""
    url = f"http://{guarded.http}/"
    async with Client(url, token="x") as client, TCPPublisher(guarded.tcp, token="x") as publisher:
        for publish in (client.publish, publisher.publish):
            with pytest.raises(Refused) as refused:
                await publish("news/a", "hello")
            assert (refused.value.code, refused.value.status) == ("bad_token", 401)
        with pytest.raises(Refused):
            await client.subscribe("news/a").opened()


def test_doctor_shows_it_to_the_daemon(guarded: Daemon) -> None:
    """And finds nothing wrong; without it, it says what is wrong."""
    allowed = {"publish": ["doctor/**"], "subscribe": ["doctor/**"]}
    shown = minted(sub="operator", comet=allowed)
    url = f"http://{guarded.http}/"
    ended = comet("doctor", url, shown=shown)
    assert ended.code == 0, ended.out
    assert shown not in ended.out
    assert comet("doctor", url).code == 1
