"""The blocking publisher while its daemon is stopped and another is started in its place."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import pytest

from comet.publish import Publisher
from tests.daemons import Daemon, running
from tests.e2e.held import publish, subscribe
from tests.e2e.tools import COMET, begun

LOAD = 40_000
KEEPING = ("--retain-messages", "100000")


def successor_of(daemon: Daemon) -> tuple[str, ...]:
    """The options of a daemon that listens where ``daemon`` did."""
    ports = [address.rpartition(":")[2] for address in (daemon.http, daemon.tcp)]
    http, tcp = (f"tcp:{port}:interface=127.0.0.1" for port in ports)
    return ("--http", http, "--tcp", tcp, *KEEPING)


def numbers(reached: threading.Event, mark: int) -> Iterator[tuple[str, str]]:
    """Messages that count; ``reached`` is set when ``mark`` is asked for."""
    for number in range(LOAD):
        if number == mark:
            reached.set()
        yield "count", str(number)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("face", ["tcp", "http"])
def test_restart(face: str, keys: bool) -> None:
    """While a pipeline of messages is under way the daemon is stopped and started: each is published once, in order."""
    halfway = threading.Event()
    with running(*KEEPING) as first, subscribe(first.http, "/topics/count?transport=stream", "stream") as before:
        before.until_control("open")
        server = first.tcp if face == "tcp" else f"http://{first.http}/"
        with Publisher(server, keys=keys) as publisher, ThreadPoolExecutor(2) as threads:
            collected = threads.submit(before.until_end)
            published = threads.submit(publisher.publish_many, numbers(halfway, LOAD // 2))
            assert halfway.wait(20)
            assert first.end() == 0
            collected.result(20)
            with running(*successor_of(first), anywhere=()) as second:
                positions = published.result(20)
                publish(second.http, "count", "end")
                with subscribe(second.http, "/topics/count?transport=stream&since=first", "stream") as after:
                    after.until(lambda held: held.payloads()[-1:] == ["end"], "the last message")
    assert 0 < len(before.payloads()) < LOAD
    assert before.payloads() + after.payloads()[:-1] == [str(number) for number in range(LOAD)]
    assert positions == [message["id"] for message in (*before.messages(), *after.messages()[:-1])]


@pytest.mark.parametrize("key", [(), ("--key", "file")])
def test_restart_under_lines(key: tuple[str, ...]) -> None:
    """``comet pub --lines`` outlasts a restart of the daemon in the same way, with or without a key."""
    text = "".join(f"{number}\n" for number in range(LOAD)).encode()
    with running(*KEEPING) as first, subscribe(first.http, "/topics/count?transport=stream", "stream") as before:
        before.until_control("open")
        command = (*COMET, "pub", "count", "--lines", *key, "--server", first.tcp)
        with begun(*command, stdin=subprocess.PIPE) as publisher, ThreadPoolExecutor(2) as threads:
            assert publisher.process.stdin is not None
            publisher.process.stdin.write(text[: len(text) // 2])
            publisher.process.stdin.flush()
            before.until_messages(1000)
            collected = threads.submit(before.until_end)
            assert first.end() == 0
            collected.result(20)
            rest = threads.submit(write_all, publisher.process.stdin, text[len(text) // 2 :])
            with running(*successor_of(first), anywhere=()) as second:
                rest.result(20)
                assert publisher.wait() == 0
                publish(second.http, "count", "end")
                with subscribe(second.http, "/topics/count?transport=stream&since=first", "stream") as after:
                    after.until(lambda held: held.payloads()[-1:] == ["end"], "the last message")
    assert before.payloads() + after.payloads()[:-1] == [str(number) for number in range(LOAD)]


def write_all(pipe: IO[bytes], data: bytes) -> None:
    """Write ``data``, and nothing after it."""
    with pipe:
        pipe.write(data)


def test_restart_between() -> None:
    """A connection that was kept and has ended in between is not used any more, and nothing is lost on it."""
    with running() as first, Publisher(first.tcp) as publisher:
        epoch = publisher.publish("a", "1").partition("-")[0]
        assert first.end() == 0
        with running(*successor_of(first), anywhere=()) as second:
            position = publisher.publish("a", "2")
            with subscribe(second.http, "/topics/a?transport=stream&since=first", "stream") as held:
                [message] = held.until_messages(1)
    assert (message["id"], message["data"]) == (position, "2")
    assert not position.startswith(epoch)
