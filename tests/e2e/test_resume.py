"""Resuming: a subscriber is cut off in the middle of a stream, and goes on over another transport."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import Held, connected, publish, subscribe

TRANSPORTS = ("poll", "stream", "sse", "mixed", "websocket", "iframe")


class Publisher:
    """Publishes 0, 1, 2, … on a topic, each once the one before is stored, until it is told to stop."""

    def __init__(self, daemon: Daemon, topic: str) -> None:
        self._daemon = daemon
        self._topic = topic
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self.count = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> int:
        """Stop, and say how many there were."""
        self._stopped.set()
        self._thread.join()
        return self.count

    def _publish(self) -> None:
        with connected(self._daemon.tcp) as connection:
            # The pause leaves time for the daemon and for the reader, which have two processors with this.
            while not self._stopped.wait(0.0002):
                connection.sendall(f"PUBLISH {self._topic} {self.count}\r\n".encode())
                assert connection.recv(100)[:1] == b":"
                self.count += 1


@contextmanager
def publishing(daemon: Daemon, topic: str) -> Iterator[Publisher]:
    """A publisher that is at work."""
    publisher = Publisher(daemon, topic)
    try:
        yield publisher
    finally:
        publisher.stop()


class Follower:
    """A subscriber on one transport, from ``since`` on; a poll is asked again and again."""

    def __init__(self, daemon: Daemon, topic: str, transport: str, since: str) -> None:
        self._target = f"/topics/{topic}?transport={transport}"
        self._transport = transport
        # A browser's EventSource says in a header where it was, everybody else in the address.
        self.held = (
            subscribe(daemon.http, self._target, transport, Last_Event_ID=since)
            if transport == "sse"
            else subscribe(daemon.http, f"{self._target}&since={since}", transport)
        )

    def until(self, count: int) -> Held:
        """Read on until ``count`` messages have come."""
        while len(self.held.messages()) < count:
            if self.held.objects and "next" in self.held.objects[-1]:
                self.held.ask(f"{self._target}&since={self.held.objects[-1]['next']}", self._transport)
            else:
                assert self.held.read(), "the stream has ended"
        return self.held


@pytest.mark.parametrize(("first", "second"), list(itertools.product(TRANSPORTS, repeat=2)))
def test_resume(daemon: Daemon, topic: str, first: str, second: str) -> None:
    """Cut off in mid-stream, a subscriber goes on over any other transport, and has every message once, in order."""
    publish(daemon.http, topic, "beginning")
    beginning = Follower(daemon, topic, first, "first")
    with beginning.held, publishing(daemon, topic) as publisher:
        publisher.start()
        seen = beginning.until(101).payloads()
        beginning.held.reset()
        going_on = Follower(daemon, topic, second, beginning.held.cursor())
        with going_on.held as held:
            going_on.until(100)
            total = publisher.stop() + 1
            going_on.until(total - len(seen))
            assert [*seen, *held.payloads()] == ["beginning", *map(str, range(total - 1))]
            assert not held.controls("gap")


@pytest.fixture(scope="module")
def restarted() -> Iterator[tuple[Daemon, str]]:
    """A daemon that was restarted, and a position that it gave before; it keeps nothing."""
    with running() as before:
        position = publish(before.http, "news", "before")
    with running() as after:
        publish(after.http, "news", "after")
        yield after, position


@pytest.mark.parametrize("transport", [*TRANSPORTS, "multipart"])
def test_restart(restarted: tuple[Daemon, str], transport: str) -> None:
    """After a restart of a daemon that keeps nothing, who comes back with an old position is told of a gap first."""
    daemon, position = restarted
    follower = Follower(daemon, "news", transport, position)
    with follower.held as held:
        gap = held.until_control("gap")
        assert gap["since"] == position
        assert next(found for found in held.objects if found.get("comet") != "open") == gap
        assert follower.until(1).payloads() == ["after"]
