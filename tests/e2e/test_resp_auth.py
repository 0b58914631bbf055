"""Redis clients and their passwords, which are tokens: as people configure them, against a daemon that asks for one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from tests.daemons import Daemon, running
from tests.e2e.held import asked, connected
from tests.e2e.tools import redis_cli, run, split
from tests.e2e.waiting import PATIENCE, until
from tests.minting import SECRET, minted

NEWS = {"publish": ["news/**"], "subscribe": ["news/**"]}
SCRIPT = Path(__file__).parent / "redis_auth.mjs"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon to which nobody belongs without a token."""
    key = tmp_path_factory.mktemp("keys") / "comet.key"
    key.write_text(SECRET)
    with running("--local", "anonymous", "--key", str(key)) as daemon:
        yield daemon
        assert daemon.end() == 0
        log = "".join(daemon.log)
        assert "Traceback" not in log, log
        assert SECRET not in log
        assert "eyJ" not in log, log


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return "news/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def token(**claims: Any) -> str:
    """A token of Alice for the news, unless the claims say otherwise."""
    return minted(**{"sub": "alice", "comet": NEWS, **claims})


@contextmanager
def client(daemon: Daemon, protocol: int, **options: Any) -> Iterator[Any]:
    """The Redis client of Python, which does not try again."""
    host, port = split(daemon.tcp)
    once = Retry(NoBackoff(), 0)
    with redis.Redis(
        host, int(port), protocol=protocol, socket_timeout=PATIENCE, **{"retry": once, **options}
    ) as client:
        yield client


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("user", [None, "default", "alice"])
def test_redis_py(guarded: Daemon, topic: str, protocol: int, user: str | None) -> None:
    """With the token as its password, and a user or none, redis-py does what the token allows."""
    with client(guarded, protocol, username=user, password=token()) as alice, alice.pubsub() as pubsub:
        assert alice.ping()
        pubsub.subscribe(topic)
        assert pubsub.get_message(timeout=PATIENCE)["type"] == "subscribe"
        assert alice.publish(topic, "hello") == 1
        assert pubsub.get_message(timeout=PATIENCE)["data"] == b"hello"
        assert len(alice.xrange(topic)) == 1
        pipeline = alice.pipeline()
        for _ in range(100):
            pipeline.publish(topic, "more")
        assert pipeline.execute() == [1] * 100


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_refused(guarded: Daemon, topic: str, protocol: int) -> None:
    """What redis-py raises is what it raises at a Redis server: who it is, and what that may do, are two errors."""
    for wrong in ({}, {"password": "hunter2"}, {"username": "bob", "password": token()}):
        with client(guarded, protocol, **wrong) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.publish(topic, "evil")
    with client(guarded, protocol, password=token()) as alice:
        with pytest.raises(redis.exceptions.NoPermissionError):
            alice.publish("other", "evil")
        with pytest.raises(redis.exceptions.NoPermissionError):
            alice.xread({"other": 0})
        assert alice.ping()


def test_redis_py_asks_nothing_that_is_refused(guarded: Daemon, topic: str) -> None:
    """What redis-py sends on its own at each connection does not fill the log."""
    with client(guarded, 3, password=token()) as alice:
        alice.publish(topic, "hello")
        number = alice.client_id()
    assert number > 0
    assert not [line for line in guarded.log if "b'CLIENT'" in line and "unknown" in line]


class Fresh(CredentialProvider):
    """Has a token for each connection; of the first ones it gives only some seconds are left."""

    def __init__(self, short: int) -> None:
        self.given = 0
        self._short = short

    def get_credentials(self) -> tuple[str, str]:
        self.given += 1
        left = -3 if self.given <= self._short else 600  # five seconds more are allowed, for clocks that differ
        return "alice", token(exp=time.time() + left)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_comes_back_with_another_token(guarded: Daemon, topic: str, protocol: int) -> None:
    """When its token is over a subscriber is told, and comes back with the next one by itself; so does a publisher."""
    provider = Fresh(short=2)
    retry = Retry(NoBackoff(), 3)
    with client(guarded, protocol, credential_provider=provider, retry=retry) as alice, alice.pubsub() as pubsub:
        pubsub.subscribe(topic)
        assert alice.publish(topic, "one") == 1
        until(lambda: (pubsub.get_message(timeout=0.2) and False) or provider.given > 2, "another token")
        until(lambda: alice.publish(topic, "two") == 1, "it has subscribed again")
        heard = until(lambda: (found := pubsub.get_message(timeout=1)) and found["type"] == "message" and found, "two")
        assert heard["data"] == b"two"


def test_redis_cli(guarded: Daemon, topic: str) -> None:
    """``redis-cli`` takes the token by ``--pass`` and ``--user``, and says what is wrong without one."""
    right = ("--no-auth-warning", "--pass", token())
    assert redis_cli(guarded.tcp, *right, "PUBLISH", topic, "hello").out == "0\n"
    assert redis_cli(guarded.tcp, "--user", "alice", *right, "PUBLISH", topic, "hello").out == "0\n"
    assert redis_cli(guarded.tcp, "-3", *right, "XLEN", topic).out == "2\n"
    assert redis_cli(guarded.tcp, *right, "PUBLISH", "other", "x").out.startswith("NOPERM ")
    assert redis_cli(guarded.tcp, "PUBLISH", topic, "x").out.startswith("NOAUTH ")
    assert "WRONGPASS" in redis_cli(guarded.tcp, "--pass", "hunter2", "PUBLISH", topic, "x").err


@pytest.mark.parametrize("name", ["ioredis", "redis2", "redis3"])
def test_node(guarded: Daemon, topic: str, name: str) -> None:
    """The clients of Node do, too."""
    _, port = split(guarded.tcp)
    assert json.loads(run("node", str(SCRIPT), name, port, token(), topic).out) == 0
    assert "WRONGPASS" in json.loads(run("node", str(SCRIPT), name, port, "hunter2", topic).out)


def test_netcat(guarded: Daemon, topic: str) -> None:
    """Who types may send everything at once: what is behind AUTH waits for it."""
    host, port = split(guarded.tcp)
    ended = run("nc", "-N", host, port, stdin=f"AUTH {token()}\r\nPUBLISH {topic} hi\r\nPUBLISH other hi\r\n")
    first, second, third = ended.out.splitlines()
    assert (first, second) == ("+OK", ":0")
    assert third.startswith("-NOPERM ")


def test_a_proxy_that_says_whose_the_connection_is(tmp_path: Path) -> None:
    """Behind the PROXY protocol nobody is local, whatever the proxy says, and each client has an address of its own."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    endpoints = ("--http", "tcp:0:interface=127.0.0.1", "--tcp", "haproxy:tcp:0:interface=127.0.0.1")
    with running("--proxy", "127.0.0.1", "--key", str(key), anywhere=endpoints) as daemon:
        for source in ("127.0.0.1", "203.0.113.9"):
            with connected(daemon.tcp) as connection:
                connection.sendall(f"PROXY TCP4 {source} 10.0.0.2 4711 7081\r\nPUBLISH news/a x\r\n".encode())
                assert connection.recv(1000).startswith(b"-NOAUTH ")
                connection.sendall(f"AUTH {token()}\r\nCLIENT LIST\r\n".encode())
                until(lambda: f"addr={source}:4711".encode() in connection.recv(1000), "its address")  # noqa: B023


def test_strangers_are_not_waited_for(tmp_path: Path) -> None:
    """A connection that says nothing, or nothing of itself, is told why it is closed."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    with running("--local", "anonymous", "--key", str(key), "--auth-timeout", "1s") as daemon:
        for said in (b"", b"RESET\r\n", b"*2\r\n$4\r\nAUTH\r\n$100\r\n"):
            with connected(daemon.tcp) as stranger:
                stranger.sendall(said)
                heard = b""
                while more := stranger.recv(1000):
                    heard += more
            assert heard.splitlines()[-1].startswith(b"-NOAUTH ")


def test_who_never_reads_is_dropped(topic: str) -> None:
    """Replies that nobody takes are kept for ``--stall`` seconds; those that are taken slowly are all given."""
    with running("--stall", "1s") as daemon:
        host, port = split(daemon.tcp)
        with redis.Redis(host, int(port)) as publisher:
            for _ in range(12):
                publisher.publish(topic, b"x" * 300_000)
        with listening(daemon) as never, listening(daemon) as slowly:
            never.sendall(f"XRANGE {topic} - +\r\n".encode() * 8)
            slowly.sendall(f"XRANGE {topic} - +\r\n".encode())
            heard = 0

            def is_dropped() -> bool:
                nonlocal heard
                heard += len(slowly.recv(5_000))
                return stalled(daemon) > 0

            until(is_dropped, "one is dropped")
            while heard < 3_600_000:
                heard += len(slowly.recv(65_536))
            slowly.sendall(b"QUIT\r\n")
            while more := slowly.recv(65_536):
                last = more
            assert last.endswith(b"+OK\r\n")
        assert stalled(daemon) == 1


def stalled(daemon: Daemon) -> int:
    """How many connections were dropped because their client takes nothing."""
    _, _, metrics = asked(daemon.http, "GET", "/metrics")
    return int(metrics.partition(b"\ncomet_stalled_total ")[2].partition(b"\n")[0])


def listening(daemon: Daemon) -> socket.socket:
    """A connection whose client has little room."""
    connection = connected(daemon.tcp)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    return connection
