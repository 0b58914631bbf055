"""What a connection to the TCP port may take: time to say who it is, room before that, rates, and its place."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from comet.resp.patience import Patience
from comet.resp.wire import MOST_UNKNOWN
from tests.resp_guarded import HERE, Guarded, Guest, token
from tests.resp_reading import Refusal


@pytest.fixture
def port(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


# -- before AUTH -----------------------------------------------------------------------------------------------------


def test_commands_before_auth_are_counted(port: Guarded) -> None:
    """Who has to AUTH may send a few commands, and then is told why the connection ends."""
    stranger = port.connect()
    replies = stranger.send(*["PING"] * 20)
    assert len(replies) == port.config.max_commands_unknown + 1
    assert replies[-1].startswith("NOAUTH unauthorized 10 commands without AUTH (max-commands-unknown)")
    assert stranger.is_closed
    assert stranger.send(f"AUTH {token()}") == []


@pytest.mark.parametrize("line", ["RESET", "AUTH wrong", "HELLO", "HELLO 3 AUTH default wrong", "NONSENSE", "MULTI"])
def test_every_command_before_auth_counts(port: Guarded, line: str) -> None:
    """Also those that are for anybody: nobody tries tokens, or RESETs, without end."""
    stranger = port.connect()
    for _ in range(30):
        stranger.ask(line)
    assert stranger.is_closed


def test_a_stranger_has_so_much_time(port: Guarded) -> None:
    """Who has to AUTH and does not is told, and the connection ends; RESET does not give more time."""
    stranger, named = port.connect(), port.named()
    port.house.wait(5)
    stranger.ask("RESET")
    port.house.wait(5)
    assert not stranger.is_closed
    port.house.wait(2)
    (refusal,) = stranger.arrived()[-1:]
    assert refusal.startswith("NOAUTH unauthorized Authentication required")
    assert "(auth-timeout)" in refusal
    assert stranger.is_closed
    assert not named.is_closed
    assert named.ask("PING") == "PONG"


def test_room_before_auth(port: Guarded) -> None:
    """A command before AUTH is small, in bytes and in words, however it is spelt; afterwards it need not be."""
    large = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$100000\r\n" + b"x" * 100_000 + b"\r\n"
    long = b"PING" + b" a" * 16 + b"\r\n"
    bombs = (large, long, b"*17\r\n", b"*1\r\n$65537\r\n", b"*1\r\n$999999999\r\n", b"*1000000\r\n", b"*1\r\n" * 99)
    for bomb in bombs:
        stranger = port.connect()
        stranger._protocol.dataReceived(bomb)
        assert stranger.arrived()[-1].startswith("ERR protocol ")
        assert stranger.is_closed
    named = port.named(publish=("a",))
    named._protocol.dataReceived(large)
    assert named.arrived() == [0]
    assert named.ask("RESET") == "RESET"
    named._protocol.dataReceived(large)
    assert named.arrived()[-1].startswith("ERR protocol a command of")


def test_a_payload_that_comes_in_pieces_before_auth(port: Guarded) -> None:
    """What is kept of a command before AUTH is bounded."""
    stranger = port.connect()
    stranger._protocol.dataReceived(b"*2\r\n$4\r\nAUTH\r\n$60000\r\n")
    for _ in range(20):
        stranger._protocol.dataReceived(b"x" * 1000)
        assert stranger._protocol._arriving._parser.held() <= MOST_UNKNOWN


# -- a command that is not whole yet ---------------------------------------------------------------------------------


def begun(size: int, there: int) -> bytes:
    """A publish with a payload of ``size`` bytes, of which so many are there."""
    return b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$%d\r\n" % size + b"x" * there


def test_commands_that_are_never_finished(tmp_path: Path) -> None:
    """What all clients have begun has a bound together; who is one too many is told, and forgotten."""
    port = Guarded(tmp_path, max_bodies=1_000_000)
    guests = [port.named(publish=("news",)) for _ in range(6)]
    for guest in guests:
        guest._protocol.dataReceived(begun(200_000, 120_000))
    answers = [guest.arrived() for guest in guests]
    assert answers[:4] == [[]] * 4
    for answer, guest in zip(answers[4:], guests[4:], strict=True):
        assert answer[0].startswith("ERR too_many_bodies what clients are sending takes all the memory it may")
        assert guest.is_closed
        assert guest._protocol._arriving._parser.held() == 0
    assert port.metrics.refused["too_many_bodies"] == 2
    guests[0]._protocol.dataReceived(b"x" * 80_000 + b"\r\n")
    assert guests[0].arrived() == [0]
    for guest in guests:
        guest.lose()
    assert port.router.limits.bodies.taken == 0


def test_what_comes_before_a_command_without_room(tmp_path: Path) -> None:
    """Is done and answered: only what has no room is refused."""
    port = Guarded(tmp_path, max_bodies=100_000)
    guest = port.named(publish=("news",))
    guest._protocol.dataReceived(begun(3, 3) + b"\r\n" + begun(200_000, 120_000))
    done, refusal = guest.arrived()
    assert done == 0
    assert refusal.startswith("ERR too_many_bodies ")
    assert port.router.log.end == 1
    guest._protocol.dataReceived(b"x" * 80_000 + b"\r\n" + begun(3, 3) + b"\r\n")
    assert port.router.log.end == 1


def test_a_command_has_so_much_time(port: Guarded) -> None:
    """Drops do not win time; and it is over with the command, not with the connection."""
    slow, steady = port.named(publish=("news",)), port.named(publish=("news",))
    for guest in (slow, steady):
        guest._protocol.dataReceived(begun(200_000, 1))
    for _ in range(33):
        port.house.wait(1)
        if not slow.is_closed:
            slow._protocol.dataReceived(b"x")
        steady._protocol.dataReceived(b"x" * 2048)
    (refusal,) = slow.arrived()
    assert refusal.startswith("ERR too_slow a command did not arrive in time (body-timeout)")
    assert slow.is_closed
    assert not steady.is_closed
    steady._protocol.dataReceived(b"x" * (200_000 - 1 - 33 * 2048) + b"\r\n")
    assert steady.arrived() == [0]
    port.house.wait(100)
    assert not steady.is_closed
    assert port.router.limits.bodies.taken == 0


def test_commands_one_behind_the_other_have_time_each(port: Guarded) -> None:
    """A publisher whose reads never end with a command is not taken for a slow one."""
    guest = port.named(publish=("news",))
    guest._protocol.dataReceived(begun(10, 5))
    for _ in range(50):
        port.house.wait(1)
        guest._protocol.dataReceived(b"x" * 5 + b"\r\n" + begun(10, 5))
    assert guest.arrived() == [0] * 50
    assert not guest.is_closed


def test_programs_of_this_machine_take_their_time(port: Guarded) -> None:
    """Who types a command into nc is not hurried, and takes nobody's room."""
    local = port.connect(HERE)
    local._protocol.dataReceived(begun(200_000, 100_000))
    assert port.router.limits.bodies.taken == 0
    port.house.wait(100)
    local._protocol.dataReceived(b"x" * 100_000 + b"\r\n")
    assert local.arrived() == [0]


# -- a token that ends -----------------------------------------------------------------------------------------------

NEWS = {"publish": ("news",), "subscribe": ("news",), "consumers": ("mine",)}


def test_a_token_that_expires(port: Guarded) -> None:
    """Commands are refused once it is over; another one lets the connection go on."""
    guest = port.named(lasts=60, **NEWS)
    port.house.wait(60)
    assert guest.ask("PUBLISH news x") == 0
    port.house.wait(6)  # the leeway for clocks
    assert guest.ask("PUBLISH news x").startswith("NOAUTH unauthorized Authentication required: the token has expired")
    assert guest.ask(f"AUTH {token(lasts=1000, **NEWS)}") == "OK"
    assert guest.ask("PUBLISH news x") == 0
    port.house.wait(30)
    assert not guest.is_closed


def test_an_expired_connection_ends(port: Guarded) -> None:
    """One that does not come with another token is closed, so that its client's pool makes a new one."""
    guest = port.named(lasts=60, **NEWS)
    port.house.wait(80)
    assert guest.is_closed
    assert guest.arrived()[-1].startswith("NOAUTH ")


def subscriber(port: Guarded, version: int, lasts: float) -> Guest:
    """A connection that has subscribed with a token that lasts so long."""
    guest = port.connect()
    guest.ask(f"HELLO {version} AUTH default {token(lasts=lasts, **NEWS)}")
    guest.ask("SUBSCRIBE $gap news")
    return guest


@pytest.mark.parametrize("version", [2, 3])
def test_a_subscription_ends_with_its_token(port: Guarded, version: int) -> None:
    """Subscribers are told why, and the connection ends: a Redis client connects again, and AUTHs."""
    guest = subscriber(port, version, 60)
    port.house.publish(("news", "one"))
    port.house.wait(67)
    _, refusal = guest.arrived()
    assert refusal.startswith("NOAUTH unauthorized Authentication required: the token has expired")
    assert guest.is_closed
    guest.lose()
    assert port.house.left_behind() == {}


@pytest.mark.parametrize("version", [2, 3])
def test_a_token_is_renewed_without_interruption(port: Guarded, version: int) -> None:
    """AUTH with another token of the same subject lets a subscription go on."""
    guest = subscriber(port, version, 60)
    assert guest.ask(f"AUTH {token(lasts=1000, **NEWS)}") == "OK"
    port.house.wait(80)
    assert not guest.is_closed
    port.house.publish(("news", "one"))
    assert guest.arrived() == [[b"message", b"news", b"one"]]


@pytest.mark.parametrize("claims", [{"sub": "bob", **NEWS}, {"subscribe": ("other",)}])
def test_a_subscription_is_not_handed_on(port: Guarded, claims: dict[str, Any]) -> None:
    """The token of another, or one that does not cover what is subscribed to, does not renew."""
    guest = subscriber(port, 3, 60)
    assert guest.word(f"AUTH {token(**claims)}") == "NOPERM"
    assert guest.send("PUBLISH news one") == [1]
    port.house.turn()
    assert guest.arrived() == [[b"message", b"news", b"one"]]
    port.house.wait(67)
    assert guest.is_closed


@pytest.mark.parametrize("line", ["XREAD BLOCK 0 STREAMS news $", "XREADGROUP GROUP mine me BLOCK 0 STREAMS news >"])
def test_waiting_ends_with_the_token(port: Guarded, line: str) -> None:
    """A command that waits for messages is answered when the token is over, and what is behind it is refused."""
    guest = port.named("XGROUP CREATE news mine $", lasts=60, **NEWS)
    assert guest.send(line, "PUBLISH news x") == []
    port.house.wait(67)
    assert [each.partition(" ")[0] for each in guest.arrived()] == ["NOAUTH", "NOAUTH"]
    assert not guest.is_closed


def test_a_token_that_is_revoked(port: Guarded) -> None:
    """A connection whose token is revoked may do nothing more."""
    guest = port.named(jti="one", **NEWS)
    port.access.revocations.revoke("token", "one")
    assert guest.ask("PUBLISH news x").startswith("NOAUTH unauthorized Authentication required: this token was revoked")
    assert guest.word(f"AUTH {token(jti='one')}") == "WRONGPASS"
    assert guest.ask(f"AUTH {token(jti='two', **NEWS)}", "PUBLISH news x") == 0


def test_a_subscription_ends_when_its_token_is_revoked(port: Guarded) -> None:
    """Who has subscribed is told at once, and the connection ends."""
    guest = port.named("SUBSCRIBE news", jti="one", **NEWS)
    port.access.revocations.revoke("token", "one")
    assert port.router.tenures.revoke(port.router.streams.values(), port.access.revocations.covers) == 1
    assert guest.arrived()[-1].startswith("NOAUTH unauthorized Authentication required: this token was revoked")
    assert guest.is_closed


# -- rates -----------------------------------------------------------------------------------------------------------


def test_publishes_over_the_rate_are_refused(tmp_path: Path) -> None:
    """What is over the rate has an error each, that says when to try again; later it is taken."""
    port = Guarded(tmp_path, publishes_per_address=10, burst=2)
    guest = port.named(**NEWS)
    assert guest.send(*["PUBLISH news x"] * 15) == [0] * 15
    replies = guest.send("PING", *["PUBLISH news x"] * 8, "PING")
    assert (replies[0], replies[-1]) == ("PONG", "PONG")
    assert {each[:21] for each in replies[1:-1]} == {"ERR too_many_requests"}
    assert "try again in a second" in replies[1]
    assert port.router.log.end == 15
    port.house.wait(1)
    assert guest.send(*["PUBLISH news x"] * 8) == [0] * 8
    assert port.metrics.refused["too_many_requests"] == 8


def test_commands_over_the_rate_are_refused(tmp_path: Path) -> None:
    """Other commands are counted by themselves, for an address and for a subject."""
    port = Guarded(tmp_path, requests_per_subject=10, burst=1)
    first, second = port.named(**NEWS), port.named(**NEWS)
    assert first.send(*["PING"] * 8) == ["PONG"] * 8
    assert [each[:21] for each in second.send(*["PING"] * 8)] == ["ERR too_many_requests"] * 8
    assert second.ask("PUBLISH news x") == 0
    port.house.wait(1)
    assert second.ask("PING") == "PONG"


def test_a_transaction_over_the_rate_ends(tmp_path: Path) -> None:
    """EXEC is executed at any rate, and executes nothing: its client takes the transaction for over, and it is."""
    port = Guarded(tmp_path, publishes_per_address=3, requests_per_address=100, burst=1)
    guest = port.named(**NEWS)
    assert guest.send("MULTI", "PUBLISH news x", "PUBLISH news x", "EXEC")[-1] == [0, 0]
    refused = guest.send("MULTI", "PUBLISH news x", "PUBLISH news x", "EXEC")
    assert refused[0] == "OK"
    assert refused[-1].startswith("EXECABORT ")
    assert guest.ask("PING") == "PONG"
    assert port.router.log.end == 2


def test_programs_of_this_machine_have_no_rates(tmp_path: Path) -> None:
    """Local publishers send as much as they like."""
    port = Guarded(tmp_path, publishes_per_address=1, requests_per_address=1, burst=1)
    assert port.connect(HERE).send(*["PUBLISH a x", "PING"] * 50) == [0, "PONG"] * 50


def test_what_is_no_command_counts_as_one(tmp_path: Path) -> None:
    """Bytes that are refused by themselves are counted, too, and refused as what they are or as too many."""
    port = Guarded(tmp_path, requests_per_address=10, burst=1)
    guest = port.named(**NEWS)
    assert all(isinstance(each, Refusal) for each in guest.send(*["XADD"] * 2, *["NONSENSE"] * 30))
    assert not guest.is_closed


# -- connections -----------------------------------------------------------------------------------------------------


def test_one_connection_too_many(tmp_path: Path) -> None:
    """It is told in Redis' words, and closed; when another one ends there is room again."""
    port = Guarded(tmp_path, max_connections=1)
    first, second = port.connect(HERE), port.connect(HERE)
    (refusal,) = second.arrived()
    assert refusal.startswith("ERR max number of clients reached: too_many_connections ")
    assert second.is_closed
    assert port.metrics.tcp_connections == 1
    first.lose()
    assert port.metrics.tcp_connections == 0
    assert port.connect(HERE).ask("PING") == "PONG"


def test_connections_of_one_address(tmp_path: Path) -> None:
    """One address has so many, and another is not hurt by that."""
    port = Guarded(tmp_path, max_connections_per_address=1)
    port.connect("192.0.2.1")
    assert port.connect("192.0.2.1").is_closed
    assert not port.connect("192.0.2.2").is_closed


def test_subscriptions_of_one_subject(tmp_path: Path) -> None:
    """A subject has so many subscriptions, over all its connections."""
    port = Guarded(tmp_path, max_streams_per_subject=1)
    first = port.named("SUBSCRIBE news", **NEWS)
    second = port.named(**NEWS)
    assert second.ask("SUBSCRIBE news").startswith("ERR too_many_from_one")
    first.lose()
    assert second.word("SUBSCRIBE news") == "OK"


# -- who does not read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["PING", "QUIT"])
def test_who_does_not_read_is_dropped(port: Guarded, line: str) -> None:
    """Replies that nobody takes are kept for so long, be it that the client has said QUIT, and then it is dropped."""
    guest = port.connect(HERE)
    guest.stop_reading()
    guest.send(line)
    port.house.wait(port.config.stall)
    assert not guest.wire.aborted
    port.house.wait(2)
    assert guest.wire.aborted
    assert port.metrics.stalled == 1
    assert len(port.factory._intake.patience) == 0


def test_who_reads_late_is_not_dropped(port: Guarded) -> None:
    """Time is counted from when nothing could be sent, and anew each time."""
    guest = port.connect(HERE)
    guest.stop_reading()
    for _ in range(3):
        guest.send("PING")
        port.house.wait(port.config.stall - 1)
        guest.read()
    assert not guest.wire.aborted
    assert len(port.factory._intake.patience) == 0


def test_so_much_may_wait(port: Guarded) -> None:
    """``max-waiting`` bytes wait to be executed, and settings that are read again count for the next connections and
    for those that are open."""
    guest = port.connect(HERE)
    port.factory.configure(replace(port.config, max_waiting=100))
    guest.send("XREAD BLOCK 0 STREAMS a $", *["PING"] * 5)
    assert guest.wire.reading
    assert guest.arrived() == []
    replies = guest.send(*["PING"] * 20)
    assert len(replies) == 26
    assert replies[0] is None


def test_patience_forgets() -> None:
    """Nothing is kept of who is gone, and nobody is overdue twice."""

    class Someone:
        transport = None
        said = ""

        def overdue(self) -> None:
            self.said += "overdue "

        def stalled(self) -> None:
            self.said += "stalled "

    patience, first, second = Patience(), Someone(), Someone()
    patience.expect(first, 1)
    patience.expect(first, 3)
    patience.expect(second, 1)
    patience.begin(second)
    patience.begin(first)
    patience.begin(second)
    for _ in range(3):
        patience.look(stall=2)
    assert (first.said, second.said) == ("stalled ", "overdue stalled ")
    for _ in range(10):
        patience.look(stall=2)
    assert first.said == "stalled overdue "
    patience.expect(first, 5)
    patience.forget(first)
    patience.expect(first, inf)
    assert len(patience) == 0
    assert patience._due == {}
