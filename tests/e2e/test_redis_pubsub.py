"""Back ends that listen: Redis clients that subscribe to what browsers and other back ends publish."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.daemons import ROOT, Daemon, running
from tests.e2e.held import asked, asked_json, connected, publish
from tests.e2e.tools import Running, begun, redis_cli, run, split
from tests.e2e.waiting import PATIENCE, until
from tests.recipes.certificate import written
from tests.recipes.proxies import free_port
from tests.resp_reading import Push, values

MEGABYTE = 1_048_576
SOMEWHERE = ("--http", "tcp:0:interface=127.0.0.1")
SCRIPT = Path(__file__).parent / "redis_clients.mjs"


@contextmanager
def client(tcp: str, protocol: int) -> Iterator[Any]:
    """The Redis client of Python."""
    host, port = split(tcp)
    with redis.Redis(host, int(port), protocol=protocol, socket_timeout=PATIENCE) as client:
        yield client


def heard(pubsub: Any) -> dict[str, Any]:
    """The next message or confirmation."""
    found: dict[str, Any] = until(lambda: pubsub.get_message(timeout=1), "a message")
    return found


def message(kind: str, pattern: bytes | None, topic: str, data: bytes | int) -> dict[str, Any]:
    """What redis-py makes of a message or a confirmation."""
    return {"type": kind, "pattern": pattern, "channel": topic.encode(), "data": data}


def subscribers(daemon: Daemon, topic: str) -> int:
    """How many subscriptions name ``topic``."""
    return int(redis_cli(daemon.tcp, "PUBSUB", "NUMSUB", topic).out.split()[1])


# -- redis-py ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(daemon: Daemon, topic: str, protocol: int) -> None:
    """``pubsub()`` hears what is published over TCP and over HTTP, by topic and by pattern, until it unsubscribes."""
    pattern = f"{topic}/*"
    with client(daemon.tcp, protocol) as publisher, publisher.pubsub() as pubsub:
        pubsub.subscribe(topic)
        pubsub.psubscribe(pattern)
        assert heard(pubsub) == message("subscribe", None, topic, 1)
        assert heard(pubsub) == message("psubscribe", None, pattern, 2)
        assert publisher.publish(topic, b"\x00\xff") == 1
        publish(daemon.http, f"{topic}/it", "from a browser")
        assert heard(pubsub) == message("message", None, topic, b"\x00\xff")
        assert heard(pubsub) == message("pmessage", pattern.encode(), f"{topic}/it", b"from a browser")
        pubsub.ping()
        assert heard(pubsub)["type"] == "pong"
        assert publisher.pubsub_numsub(topic) == [(topic.encode(), 1)]
        assert topic.encode() in publisher.pubsub_channels()
        assert publisher.pubsub_numpat() >= 1
        pubsub.unsubscribe()
        assert heard(pubsub) == message("unsubscribe", None, topic, 1)
        assert publisher.publish(topic, "unheard") == 0
        pubsub.punsubscribe()
        assert heard(pubsub) == message("punsubscribe", None, pattern, 0)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_listens_in_order(daemon: Daemon, topic: str, protocol: int) -> None:
    """``listen`` gives all of what a pipeline publishes, in order."""
    with client(daemon.tcp, protocol) as publisher, publisher.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(topic)
        until(lambda: pubsub.get_message(timeout=0.1) or subscribers(daemon, topic), "the subscription")
        pipeline = publisher.pipeline(transaction=False)
        for number in range(5_000):
            pipeline.publish(topic, number)
        assert pipeline.execute() == [1] * 5_000
        listening = pubsub.listen()
        assert [int(next(listening)["data"]) for _ in range(5_000)] == list(range(5_000))


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_in_a_thread(daemon: Daemon, topic: str, protocol: int) -> None:
    """``run_in_thread`` calls the function of each topic and pattern, of which one may match what another names."""
    calls: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    with client(daemon.tcp, protocol) as publisher, publisher.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(**{topic: lambda each: calls.put(("topic", each["data"]))})
        pubsub.psubscribe(**{f"{topic.partition('/')[0]}/*": lambda each: calls.put(("pattern", each["data"]))})
        thread = pubsub.run_in_thread(sleep_time=0.05)
        try:
            until(lambda: subscribers(daemon, topic) and publisher.pubsub_numpat(), "the subscriptions")
            until(lambda: publisher.publish(topic, "x") and not calls.empty(), "a call")
            assert {calls.get(timeout=PATIENCE), calls.get(timeout=PATIENCE)} == {("topic", b"x"), ("pattern", b"x")}
        finally:
            thread.stop()
            thread.join(PATIENCE)
        assert not thread.is_alive()


def test_redis_py_comes_back(topic: str) -> None:
    """After a restart of the daemon redis-py has the same subscriptions, without a word from the program."""
    port = free_port()
    with client(f"127.0.0.1:{port}", 2) as listener, listener.pubsub(ignore_subscribe_messages=True) as pubsub:
        for life in (b"first", b"second"):
            with running("--tcp", f"tcp:{port}:interface=127.0.0.1", anywhere=SOMEWHERE) as daemon:
                if life == b"first":
                    pubsub.subscribe(topic)
                until(partial(published_and_heard, daemon, pubsub, topic, life), "what is published")
                assert daemon.end() == 0


def published_and_heard(daemon: Daemon, pubsub: Any, topic: str, payload: bytes) -> bool:
    """Publish, and say whether that is what is heard."""
    publish(daemon.http, topic, payload)
    try:
        message = pubsub.get_message(timeout=0.2)
    except redis.ConnectionError:  # seen once; the next call connects anew
        return False
    return message is not None and message["data"] == payload


# -- redis-cli and netcat ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-3",)], ids=["resp2", "resp3"])
def test_redis_cli(daemon: Daemon, topic: str, options: tuple[str, ...]) -> None:
    """``redis-cli SUBSCRIBE`` and ``PSUBSCRIBE`` print what is published."""
    host, port = split(daemon.tcp)
    cli = ("redis-cli", "-h", host, "-p", port, *options)
    with begun(*cli, "SUBSCRIBE", topic) as exact, begun(*cli, "PSUBSCRIBE", f"{topic}/**") as wild:
        exact.until(f"subscribe\n{topic}\n1\n".encode())
        wild.until(f"psubscribe\n{topic}/**\n1\n".encode())
        publish(daemon.http, topic, "hello")
        publish(daemon.http, f"{topic}/a/b", "deeper")
        exact.until(f"message\n{topic}\nhello\n".encode())
        wild.until(f"pmessage\n{topic}/**\n{topic}/a/b\ndeeper\n".encode())
    until(lambda: not subscribers(daemon, topic), "redis-cli having left")


def test_a_line_of_text(daemon: Daemon, topic: str) -> None:
    """Whoever types into netcat can subscribe, too."""
    host, port = split(daemon.tcp)
    with begun("nc", host, port, stdin=subprocess.PIPE) as nc:
        assert nc.process.stdin is not None
        nc.process.stdin.write(f"SUBSCRIBE {topic}\r\n".encode())
        nc.process.stdin.flush()
        nc.until(b"subscribe\r\n")
        publish(daemon.http, topic, "hello")
        nc.until(b"$5\r\nhello\r\n")
        assert run("nc", "-z", host, port).code == 0


# -- the clients of Node ----------------------------------------------------------------------------------------------


@contextmanager
def node(port: str, name: str, topic: str) -> Iterator[Node]:
    """A program on Node that has subscribed to ``topic``, and to what is beneath."""
    if not (ROOT / "browser/node_modules/ioredis").exists():
        pytest.fail("ioredis and redis are not installed; 'npm ci --prefix browser' installs them")
    with begun("node", str(SCRIPT), name, port, topic, f"{topic}/**", stdin=subprocess.PIPE) as program:
        yield Node(program)


class Node:
    """Such a program."""

    def __init__(self, program: Running) -> None:
        self._program = program

    def until(self, what: object) -> None:
        """Wait until it has said ``what``."""
        self._program.until(json.dumps(what, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")

    def has_said(self, what: object) -> bool:
        """Whether it has."""
        return json.dumps(what, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" in self._program.out

    def unsubscribe(self, name: str) -> None:
        """Have it unsubscribe."""
        assert self._program.process.stdin is not None
        self._program.process.stdin.write(f"{name}\n".encode())
        self._program.process.stdin.flush()
        self.until(["ended", name])


CLIENTS = ["ioredis", "redis2", "redis3"]


@pytest.mark.parametrize("name", CLIENTS)
def test_node(daemon: Daemon, topic: str, name: str) -> None:
    """ioredis, and node-redis in both versions of the protocol, hear topics and patterns, and can end each."""
    with node(split(daemon.tcp)[1], name, topic) as program:
        program.until("ready")
        publish(daemon.http, topic, "hello é")
        program.until(["message", topic, "hello é"])
        publish(daemon.http, f"{topic}/a/b", "deeper")
        program.until(["pmessage", f"{topic}/**", f"{topic}/a/b", "deeper"])
        program.unsubscribe(topic)
        assert redis_cli(daemon.tcp, "PUBLISH", topic, "unheard").out == "0\n"
        program.unsubscribe(f"{topic}/**")
        assert redis_cli(daemon.tcp, "PUBLISH", f"{topic}/a", "unheard").out == "0\n"
        assert not program.has_said(["message", topic, "unheard"])


@pytest.mark.parametrize("name", CLIENTS)
def test_node_comes_back(name: str) -> None:
    """After a restart of the daemon the clients of Node have the same subscriptions."""
    port = free_port()
    tcp = ("--tcp", f"tcp:{port}:interface=127.0.0.1")
    with running(*tcp, anywhere=SOMEWHERE) as first, node(str(port), name, "news") as program:
        program.until("ready")
        publish(first.http, "news", "one")
        program.until(["message", "news", "one"])
        assert first.end() == 0
        with running(*tcp, anywhere=SOMEWHERE) as second:
            until(lambda: subscribers(second, "news"), "the client")
            until(lambda: redis_cli(second.tcp, "PUBLISH", "news/a", "two").out == "1\n", "its pattern")
            program.until(["pmessage", "news/**", "news/a", "two"])


# -- who reads slowly, or not at all ----------------------------------------------------------------------------------


def test_who_never_reads_costs_nothing() -> None:
    """While a hundred megabytes are published, one who reads nothing makes the daemon grow by little more than
    what is retained. Nobody else notices; and what it finds in the end is whole, and says what is missing."""
    settings = ("--retain-bytes", "8MiB", "--send-buffer", "64KiB")
    with running(*settings) as daemon, connected(daemon.tcp) as lazy, client(daemon.tcp, 2) as publisher:
        lazy.sendall(b"SUBSCRIBE load\r\n")
        until(lambda: subscribers(daemon, "load"), "the subscription")
        publisher.publish("load", b"-" * MEGABYTE)
        before = asked_json(daemon.http, "/stats")["memory"]
        for number in range(100):
            assert publisher.publish("load", b"%03d" % number + b"x" * (MEGABYTE - 3)) == 1
        grown = asked_json(daemon.http, "/stats")["memory"] - before
        assert grown < 40 * MEGABYTE, grown
        (stream,) = asked_json(daemon.http, "/stats/streams?transport=resp")["streams"]
        assert (stream["state"], stream["patterns"]) == ("stuck", ["load"])
        publisher.publish("load", "the end")
        found = values(read_until(lazy, b"the end\r\n"))
    assert found[0] == [b"subscribe", b"load", 1]
    numbers = [int(data[:3]) for kind, topic, data in found[2:-1] if topic == b"load"]
    assert numbers == sorted(set(numbers))
    assert [topic for kind, topic, data in found if kind == b"message"].count(b"$gap") == 1
    assert found[-1] == [b"message", b"load", b"the end"]


def test_replies_and_messages_on_one_connection(daemon: Daemon, topic: str) -> None:
    """A connection that speaks RESP3 publishes, listens and asks at once; however slowly it reads, each reply and each
    message is whole, and each kind is in order."""
    count = 20_000
    with connected(daemon.tcp) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        commands = b"".join(
            b"ECHO %d\r\n*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$500\r\n%0500d\r\n" % (n, len(topic), topic.encode(), n)
            for n in range(count)
        )
        begin = f"HELLO 3\r\nSUBSCRIBE {topic}\r\n".encode()
        writing = threading.Thread(target=connection.sendall, args=(begin + commands + b"ECHO end\r\n",))
        writing.start()
        data = read_until(connection, b"%0500d\r\n" % (count - 1), b"$3\r\nend\r\n")
        writing.join(PATIENCE)
    found = values(data)[2:]
    pushes = [int(value[2]) for value in found if isinstance(value, Push)]
    replies = [value for value in found if not isinstance(value, Push)]
    assert replies == [value for n in range(count) for value in (b"%d" % n, 1)] + [b"end"]
    assert pushes == list(range(count))


def read_until(connection: socket.socket, *ends: bytes) -> bytes:
    """Read until all of ``ends`` have come."""
    data = bytearray()
    connection.settimeout(PATIENCE)
    while not all(data.find(end, max(0, len(data) - 4 * MEGABYTE)) >= 0 for end in ends):
        piece = connection.recv(65_536)
        assert piece, f"the connection ended after {len(data)} bytes"
        data += piece
    return bytes(data)


# -- the daemon's side ------------------------------------------------------------------------------------------------


def test_it_shows(daemon: Daemon, topic: str) -> None:
    """A subscription on the TCP port stands among the streams, and in the metrics."""
    with connected(daemon.tcp) as connection:
        connection.sendall(f"SUBSCRIBE {topic} {topic}/a\r\n".encode())
        until(lambda: subscribers(daemon, topic), "the subscription")
        found = asked_json(daemon.http, "/stats/streams?transport=resp")["streams"]
        (stream,) = [each for each in found if topic in each["patterns"]]
        host, port = connection.getsockname()
        assert (stream["address"], stream["state"], stream["patterns"]) == (
            f"{host}:{port}",
            "live",
            [topic, f"{topic}/a"],
        )
        _, _, metrics = asked(daemon.http, "GET", "/metrics")
        assert b'comet_subscriptions{transport="resp"}' in metrics
    until(lambda: not subscribers(daemon, topic), "its end")


def test_the_end_of_the_daemon_is_no_reset() -> None:
    """A daemon that stops sends what it has taken, and ends the connection as one does."""
    with running() as daemon, connected(daemon.tcp) as connection:
        connection.sendall(b"SUBSCRIBE a\r\n")
        until(lambda: subscribers(daemon, "a"), "the subscription")
        publish(daemon.http, "a", "x" * 100_000)
        ending = threading.Thread(target=daemon.end)
        ending.start()
        data = b""
        connection.settimeout(PATIENCE)
        while piece := connection.recv(65_536):
            data += piece
        connection.close()
        ending.join(PATIENCE)
        assert values(data)[1:] == [[b"message", b"a", b"x" * 100_000]]
        assert daemon.process.returncode == 0


@pytest.mark.parametrize("name", ["ioredis", "redis3"])
def test_a_hand_over(tmp_path: Path, name: str) -> None:
    """When another daemon takes over, it soon has the same listeners."""
    handover = ("--handover", str(tmp_path / "handover"))
    with running(*handover) as old, node(split(old.tcp)[1], name, "news") as program:
        program.until("ready")
        publish(old.http, "news", "one")
        program.until(["message", "news", "one"])
        with running(*handover, "--replace") as new:
            assert old.process.wait(PATIENCE) == 0
            until(lambda: subscribers(new, "news"), "the client")
            publish(new.http, "news", "two")
            program.until(["message", "news", "two"])
            assert new.end() == 0


def test_over_a_unix_socket(tmp_path: Path) -> None:
    """A back end on the same machine can listen over a UNIX socket."""
    with running("--tcp", f"unix:{tmp_path}/tcp", anywhere=SOMEWHERE) as daemon:
        bring_much(daemon, redis.Redis(unix_socket_path=f"{tmp_path}/tcp", socket_timeout=PATIENCE))


def test_over_tls(tmp_path: Path) -> None:
    """Or, from another machine, over TLS."""
    written(tmp_path)
    tls = f"ssl:0:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem:interface=127.0.0.1"
    with running("--tcp", tls) as daemon:
        port = int(until(lambda: ports(daemon), "both ports")[-1])
        trusted = str(tmp_path / "cert.pem")
        bring_much(daemon, redis.Redis("localhost", port, ssl=True, ssl_ca_certs=trusted, socket_timeout=PATIENCE))


def ports(daemon: Daemon) -> list[str]:
    """The ports on which the daemon says that one can publish."""
    lines = [line.split() for line in daemon.log if " publish " in line]
    return [line[-1].rpartition(":")[2] for line in lines] if len(lines) == 2 else []


def bring_much(daemon: Daemon, listener: Any) -> None:
    """Bring more to ``listener`` than any buffer on the way holds, while it does not read."""
    with listener, listener.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("a")
        until(lambda: pubsub.get_message(timeout=0.05) or asked_json(daemon.http, "/stats")["subscriptions"], "it")
        for number in range(40):
            publish(daemon.http, "a", b"%02d" % number + b"x" * 500_000)
        assert [heard(pubsub)["data"][:2] for _ in range(40)] == [b"%02d" % number for number in range(40)]
