"""How a command that waits on the TCP port ends, and what is read within a transaction."""

from __future__ import annotations

import pytest

from tests.fakes import FakeArchive
from tests.resp_reading import Refusal
from tests.resp_streams import Streams, at, entry


@pytest.fixture(params=["memory", "disk"])
def streams(request: pytest.FixtureRequest) -> Streams:
    """Five messages, wherever they are kept."""
    streams = Streams() if request.param == "memory" else Streams(FakeArchive(), retain_messages=1)
    streams.publish(("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("b", "5"))
    return streams


# -- how waiting ends -------------------------------------------------------------------------------------------------


def test_a_client_that_goes_waits_for_nothing(streams: Streams) -> None:
    """A connection that is lost leaves nothing behind."""
    client = streams.connect()
    client.send("XREAD BLOCK 0 STREAMS a $", "PING")
    assert len(streams.house.router.streams) == 1
    client.lose()
    assert streams.house.router.streams == {}
    streams.publish(("a", "6"))
    assert client.arrived() == []


@pytest.mark.parametrize("word", ["RESET", "QUIT"])
def test_what_ends_waiting(streams: Streams, word: str) -> None:
    """RESET and QUIT need not wait until a message comes."""
    client = streams.connect()
    client.send("XREAD BLOCK 0 STREAMS a $")
    assert client.send("PING", word) == [None, "PONG", "RESET" if word == "RESET" else "OK"]
    assert streams.house.router.streams == {}


def test_a_client_that_has_sent_its_last_command(streams: Streams) -> None:
    """Who half-closes is answered with what there is, and nothing is waited for any more."""
    client = streams.connect()
    client.send("XREAD BLOCK 0 STREAMS a $", "XREAD BLOCK 0 STREAMS a $", "XLEN a")
    client.half_close()
    streams.house.turn()
    assert client.arrived() == [None, None, 3]
    assert client.wire.disconnecting


def test_a_daemon_that_stops(streams: Streams) -> None:
    """Ends who waits without a reply, so that the client asks the next daemon."""
    client = streams.connect()
    client.send("XREAD BLOCK 0 STREAMS a $", "PING")
    streams.factory.finish()
    assert client.arrived() == []
    assert client.wire.half_closed
    assert streams.house.router.streams == {}


def test_commands_that_pile_up_end_waiting(streams: Streams) -> None:
    """The socket is read on while a command waits, or nobody would see the client go; not without bound."""
    client = streams.connect()
    client.send("XREAD BLOCK 0 STREAMS a $")
    for _ in range(40):
        client.send(*[f"ECHO {'x' * 1000}"] * 30)
        if streams.house.router.streams == {}:
            break
    else:
        pytest.fail("it still waits")
    assert client.ask("PING") == "PONG"


# -- transactions -----------------------------------------------------------------------------------------------------


def test_reading_within_a_transaction(streams: Streams) -> None:
    """Between MULTI and EXEC there is no waiting, and what is read is as it is when all is published."""
    client = streams.connect()
    client.send("MULTI", "XLEN a", "PUBLISH a 6", "XREAD BLOCK 0 STREAMS a $", "XRANGE b - x")
    client.send(f"XREAD STREAMS a {at(5)}", "XADD a * data 7")
    length, went_to, nothing, refusal, entries, position = client.ask("EXEC")
    assert (length, went_to, nothing) == (5, 0, None)
    assert isinstance(refusal, Refusal)
    assert entries == [[b"a", [entry(6, "6"), entry(7, "7")]]]
    assert position == at(7).encode()
    assert client.send("XREAD BLOCK 0 STREAMS a $") == []


def test_a_transaction_that_is_not_stored(streams: Streams) -> None:
    """If the store refuses its messages, each of them has an error; what was asked is answered."""
    client = streams.connect()
    streams.house.store.fails = True
    client.send("MULTI", "PUBLISH a 6", "XLEN a", "PUBLISH a 7")
    first, length, second = client.ask("EXEC")
    assert first.startswith("ERR store_failed ")
    assert second.startswith("ERR store_failed ")
    assert length == 3
