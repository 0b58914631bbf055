"""Back ends that subscribe and read slowly, or not at all: nothing is kept for them, and what comes is whole."""

from __future__ import annotations

from typing import Any

from tests.resp_ports import Port
from tests.resp_reading import Push


def test_who_does_not_read_is_not_buffered_for() -> None:
    """However much is published, a reader that reads nothing is written no more than fits; when it reads again, it has
    everything that is retained, in order."""
    port = Port(retain_messages=10_000)
    client = port.connect()
    client.send("SUBSCRIBE a")
    client.stop_reading()
    for number in range(2_000):
        port.publish(("a", b"%d " % number + b"x" * 1000))
    waiting = port.router.reading()
    assert len(waiting) == port.router.stuck_count == 1
    got = [int(message[2].split()[0]) for message in client.read()]
    assert 1 <= len(got) < 50
    while got[-1] < 1_999:
        port.turn()
        more = client.read()
        assert sum(len(message[2]) for message in more) < 2_000_000
        got += [int(message[2].split()[0]) for message in more]
    assert got == list(range(2_000))
    client.wire.full = False
    port.publish(("a", b"live"))
    assert client.arrived() == [[b"message", b"a", b"live"]]
    assert port.router.reading() == []
    assert port.metrics.slow == 1


def test_replies_and_messages_keep_their_order() -> None:
    """A connection that reads slowly, publishes and listens gets whole replies and whole messages, each in order."""
    port = Port(retain_messages=10_000)
    client = port.connect(3)
    client.send("SUBSCRIBE a")
    client.stop_reading()
    got: list[Any] = []
    for number in range(300):
        client._protocol.dataReceived(b"PUBLISH a %d\r\nECHO %d\r\n" % (number, number))
        port.turn()
        if number % 3 == 0:
            got += client.read()
    while (more := client.read()) or port.router.stuck_count:
        got += more
        port.turn()
    replies = [value for value in got if not isinstance(value, Push)]
    messages = [int(value[2]) for value in got if isinstance(value, Push)]
    assert replies == [value for number in range(300) for value in (1, b"%d" % number)]
    assert messages == list(range(300))


def test_what_was_missed_is_told() -> None:
    """A reader that comes back when messages are gone is told so on ``$gap``, and goes on with what there is."""
    port = Port(retain_messages=3)
    client = port.connect()
    client.send("SUBSCRIBE a")
    client.stop_reading()
    for number in range(10):
        port.publish(("a", b"%d" % number))
    assert client.read() == [[b"message", b"a", b"0"]]
    port.turn()
    epoch = port.router.epoch.encode()
    assert client.read() == [
        [b"message", b"$gap", b'{"since":"%b-1","until":"%b-7"}' % (epoch, epoch)],
        *([b"message", b"a", b"%d" % number] for number in (7, 8, 9)),
    ]


def test_who_never_reads_is_dropped_in_the_end() -> None:
    """A write that stays stuck ends the connection, as on every transport."""
    port = Port()
    client = port.connect()
    client.send("SUBSCRIBE a")
    client.stop_reading()
    port.publish(("a", b"x"))
    port.clock.pump([1.0] * round(port.config.stall + 2))
    assert client.wire.aborted
    assert port.router.streams == {}
    assert port.metrics.stalled == 1
    client.lose()


def test_commands_wait_for_the_reader() -> None:
    """Who does not read its messages has no further command executed, and loses none."""
    port = Port()
    client = port.connect()
    client.send("SUBSCRIBE a")
    client.stop_reading()
    port.publish(("a", b"x"))
    client._protocol.dataReceived(b"UNSUBSCRIBE a\r\n")
    assert client.wire.producerState == "paused"
    assert client.read() == [[b"message", b"a", b"x"]]
    assert client.arrived() == [[b"unsubscribe", b"a", 0]]


def test_there_is_no_heartbeat() -> None:
    """Nothing is written while nothing happens, and no message is repeated."""
    port = Port()
    client = port.connect()
    client.send("SUBSCRIBE a")
    port.publish(("a", b"x"))
    assert len(client.arrived()) == 1
    port.clock.pump([1.0] * 100)
    assert client.arrived() == []
    assert port.metrics.heartbeats == 0
