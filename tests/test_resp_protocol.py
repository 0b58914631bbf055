"""A publisher's connection: order, batches, slow publishers and slow stores, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from comet.errors import Draining, StoreFailed
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp import protocol as module
from comet.resp import runs
from comet.resp.factory import RespFactory
from comet.resp.protocol import RespProtocol
from comet.router import Router


class Store:
    """A publisher that stores at once, or when told; each topic has as many subscriptions as letters."""

    epoch = "5f0c1a2b"

    def __init__(self) -> None:
        self.batches: list[list[Draft]] = []
        self.answers: list[Deferred[Sequence[int]]] = []
        self.slow = False
        self.stored = 0

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        self.batches.append(list(drafts))
        first, self.stored = self.stored, self.stored + len(drafts)
        if not self.slow:
            return succeed(range(first, self.stored))
        answer: Deferred[Sequence[int]] = Deferred()
        self.answers.append(answer)
        return answer

    def answer(self, index: int = 0) -> None:
        """Store one batch of those that wait, each message under its number in the batch."""
        length = len(self.batches[len(self.batches) - len(self.answers) + index])
        self.answers.pop(index).callback(range(length))

    def receivers(self, topic: str) -> int:
        return len(topic)


class Wire(StringTransport):
    """A transport whose other side reads when told."""

    full = False
    aborted = False
    half_closed = False

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        if self.full:
            assert self.producer is not None
            self.producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        data: bytes = self.value()  # type: ignore[no-untyped-call]
        self.clear()  # type: ignore[no-untyped-call]
        return data

    @property
    def reading(self) -> bool:
        return bool(self.producerState == "producing")


class Connection:
    """A publisher's connection, with all that belongs to it."""

    def __init__(self) -> None:
        self.store = Store()
        self.metrics = Metrics()
        self.factory = RespFactory(cast(Router, self.store), SimpleNamespace(max_payload=1000), self.metrics)
        self.protocol: RespProtocol = self.factory.buildProtocol(None)
        self.wire = Wire()  # type: ignore[no-untyped-call]
        self.protocol.makeConnection(self.wire)  # type: ignore[no-untyped-call]

    def send(self, data: bytes) -> bytes:
        """Send what one read of the socket brings, and return what is replied by then."""
        self.protocol.dataReceived(data)
        return self.wire.taken()

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_it_is_what_twisted_looks_for(connection: Connection) -> None:
    """Twisted tells the protocol of half-closed connections, and of replies that are not read."""
    assert verifyObject(IHalfCloseableProtocol, connection.protocol)
    assert verifyObject(IPushProducer, connection.protocol)
    assert connection.wire.producer is connection.protocol
    assert connection.wire.streaming


def test_a_pipeline_is_one_batch(connection: Connection) -> None:
    """All that one read brings is stored as one batch, and each command is answered."""
    assert (
        connection.send(b"PUBLISH a x\r\nPUBLISH ab y\r\nXADD a * data z\r\n") == b":1\r\n:2\r\n$10\r\n5f0c1a2b-2\r\n"
    )
    assert connection.store.batches == [[Draft("a", b"x"), Draft("ab", b"y"), Draft("a", b"z")]]


def test_replies_are_in_order(connection: Connection) -> None:
    """A command that needs no store is answered in its place, though its answer was known at once."""
    connection.store.slow = True
    assert connection.send(b"PING\nPUBLISH a x\nPING 2\nPUBLISH b x\nECHO 3\n") == b""
    connection.store.answer()
    assert connection.wire.taken() == b"+PONG\r\n:1\r\n$1\r\n2\r\n:1\r\n$1\r\n3\r\n"


def test_batches_are_answered_in_order(connection: Connection) -> None:
    """A store that answers the second batch first does not confuse the replies."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.send(b"PUBLISH ab x\n")
    assert connection.send(b"PING\n") == b""
    connection.store.answer(1)
    assert connection.wire.taken() == b""
    connection.store.answer()
    assert connection.wire.taken() == b":1\r\n:2\r\n+PONG\r\n"


def test_a_refused_command_does_not_hurt_its_neighbours(connection: Connection) -> None:
    """In a pipeline, a bad topic, an unknown command and a large payload each have their own error."""
    large = b"*2\r\n$4\r\nECHO\r\n$1001\r\n" + b"x" * 1001 + b"\r\n"
    lines = connection.send(b"PUBLISH a x\nPUBLISH a* x\nNONSENSE\n" + large + b"PUBLISH b x\n").split(b"\r\n")
    starts = [b":1", b"-ERR bad_topic ", b"-ERR unknown_command ", b"-ERR payload_too_large ", b":1", b""]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert [len(batch) for batch in connection.store.batches] == [2]
    assert connection.metrics.refused == {"bad_topic": 1, "unknown_command": 1, "payload_too_large": 1}
    assert not connection.wire.disconnecting


def test_a_store_that_fails_is_told(connection: Connection) -> None:
    """If the store refuses a batch, each of its publishes is answered with that, and other commands as ever."""
    connection.store.slow = True
    connection.send(b"PUBLISH a x\nPING\nXADD a * data x\n")
    connection.store.answers.pop().errback(StoreFailed("the disk\r\nis full"))
    refusal = b"-ERR store_failed the disk is full\r\n"
    assert connection.wire.taken() == refusal + b"+PONG\r\n" + refusal
    connection.store.slow = False
    assert connection.send(b"PUBLISH a x\n") == b":1\r\n"


def test_a_mistake_of_ours_is_logged(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw goes to the log, and the publisher learns that its message was not taken."""
    logged: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        logged.append(event)

    monkeypatch.setattr(module, "_log", Logger(observer=observe))
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.store.answers.pop().errback(ZeroDivisionError())
    assert connection.wire.taken().startswith(b"-ERR internal ")
    assert [event["log_failure"].type for event in logged] == [ZeroDivisionError]


def test_a_slow_store_slows_the_publisher(connection: Connection) -> None:
    """With some batches waiting for the store the socket is not read, until one is stored."""
    connection.store.slow = True
    for number in range(module.MOST_RUNS):
        assert connection.wire.reading
        connection.send(b"PUBLISH a %d\n" % number)
    assert not connection.wire.reading
    connection.store.answer()
    assert connection.wire.reading


def test_many_waiting_bytes_slow_the_publisher(connection: Connection) -> None:
    """With a mebibyte waiting for the store the socket is not read."""
    connection.store.slow = True
    connection.send((b"PUBLISH a " + b"x" * 900 + b"\n") * 1200)
    assert not connection.wire.reading
    connection.store.answer()
    assert connection.wire.reading


def test_what_comes_though_paused_is_not_lost(connection: Connection) -> None:
    """What a transport had read before it was paused is executed later, in order, and no batch more waits."""
    connection.store.slow = True
    for number in range(module.MOST_RUNS + 3):
        connection.send(b"PUBLISH a %d\nECHO %d\n" % (number, number))
    assert len(connection.store.answers) == module.MOST_RUNS
    while connection.store.answers:
        connection.store.answer()
    drafts = [draft.payload for batch in connection.store.batches for draft in batch]
    assert drafts == [b"%d" % number for number in range(module.MOST_RUNS + 3)]
    assert connection.wire.taken() == b"".join(b":1\r\n$1\r\n%d\r\n" % n for n in range(module.MOST_RUNS + 3))
    assert connection.wire.reading


def test_a_publisher_that_does_not_read_is_not_read_from(connection: Connection) -> None:
    """While replies pile up in the transport, no command is executed."""
    connection.wire.full = True
    assert connection.send(b"PUBLISH a x\n") == b":1\r\n"
    assert not connection.wire.reading
    assert connection.send(b"PUBLISH a y\n") == b""
    assert len(connection.store.batches) == 1
    connection.wire.full = False
    connection.protocol.resumeProducing()
    assert connection.wire.taken() == b":1\r\n"
    assert connection.wire.reading


def test_long_replies_wait_until_they_are_read(connection: Connection) -> None:
    """Thousands of short commands with long replies take no more memory than the publisher reads."""
    connection.wire.full = True
    replies = connection.send(b"COMMAND\n" * 8000)
    assert len(replies) < 2 * runs.MOST_REPLIES
    total = 0
    while replies:
        total += len(replies)
        connection.protocol.resumeProducing()
        replies = connection.wire.taken()
    assert connection.metrics.commands == 8000
    assert total == 8000 * len(Connection().send(b"COMMAND\n"))


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


def test_a_transaction_is_one_array_and_one_batch(connection: Connection) -> None:
    """The pipelines of client libraries, wrapped in MULTI and EXEC, are executed together."""
    assert connection.send(b"MULTI\nPUBLISH a x\n") == b"+OK\r\n+QUEUED\r\n"
    replies = connection.send(b"PUBLISH a* x\nPING\nPUBLISH ab y\nEXEC\nPING\n")
    assert replies.startswith(b"+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n:1\r\n-ERR bad_topic ")
    assert replies.endswith(b"\r\n+PONG\r\n:2\r\n+PONG\r\n")
    assert connection.store.batches == [[Draft("a", b"x"), Draft("ab", b"y")]]


def test_a_spoilt_transaction_publishes_nothing(connection: Connection) -> None:
    """If a command of a transaction is none, EXEC executes none of them, and the connection goes on."""
    lines = connection.send(b"MULTI\nPUBLISH a x\nNONSENSE\nEXEC\nPING\n").split(b"\r\n")
    assert lines[2].startswith(b"-ERR unknown_command ")
    assert lines[3].startswith(b"-EXECABORT ")
    assert lines[4:] == [b"+PONG", b""]
    assert connection.store.batches == []


def test_closing_twice_is_closing_once(connection: Connection) -> None:
    """A daemon that stops while a publisher leaves does nothing twice."""
    connection.send(b"QUIT\n")
    connection.factory.finish()
    connection.protocol.readConnectionLost()
    connection.protocol.resumeProducing()
    assert connection.wire.disconnecting


def test_a_transaction_that_is_discarded_publishes_nothing(connection: Connection) -> None:
    """DISCARD forgets what was queued."""
    assert connection.send(b"MULTI\nPUBLISH a x\nDISCARD\n") == b"+OK\r\n+QUEUED\r\n+OK\r\n"
    assert connection.store.batches == []


def test_a_transaction_with_long_replies_is_whole(connection: Connection) -> None:
    """However long its replies, the array of a transaction has all of them."""
    connection.send(b"MULTI\n" + b"COMMAND\n" * 1000)
    replies = connection.send(b"EXEC\nPING\n")
    assert replies.count(b"$7\r\npublish\r\n") == 1000
    assert replies.endswith(b"+PONG\r\n")


def test_connections_have_numbers(connection: Connection) -> None:
    """Each connection has its own number, and knows where its publisher is."""
    other = connection.factory.buildProtocol(None)
    wire = Wire()  # type: ignore[no-untyped-call]
    other.makeConnection(wire)  # type: ignore[no-untyped-call]
    other.dataReceived(b"CLIENT ID\nCLIENT LIST\n")
    assert wire.taken() == b":2\r\n$41\r\nid=2 addr=192.168.1.1:54321 name= resp=2\n\r\n"
