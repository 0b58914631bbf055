"""The TCP port in front of the real router, with the store in memory: what a publisher sends is what the log has."""

from __future__ import annotations

from itertools import pairwise

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from comet.audience import Interest, Key
from comet.config import Config
from comet.message import Position
from comet.metrics import Metrics
from comet.resp.factory import RespFactory
from comet.router import Router
from comet.store.memory import MemoryStore
from comet.topics import parse_patterns
from comet.transports import Wishes, named
from tests.fakes import FakeWriter


class Wire(StringTransport):
    """A transport that notes when its one direction is ended."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class Publisher:
    """One connection to a port of its own, and the router behind it."""

    def __init__(self) -> None:
        config, metrics, self.clock = Config(), Metrics(), Clock()
        self.router = Router(config, MemoryStore(), metrics, self.clock)
        self.router.start()
        self.wire = Wire()  # type: ignore[no-untyped-call]
        self._protocol = RespFactory(self.router, config, metrics).buildProtocol(None)
        self._protocol.makeConnection(self.wire)  # type: ignore[no-untyped-call]

    def send(self, data: bytes) -> list[bytes]:
        """Send what one read of the socket brings, and return the lines of what is replied by then."""
        self._protocol.dataReceived(data)
        replies: bytes = self.wire.value()  # type: ignore[no-untyped-call]
        self.wire.clear()  # type: ignore[no-untyped-call]
        return replies.splitlines()

    def subscribe(self, *topics: str) -> FakeWriter:
        """Open a stream of what comes from now on; return where it is written."""
        row, writer = named("stream"), FakeWriter()
        key = Key(parse_patterns(topics), row.framing(Wishes()), row.name, row.delivery, row.conflated, 0.0)
        self.router.subscribe(Interest(key, "now"), writer)
        writer.arrived()
        return writer

    def logged(self) -> list[tuple[int, str, bytes]]:
        """Return offset, topic and payload of each message in the log."""
        messages, _ = self.router.log.read(parse_patterns(["**"]), 0, 1_000)
        return [(message.offset, message.topic, message.payload) for message in messages]


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


def test_publish_replies_with_the_number_of_subscriptions(publisher: Publisher) -> None:
    """PUBLISH counts who wants the topic, with wildcards too, and those get the message."""
    writers = [publisher.subscribe("news/sport"), publisher.subscribe("news/*", "other"), publisher.subscribe("other")]
    pipeline = b"PUBLISH news/sport 1:0\nPUBLISH other x\nPUBLISH news/weather sun\nPUBLISH nobody x\n"
    assert publisher.send(pipeline) == [b":2", b":2", b":1", b":0"]
    publisher.clock.advance(0)
    assert [b"1:0" in writer.arrived() for writer in writers] == [True, True, False]


def test_a_key_makes_a_publish_safe_to_repeat(publisher: Publisher) -> None:
    """XADD with the key that an earlier one had gives the same id, and the log has the message once."""
    xadd = b"XADD orders * data paid key 4711\n"
    (_, first) = publisher.send(xadd)
    assert publisher.send(b"PUBLISH orders other\n") == [b":0"]
    assert publisher.send(xadd + xadd)[1::2] == [first, first]
    assert Position.parse(first.decode()) == publisher.router.log.position(1)
    assert publisher.logged() == [(1, "orders", b"paid"), (2, "orders", b"other")]


def test_a_key_repeated_within_a_batch_gives_the_same_id(publisher: Publisher) -> None:
    """In one pipeline, a repeated key gives its first id and the publishes around it give their own."""
    lines = [b"XADD a * data 1\n", b"XADD a * data 2 key k\n", b"XADD a * data 2 key k\n", b"XADD a * data 3\n"]
    ids = [Position.parse(line.decode()).offset for line in publisher.send(b"".join(lines))[1::2]]
    assert ids == [1, 2, 2, 3]
    assert publisher.logged() == [(1, "a", b"1"), (2, "a", b"2"), (3, "a", b"3")]


def test_the_log_has_the_order_of_the_commands(publisher: Publisher) -> None:
    """Whichever commands a batch mixes, its messages stand in the log one after the other, as they were sent."""
    batch = b"PUBLISH b 0\nXADD a * data 1\nPING\nPUBLISH a* bad\nXADD b * data 2 key k\nMULTI\nPUBLISH a 3\n"
    publisher.send(batch + b"PUBLISH c 4\nEXEC\nPUBLISH b 5\n")
    publisher.send(b"PUBLISH a 6\n")
    logged = publisher.logged()
    assert [topic for _, topic, _ in logged] == ["b", "a", "b", "a", "c", "b", "a"]
    assert [payload for _, _, payload in logged] == [b"%d" % number for number in range(7)]
    assert all(after == before + 1 for (before, _, _), (after, _, _) in pairwise(logged))


def test_a_router_that_stopped_takes_nothing(publisher: Publisher) -> None:
    """Once the daemon drains, a publish has no reply, a transaction's neither, and nothing is in the log: the
    connection ends behind the replies to what was stored, so that the publisher tries again."""
    assert publisher.send(b"PUBLISH a x\n") == [b":0"]
    publisher.router.stop()
    pipeline = b"PUBLISH a y\nXADD a * data y key k\nMULTI\nPUBLISH a y\nEXEC\nPING\n"
    assert publisher.send(pipeline) == []
    assert publisher.wire.half_closed
    assert publisher.logged() == [(1, "a", b"x")]
