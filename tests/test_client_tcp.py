"""The publisher over TCP, on a network in memory: it is cut where a test wants, and time is a test's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from comet.client import Closed, Refused, TCPPublisher, Unreachable
from comet.client.link import Link
from comet.client.tcp import MOST, WINDOW, _endpoint
from comet.config import Config
from comet.resp.factory import RespFactory
from tests.client_faces import result_of
from tests.web_faces import Face


class Wires:
    """One connection: the client's transport and the daemon's, and what is between them."""

    def __init__(self, link: Link, factory: RespFactory) -> None:
        self.near: Any = StringTransport()
        self.far: Any = StringTransport()
        self.link: Any = link
        self.peer: Any = factory.buildProtocol(None)
        self.over = False
        ends: list[tuple[Any, Any]] = [(self.peer, self.far), (self.link, self.near)]
        for protocol, transport in ends:
            protocol.makeConnection(transport)

    def carry(self, there: int | None = None, back: int | None = None) -> bool:
        """Carry up to so many bytes; returns whether anything was carried."""
        if self.over:
            return False
        sent = _taken(self.near, there)
        if sent and not self.far.disconnecting:
            self.peer.dataReceived(sent)
        replied = _taken(self.far, back)
        if replied and not self.near.disconnected:
            self.link.dataReceived(replied)
        ended = self.near.disconnecting or self.near.disconnected or (self.far.disconnecting and not self.far.value())
        if ended:
            self.cut()
        return bool(sent or replied)

    def cut(self) -> None:
        """Lose the connection, with whatever is under way."""
        if not self.over:
            self.over = True
            self.peer.connectionLost(Failure(ConnectionLost()))
            self.link.connectionLost(Failure(ConnectionLost()))


def _taken(transport: Any, count: int | None) -> bytes:
    """Take up to ``count`` bytes from what was written."""
    data: bytes = transport.value()
    taken = data if count is None else data[:count]
    transport.clear()
    transport.write(data[len(taken) :])
    return taken


class Port:
    """An endpoint (IStreamClientEndpoint) that leads to a daemon's TCP port."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.face = Face(Config())
        self.down = False
        self.stuck = False
        self.wires: list[Wires] = []
        self._factory = RespFactory(self.face.router, self.face.config, self.face.metrics)

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect."""
        if self.stuck:
            return Deferred()
        if self.down:
            return fail(ConnectError(string="nobody is there"))
        link = factory.buildProtocol(None)
        self.wires.append(Wires(link, self._factory))
        return succeed(link)

    def publisher(self, **options: Any) -> TCPPublisher:
        """A publisher to this port."""
        return TCPPublisher(self, reactor=self.clock, **options)

    def settle(self) -> None:
        """Carry all there is."""
        while any(wires.carry() for wires in self.wires):
            self.face.clock.advance(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and what there is be carried meanwhile."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()

    def stored(self) -> list[str]:
        """The payloads that the daemon has."""
        return [message.payload.decode() for message in self.face.router.log.after(0, 100_000)]


@pytest.fixture
def port() -> Iterator[Port]:
    """A daemon's TCP port."""
    port = Port()
    yield port
    assert not port.clock.getDelayedCalls()


def close(port: Port, publisher: TCPPublisher) -> None:
    """Close it, and see it closed."""
    closing = publisher.close()
    port.settle()
    port.settle()
    result_of(closing)


def test_publish(port: Port) -> None:
    """Many messages are under way at the same time; each has its position, and all are in order."""
    publisher = port.publisher()
    publishing = [publisher.publish("a", f"{number}") for number in range(10)]
    publishing.append(publisher.publish("a", {"bid": 1}))
    publishing.append(publisher.publish("a", b"\xff", content_type="image/png"))
    port.settle()
    assert [result_of(each).partition("-")[2] for each in publishing] == [str(number) for number in range(1, 13)]
    *_, last, picture = port.face.router.log.after(0, 100)
    assert (last.payload, last.content_type) == (b'{"bid":1}', "application/json")
    assert (picture.payload, picture.content_type) == (b"\xff", "image/png")
    assert len(port.wires) == 1
    close(port, publisher)


def test_refused(port: Port) -> None:
    """A refusal is of its message alone."""
    publisher = port.publisher()
    bad, good = publisher.publish("a//b", "x"), publisher.publish("a", "x")
    port.settle()
    with pytest.raises(Refused, match="a//b") as refused:
        result_of(bad)
    assert (refused.value.code, refused.value.status) == ("bad_topic", 400)
    result_of(good)
    with pytest.raises(TypeError):
        publisher.publish("a", object())
    close(port, publisher)


def test_again(port: Port) -> None:
    """What was not acknowledged when a connection was lost is sent again, and stored once, in order."""
    publisher = port.publisher()
    publishing = [publisher.publish("a", f"{number}") for number in range(100)]
    port.wires[0].carry(there=5000, back=100)
    port.wires[0].cut()
    port.pass_time(1)
    assert len({result_of(each) for each in publishing}) == 100
    assert port.stored() == [str(number) for number in range(100)]
    close(port, publisher)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=20))
def test_each_message_once(cuts: list[tuple[int, int]]) -> None:
    """Wherever connections are cut, at whichever byte, each message is stored once, in order."""
    port = Port()
    publisher = port.publisher(patience=None)
    numbers = itertools.count()
    publishing = []
    for there, back in cuts:
        publishing += [publisher.publish("a", f"{next(numbers)}") for _ in range(3)]
        port.wires[-1].carry(there, back)
        if there % 3:
            port.wires[-1].cut()
            port.clock.advance(10)
    port.pass_time(10)
    assert len({result_of(each) for each in publishing}) == len(publishing)
    assert port.stored() == [str(number) for number in range(len(publishing))]
    close(port, publisher)


def test_refused_for_a_while(port: Port) -> None:
    """What the store cannot take now is sent again, before what comes after it."""
    publisher = port.publisher()
    port.face.store.fails = True
    first = publisher.publish("a", "1")
    port.settle()
    second = publisher.publish("a", "2")
    assert not first.called
    port.face.store.fails = False
    port.pass_time(1)
    assert result_of(first) < result_of(second)
    assert port.stored() == ["1", "2"]
    close(port, publisher)


def test_window(port: Port) -> None:
    """Only so many messages are sent without a reply; ``drained`` fires when there are few."""
    publisher = port.publisher()
    result_of(publisher.drained())
    publishing = [publisher.publish("a", "x") for _ in range(MOST + 10)]
    assert port.wires[0].near.value().count(b"XADD") == WINDOW
    drained = publisher.drained()
    assert not drained.called
    port.wires[0].carry(back=200)
    result_of(drained)
    port.settle()
    assert all(result_of(each) for each in publishing)
    assert port.face.router.log.end == MOST + 10
    close(port, publisher)


def test_daemon_takes_no_more(port: Port) -> None:
    """While the connection takes nothing, nothing is written on it."""
    publisher = port.publisher()
    publisher.publish("a", "1")
    port.settle()
    link = port.wires[0].near.producer
    link.pauseProducing()
    publishing = publisher.publish("a", "2")
    assert port.wires[0].near.value() == b""
    link.resumeProducing()
    port.settle()
    assert result_of(publishing).endswith("-2")
    close(port, publisher)


def test_large_messages(port: Port) -> None:
    """Large messages count by their size."""
    publisher = port.publisher()
    for _ in range(5):
        publisher.publish("a", b"x" * 1_000_000)
    drained = publisher.drained()
    assert not drained.called
    port.settle()
    result_of(drained)
    close(port, publisher)


def test_patience(port: Port) -> None:
    """Without any acknowledgement for as long as patience lasts, all that wait fail; later ones start anew."""
    port.down = True
    publisher = port.publisher(patience=5)
    publishing = [publisher.publish("a", "1"), publisher.publish("a", "2")]
    port.pass_time(5.1)
    for each in publishing:
        with pytest.raises(Unreachable, match=r"2 messages .* not acknowledged; the last attempt: .*nobody is there"):
            result_of(each)
    port.down = False
    later = publisher.publish("a", "3")
    port.pass_time(10)
    assert result_of(later).endswith("-1")
    assert port.stored() == ["3"]
    close(port, publisher)


def test_silence(port: Port) -> None:
    """A connection on which no reply comes in time is given up, and another is tried."""
    publisher = port.publisher(timeout=3)
    publishing = publisher.publish("a", "1")
    port.wires[0].carry(back=0)
    port.clock.advance(3)
    port.pass_time(1)
    assert len(port.wires) == 2
    assert result_of(publishing).endswith("-1")
    assert port.stored() == ["1"]
    port.pass_time(100)
    assert len(port.wires) == 2
    close(port, publisher)


def test_connecting_takes_too_long(port: Port) -> None:
    """So is an attempt to connect."""
    port.stuck = True
    publisher = port.publisher(timeout=3)
    publishing = publisher.publish("a", "1")
    port.clock.advance(3)
    port.stuck = False
    port.pass_time(1)
    result_of(publishing)
    close(port, publisher)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$3\r\n1-1\r\n$3\r\n1-2\r\n$3\r\n1-3\r\n"])
def test_not_comet(port: Port, said: bytes) -> None:
    """A port that answers in another protocol, or too much, is not taken for Comet's."""
    publisher = port.publisher(patience=5)
    publishing = publisher.publish("a", "1")
    port.wires[0].link.dataReceived(said)
    port.wires[0].cut()
    if said[:1] == b"H":
        with pytest.raises(Refused, match="does not speak RESP"):
            result_of(publishing)
    else:
        assert result_of(publishing) == "1-1"
    close(port, publisher)


def test_closing_in_between(port: Port) -> None:
    """Who is told that a publish has failed may close the publisher at that."""
    publisher = port.publisher(patience=5)
    closing: list[Deferred[None]] = []
    for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        publisher = port.publisher(patience=5)
        publisher.publish("a", "1").addErrback(lambda _, publisher: closing.append(publisher.close()), publisher)
        if said:
            port.wires[-1].link.dataReceived(said)
            port.wires[-1].cut()
        else:
            port.wires[-1].cut()
            port.down = True
            port.pass_time(6)
    for each in closing:
        result_of(each)
    assert len(closing) == 2


def test_cancel(port: Port) -> None:
    """Cancelling a publish ends the waiting; the others, and their replies, are as they were."""
    publisher = port.publisher()
    first, second = publisher.publish("a", "1"), publisher.publish("a", "2")
    first.cancel()
    with pytest.raises(CancelledError):
        result_of(first)
    port.settle()
    assert result_of(second).endswith("-2")
    close(port, publisher)


def test_close(port: Port) -> None:
    """Closing waits for every acknowledgement; nothing is taken after it."""
    publisher = port.publisher()
    publishing = publisher.publish("a", "1")
    closing = publisher.close()
    with pytest.raises(Closed):
        result_of(publisher.publish("a", "2"))
    assert not closing.called
    port.settle()
    port.settle()
    result_of(publishing)
    result_of(closing)
    result_of(publisher.close())


def test_close_is_cancelled(port: Port) -> None:
    """Who does not want to wait for a daemon that does not come back gives up what is not acknowledged."""
    port.down = True
    publisher = port.publisher(patience=None)
    publishing, closing = publisher.publish("a", "1"), publisher.close()
    port.pass_time(20)
    closing.cancel()
    with pytest.raises(Unreachable):
        result_of(publishing)
    with pytest.raises(CancelledError):
        result_of(closing)
    result_of(publisher.close())


def test_context(port: Port) -> None:
    """``async with`` closes it."""

    async def publish() -> str:
        async with port.publisher() as publisher:
            return await publisher.publish("a", "1")

    published = Deferred.fromCoroutine(publish())
    port.settle()
    port.settle()
    assert result_of(published).endswith("-1")


def test_keys(port: Port) -> None:
    """Each message has a key of its own, or the one that is given; without keys a repeat is published again."""
    publisher = port.publisher()
    same = [publisher.publish("a", "x", key="k") for _ in range(2)]
    port.settle()
    assert len({result_of(each) for each in same}) == 1
    close(port, publisher)
    publisher = port.publisher(keys=False)
    publishing = publisher.publish("a", "y")
    assert b"key" not in port.wires[-1].near.value()
    port.wires[-1].carry(back=0)
    port.wires[-1].cut()
    port.pass_time(1)
    result_of(publishing)
    assert port.stored() == ["x", "y", "y"]
    close(port, publisher)


def test_endpoints() -> None:
    """Where to connect to may be said in several ways."""
    assert isinstance(_endpoint(reactor, "localhost:7081", None), HostnameEndpoint)
    assert isinstance(_endpoint(reactor, "localhost", 7081), HostnameEndpoint)
    assert isinstance(_endpoint(reactor, "/run/comet.sock", None), UNIXClientEndpoint)
    assert isinstance(_endpoint(reactor, "tcp:localhost:7081", None), TCP4ClientEndpoint | HostnameEndpoint)
    assert _endpoint(reactor, (port := Port()), None) is port
    with pytest.raises(ValueError):
        _endpoint(reactor, "x", None)
