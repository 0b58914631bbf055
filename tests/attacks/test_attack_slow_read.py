"""Slow read: clients that ask for much and take nothing of it. What they do not take waits in the log, once for all of
them, or in the kernel; never in a queue of theirs."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import redis

from tests.attacks.attacker import MEGABYTE, memory_of, narrow, push, request, rest_of, restored, serves
from tests.daemons import Daemon, running
from tests.e2e.held import Held, asked_json, publish, streams, subscribe
from tests.e2e.waiting import until

LOAD = "x" * MEGABYTE
TRANSPORTS = ("stream", "sse", "iframe", "multipart", "mixed", "websocket")
SUBSCRIBE = b"SUBSCRIBE load\r\n"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_subscriber_that_never_reads(transport: str) -> None:
    """While one subscriber never reads, another has every message; after ``stall`` the first is dropped and counted."""
    with (
        running("--stall", "1s") as daemon,
        restored(daemon),
        narrow(daemon.http) as connection,
        subscribe(daemon.http, "/topics/load?transport=stream", "stream") as reading,
    ):
        Held(connection).ask(f"/topics/load?transport={transport}", transport)
        for number in range(20):
            publish(daemon.http, "load", f"{number} {LOAD}")
            assert reading.until_messages(number + 1)[number]["data"].startswith(f"{number} ")
        assert not reading.controls("gap")
        until(lambda: len(streams(daemon.http, "load")) == 1, "the one who never reads is no longer listed")
        assert asked_json(daemon.http, "/stats")["stalled"] == 1
        publish(daemon.http, "load", "end")
        assert reading.until_messages(21)[20]["data"] == "end"
        with pytest.raises(ConnectionError):
            while connection.recv(65_536):
                pass


def test_memory_of_those_who_never_read() -> None:
    """Twenty subscribers of each transport that never read do not cost the daemon much more than what is retained: what
    is published is kept once. Who then reads is told that there is a gap."""
    with running("--retain-bytes", "20MiB", "--silence", "1h") as daemon, restored(daemon), ExitStack() as stack:
        publish(daemon.http, "load", LOAD)
        before = memory_of(daemon)
        stuck = [Held(stack.enter_context(narrow(daemon.http))) for _ in range(20 * len(TRANSPORTS))]
        for number, held in enumerate(stuck):
            transport = TRANSPORTS[number % len(TRANSPORTS)]
            held.ask(f"/topics/load?transport={transport}", transport)
        for _ in range(40):
            publish(daemon.http, "load", LOAD)
        until(lambda: {each["state"] for each in streams(daemon.http, "load")} == {"stuck"}, "all are stuck")
        assert memory_of(daemon) - before < 100 * MEGABYTE
        stuck[0].until_control("gap")


def test_back_end_that_never_reads() -> None:
    """A subscriber on the TCP port that never reads is dropped after ``stall``, without a queue of its own."""
    with running("--stall", "1s", "--retain-bytes", "20MiB") as daemon, restored(daemon), narrow(daemon.tcp) as stuck:
        push(stuck, SUBSCRIBE)
        until(lambda: streams(daemon.http, "load"), "it is subscribed")
        before = memory_of(daemon)
        for _ in range(40):
            publish(daemon.http, "load", LOAD)
        assert memory_of(daemon) - before < 60 * MEGABYTE
        until(lambda: not streams(daemon.http, "load"), "it was dropped")


def test_answers_that_are_not_read() -> None:
    """Who asks for a megabyte a hundred times on one connection, and reads no answer, is not answered further."""
    with running("--idle-timeout", "1s", "--head-timeout", "1s") as daemon, restored(daemon):
        publish(daemon.http, "history", LOAD)
        before = memory_of(daemon)
        with narrow(daemon.http) as greedy:
            push(greedy, request("GET", "/topics/history?since=first&wait=0&transport=poll") * 100)
            serves(daemon, "slow-read")
            assert memory_of(daemon) - before < 30 * MEGABYTE
            until(lambda: asked_json(daemon.http, "/stats")["connections"]["http"] == 1, "it was dropped")


def test_replies_that_are_not_read() -> None:
    """The same on the TCP port: a pipeline whose replies nobody reads is not executed further."""
    with running() as daemon, restored(daemon):
        before = memory_of(daemon)
        with narrow(daemon.tcp) as greedy:
            greedy.settimeout(1)
            said = b"*2\r\n$4\r\nECHO\r\n$100000\r\n%b\r\n" % (b"x" * 100_000)
            assert not push(greedy, said * 500), "all was taken"
            assert memory_of(daemon) - before < 30 * MEGABYTE
            host, _, port = daemon.tcp.rpartition(":")
            with redis.Redis(host, int(port)) as honest:
                assert honest.ping()


def test_window_of_nothing(daemon: Daemon, topic: str) -> None:
    """A client that takes a byte at a time slows nobody down, and reads what was published."""
    with narrow(daemon.http) as slow:
        Held(slow).ask(f"/topics/{topic}?transport=stream", "stream")
        for number in range(3):
            publish(daemon.http, topic, f"{number} {LOAD}")
            assert slow.recv(1)
        serves(daemon, f"{topic}/other")
        slow.shutdown(socket.SHUT_WR)
        assert rest_of(slow)
