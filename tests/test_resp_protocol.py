"""A publisher's connection: order, batches, slow publishers and slow stores, and transactions."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer
from zope.interface.verify import verifyObject

from comet.errors import StoreFailed
from comet.message import Draft
from comet.resp import outbox, runs
from tests.resp_ports import Wire
from tests.resp_publishers import Connection


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

    monkeypatch.setattr(outbox, "_log", Logger(observer=observe))
    connection.store.slow = True
    connection.send(b"PUBLISH a x\n")
    connection.store.answers.pop().errback(ZeroDivisionError())
    assert connection.wire.taken().startswith(b"-ERR internal ")
    assert [event["log_failure"].type for event in logged] == [ZeroDivisionError]


def test_a_slow_store_slows_the_publisher(connection: Connection) -> None:
    """With some batches waiting for the store the socket is not read, until one is stored."""
    connection.store.slow = True
    for number in range(outbox.MOST_RUNS):
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
    for number in range(outbox.MOST_RUNS + 3):
        connection.send(b"PUBLISH a %d\nECHO %d\n" % (number, number))
    assert len(connection.store.answers) == outbox.MOST_RUNS
    while connection.store.answers:
        connection.store.answer()
    drafts = [draft.payload for batch in connection.store.batches for draft in batch]
    assert drafts == [b"%d" % number for number in range(outbox.MOST_RUNS + 3)]
    assert connection.wire.taken() == b"".join(b":1\r\n$1\r\n%d\r\n" % n for n in range(outbox.MOST_RUNS + 3))
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
