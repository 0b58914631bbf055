"""How a publisher's connection ends: by the publisher, by a mistake, by the daemon; and who is told what before."""

from __future__ import annotations

import pytest

from comet.errors import Draining
from comet.message import Draft
from comet.resp import protocol as module
from tests.resp_publishers import Connection


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_a_half_closed_publisher_gets_its_replies(connection: Connection) -> None:
    """``printf 'PUBLISH …' | nc -N`` shows the reply, then ends."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.protocol.readConnectionLost()
    assert not connection.wire.disconnecting
    connection.store.answer()
    assert connection.wire.taken() == b":1\r\n"
    assert connection.wire.disconnecting
    assert connection.wire.producer is None


def test_a_half_closed_publisher_gets_all_of_a_long_pipeline(connection: Connection) -> None:
    """Commands that waited for their turn are executed though the publisher has ended."""
    connection.wire.full = True
    connection.send(b"COMMAND\n" * 1000)
    connection.protocol.readConnectionLost()
    while not connection.wire.disconnecting:
        connection.protocol.resumeProducing()
    assert connection.metrics.commands == 1000


def test_an_idle_publisher_that_half_closes_is_gone(connection: Connection) -> None:
    """Without anything to reply to, the connection ends at once."""
    connection.protocol.readConnectionLost()
    assert connection.wire.disconnecting


def test_a_publisher_that_cannot_be_answered_is_dropped(connection: Connection) -> None:
    """If replies cannot be sent any more, there is no use in reading on."""
    connection.protocol.writeConnectionLost()
    assert connection.wire.aborted


def test_quit_closes_after_the_replies(connection: Connection) -> None:
    """QUIT waits for the store; what follows it is not executed."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\nQUIT\nPUBLISH a y\n")
    connection.send(b"PUBLISH a z\n")
    assert not connection.wire.disconnecting
    connection.store.answer()
    assert connection.wire.taken() == b":1\r\n+OK\r\n"
    assert connection.wire.disconnecting
    assert connection.store.batches == [[Draft("a", b"x")]]


def test_a_violation_is_answered_and_ends_it(connection: Connection) -> None:
    """Bytes that are not RESP are answered with an error, after the replies to what came before; then it is over."""
    replies = connection.send(b"PUBLISH a x\n*x\r\nPUBLISH a y\n")
    assert replies.startswith(b":1\r\n-ERR protocol ")
    assert connection.wire.disconnecting
    assert connection.send(b"PUBLISH a z\n") == b""
    assert connection.store.batches == [[Draft("a", b"x")]]
    assert connection.metrics.protocol_errors == 1


@pytest.mark.parametrize("start", [b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"Host: localhost:7081\r\n"])
def test_a_browser_is_not_even_answered(connection: Connection, start: bytes) -> None:
    """A form that is sent to this port closes the connection, and the lines in it are not executed."""
    assert connection.send(start + b"\r\nPUBLISH a x\r\n") == b""
    assert connection.wire.aborted
    assert connection.send(b"PUBLISH a x\r\n") == b""
    assert connection.store.batches == []
    assert connection.metrics.protocol_errors == 1


def test_a_connection_that_is_lost_leaves_nothing(connection: Connection) -> None:
    """What waits for the store is stored, but nobody is told."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    assert connection.metrics.tcp_connections == 1
    connection.lose()
    connection.store.answer()
    assert connection.wire.taken() == b""
    assert connection.metrics.tcp_connections == 0
    assert connection.factory.connections == set()


def test_a_daemon_that_stops_answers_first(connection: Connection) -> None:
    """On its way out the daemon reads no more, answers what it has read, and closes."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.factory.finish()
    assert not connection.wire.reading
    assert not connection.wire.disconnecting
    connection.store.answer()
    assert connection.wire.taken() == b":1\r\n"
    assert connection.wire.half_closed
    assert connection.wire.reading
    assert not connection.wire.disconnecting


def test_a_daemon_that_stops_waits_for_publishers_to_leave(connection: Connection) -> None:
    """Who goes on sending is not listened to, but neither reset, which could take replies back that are under way; the
    connection is closed once the publisher leaves, or has been quiet for some looks."""
    connection.factory.finish()
    for _ in range(module.QUIET_LOOKS + 1):
        assert connection.factory.look()
        assert connection.send(b"PUBLISH a x\n") == b""
    assert not connection.wire.disconnecting
    assert connection.store.batches == []
    for _ in range(module.QUIET_LOOKS):
        connection.factory.look()
    assert connection.wire.disconnecting


def test_a_daemon_that_stops_lets_publishers_leave(connection: Connection) -> None:
    """A publisher that leaves once it has heard of the end is not waited for."""
    connection.factory.finish()
    connection.protocol.readConnectionLost()
    assert connection.wire.disconnecting


def test_a_publish_that_a_successor_is_to_take_has_no_reply(connection: Connection) -> None:
    """What was not stored because another daemon takes over is not refused: the connection ends behind the replies to
    what was stored, so that the publisher tries again."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.send(b"PUBLISH b x\n")
    connection.send(b"PUBLISH c x\n")
    connection.store.answer()
    assert connection.wire.taken() == b":1\r\n"
    for answer in connection.store.answers:
        answer.errback(Draining("the daemon is shutting down"))
    assert connection.wire.taken() == b""
    assert connection.wire.half_closed


def test_closing_twice_is_closing_once(connection: Connection) -> None:
    """A daemon that stops while a publisher leaves does nothing twice."""
    connection.send(b"QUIT\n")
    connection.factory.finish()
    connection.protocol.readConnectionLost()
    connection.protocol.resumeProducing()
    assert connection.wire.disconnecting
