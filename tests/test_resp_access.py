"""Who may do what on the TCP port: nobody in particular, the holder of a token, a program on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from comet.access.grant import Grant
from comet.errors import AuthorizationFailed
from comet.resp.commands import _CLIENT, _COMMAND, _PUBSUB, _XGROUP, _XINFO, COMMANDS
from comet.topics import Pattern
from tests.resp_guarded import ELSEWHERE, HERE, PROXY, Guarded, token
from tests.resp_reading import Refusal


@pytest.fixture
def port(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


# -- without a token -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["PING", "PUBLISH a x", "SUBSCRIBE a", "HELLO 3", "HELLO", "MULTI", "INFO", "COMMAND"])
def test_a_stranger_has_to_auth(port: Guarded, line: str) -> None:
    """Who is nobody in particular, and may do nothing as such, is told that a token is needed, whatever it asks."""
    stranger = port.connect()
    assert stranger.ask(line).startswith("NOAUTH unauthorized Authentication required")
    assert not stranger.is_closed
    assert stranger.ask(f"AUTH {token()}") == "OK"
    assert stranger.ask("PING") == "PONG"


def test_a_program_on_this_machine_may_do_everything(port: Guarded) -> None:
    """Loopback needs no token, but one that is wrong is refused there, too."""
    local = port.connect(HERE)
    assert local.ask("PUBLISH a x") == 0
    assert local.ask("PUBSUB CHANNELS") == []
    assert local.word("AUTH wrong") == "WRONGPASS"
    assert local.ask("PUBLISH a x") == 0


def test_a_local_program_with_a_token_may_do_what_that_allows(port: Guarded) -> None:
    """Who AUTHs is held to it, until RESET."""
    local = port.connect(HERE)
    local.ask(f"AUTH {token(publish=('a',))}")
    assert local.word("PUBLISH b x") == "NOPERM"
    assert local.ask("RESET", "PUBLISH b x") == 0


def test_what_is_not_local(tmp_path: Path) -> None:
    """A connection that a proxy on this machine announces is not of this machine, nor one of a listed proxy; and with
    ``local anonymous`` nobody is."""
    port = Guarded(tmp_path, proxy=(HERE,))
    assert port.connect(HERE).word("PING") == "NOAUTH"
    assert port.connect(HERE, announced=True).word("PING") == "NOAUTH"
    assert Guarded(tmp_path, local="anonymous").connect(HERE).word("PING") == "NOAUTH"


def test_the_address_that_a_proxy_announces(tmp_path: Path) -> None:
    """Behind a proxy it is known with the first bytes whose connection it is; that counts."""
    port = Guarded(tmp_path, proxy=(PROXY,), max_connections_per_address=1)
    first, second = (port.connect(PROXY, announced=True) for _ in range(2))
    for guest in (first, second):
        guest.wire.peerAddr = IPv4Address("TCP", ELSEWHERE, 4711)
    assert first.word("PING") == "NOAUTH"
    assert second.ask("PING").startswith("ERR max number of clients reached: too_many_from_one")
    assert second.is_closed
    second.lose()
    first.lose()
    assert port.connect(ELSEWHERE).word("PING") == "NOAUTH"


def test_what_anybody_may_do(tmp_path: Path) -> None:
    """``anonymous`` says what needs no token; the rest does."""
    port = Guarded(tmp_path, anonymous=("subscribe:news/**", "publish:guestbook"))
    guest = port.connect()
    assert guest.ask("PING") == "PONG"
    assert guest.ask("PUBLISH guestbook hi") == 0
    assert guest.ask("PUBLISH news/a x").startswith(
        "NOAUTH unauthorized Authentication required: PUBLISH needs a token"
    )
    assert guest.word("XLEN news/a") == "OK"
    assert guest.word("XLEN guestbook") == "NOAUTH"
    assert guest.word("SUBSCRIBE news/a") == "OK"


def test_what_anybody_may_do_changes_at_once(port: Guarded) -> None:
    """Settings that are read again count for connections that are open, but not for those that have AUTHed."""
    guest, named = port.connect(), port.named(publish=("b",))
    config = replace(port.config, anonymous=("publish:a",))
    port.access.configure(config)
    port.factory.configure(config)
    assert guest.ask("PUBLISH a x") == 0
    assert named.word("PUBLISH a x") == "NOPERM"
    assert named.ask("PUBLISH b x") == 0


# -- AUTH, HELLO, RESET ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["AUTH {}", "AUTH default {}", "AUTH alice {}", "AUTH '' {}", "HELLO 3 AUTH alice {}"])
def test_auth(port: Guarded, line: str) -> None:
    """A token may come alone, or with a user that says nothing else than it does."""
    guest = port.connect()
    assert not isinstance(guest.ask(line.format(token())), Refusal)
    assert guest.ask("PING") == "PONG"


WRONG = {
    "another user": f"AUTH bob {token()}",
    "no token": "AUTH hunter2",
    "nothing": "AUTH ''",
    "no text": "AUTH '\\xff'".replace("'", '"'),
    "it is over": f"AUTH {token(lasts=-10)}",
    "another key": "AUTH eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
    "in HELLO": "HELLO 3 AUTH default hunter2 SETNAME me",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_changes_nothing(port: Guarded, name: str) -> None:
    """A token that is refused leaves the connection what it was, be that nothing or what an earlier one allows."""
    guest = port.connect()
    assert guest.word(WRONG[name]) == "WRONGPASS"
    assert guest.word("PING") == "NOAUTH"
    named = port.named(publish=("a",))
    assert named.word(WRONG[name]) == "WRONGPASS"
    assert named.ask("PUBLISH a x") == 0
    assert named.ask("CLIENT LIST").endswith(b"name= resp=2\n")


def test_no_token_is_shown(port: Guarded) -> None:
    """A user and a token that were mixed up do not get into the error, which is logged."""
    right = token()
    assert right[:20] not in port.connect().ask(f"AUTH {right} {right}")


def test_auth_takes_one_token(port: Guarded) -> None:
    """More than user and token are refused, and a HELLO whose AUTH is not whole."""
    guest = port.connect()
    assert guest.ask("AUTH a b c").startswith("ERR wrong_arguments")
    assert guest.ask("HELLO 3 AUTH a").startswith("ERR wrong_arguments")


def test_reset_forgets_the_token(port: Guarded) -> None:
    """RESET makes a connection as new."""
    named = port.named(publish=("a",))
    assert named.word("RESET", "PUBLISH a x") == "NOAUTH"


@pytest.fixture
def answer(port: Guarded, monkeypatch: pytest.MonkeyPatch) -> Deferred[Grant]:
    """Says what a token allows, when it is fired: its issuer's keys are fetched first."""
    answer: Deferred[Grant] = Deferred()
    monkeypatch.setattr(port.access, "of_token", lambda _token: answer)
    return answer


def test_what_is_behind_an_auth_waits_for_it(port: Guarded, answer: Deferred[Grant]) -> None:
    """While the keys of an issuer are fetched nothing is executed, and then all of it in order."""
    guest = port.connect()
    guest.send("PING")
    assert guest.send("AUTH token", "PUBLISH a x") == []
    assert guest.send("PING") == []
    answer.callback(Grant(subject="alice", publish=(Pattern.parse("a"),)))
    assert guest.arrived() == ["OK", 0, "PONG"]


def test_an_issuer_that_does_not_answer(port: Guarded, answer: Deferred[Grant]) -> None:
    """If nobody can say who it is, that is not the fault of the token; the connection may try again."""
    guest = port.connect()
    guest.send("AUTH token", "PING")
    answer.errback(AuthorizationFailed("the keys cannot be fetched"))
    assert [each.partition(" ")[0] for each in guest.arrived()] == ["ERR", "NOAUTH"]


def test_a_client_that_leaves_before_it_is_known(port: Guarded, answer: Deferred[Grant]) -> None:
    """Nothing is left of a connection that ends while it is found out who it is."""
    guest = port.connect()
    guest.send("AUTH token", "PING")
    guest.lose()
    assert guest.arrived() == []
    assert len(port.factory._intake.patience) == 0


# -- what a token allows ---------------------------------------------------------------------------------------------

BOTH = {"publish": ("news/*",), "subscribe": ("news/*",), "consumers": ("mine",)}

ALLOWED = (
    *("PUBLISH news/a x", "XADD news/a * data x", "publish news/a x", "PING", "ECHO x", "SELECT 0", "INFO", "COMMAND"),
    *("SUBSCRIBE news/a news/b $gap", "SUBSCRIBE $gap", "PSUBSCRIBE news/*", "UNSUBSCRIBE", "XLEN news/a", "MULTI"),
    *("XRANGE news/a - +", "XREVRANGE news/a + -", "XREAD STREAMS news/a news/b 0 0", "XREAD COUNT 5 STREAMS news/a 0"),
    *("XINFO STREAM news/a", "XGROUP CREATE news/c mine 0", "XGROUP DESTROY news/a mine", "XINFO GROUPS news/a"),
    *("PUBSUB NUMSUB news/a", "PUBSUB NUMSUB", "CLIENT LIST", "CLIENT ID"),
)
REFUSED = (
    *("PUBLISH a x", "XADD a * data x", "SUBSCRIBE news/a other", "PSUBSCRIBE news/**", "PSUBSCRIBE **", "XLEN a"),
    *("PSUBSCRIBE */a", "SUBSCRIBE $stats", "XRANGE a - +", "XREVRANGE a + -", "XREAD STREAMS news/a a 0 0"),
    *("XREAD BLOCK 0 STREAMS a 0", "XGROUP CREATE a mine 0", "XGROUP CREATE news/a theirs 0", "XINFO STREAM a"),
    *("XREADGROUP GROUP theirs me STREAMS news/a >", "XREADGROUP GROUP mine me STREAMS a >", "XACK news/a theirs 1-1"),
    *("XACK a mine 1-1", "XPENDING news/a theirs", "XPENDING a mine", "XINFO GROUPS a", "XGROUP DESTROY news/a theirs"),
    *("PUBSUB CHANNELS", "PUBSUB CHANNELS news/*", "PUBSUB NUMPAT", "PUBSUB NUMSUB news/a a"),
)


@pytest.mark.parametrize("line", ALLOWED)
def test_what_a_token_allows(port: Guarded, line: str) -> None:
    """Each command is done for what the token covers."""
    assert not isinstance(port.named(**BOTH).ask(line), Refusal)


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_token_does_not_allow(port: Guarded, line: str) -> None:
    """Each command that asks for more than the token covers is refused, with the word that Redis has for it."""
    guest = port.named(**BOTH)
    assert guest.ask(line).startswith("NOPERM forbidden this token does not allow to ")
    assert guest.ask("PING") == "PONG"
    assert port.router.log.end == 0


@pytest.mark.parametrize("line", ["PUBLISH a//b x", "SUBSCRIBE a//b", "XREAD STREAMS a", "XGROUP CREATE a"])
def test_a_mistake_is_told_as_one(port: Guarded, line: str) -> None:
    """What no token could allow is refused as what it is."""
    assert port.named(**BOTH).word(line) == "ERR"


def test_an_administrator(port: Guarded) -> None:
    """``admin`` sees what others do."""
    guest = port.named(admin=True)
    assert guest.ask("PUBSUB CHANNELS") == []
    assert b"connected_clients" in guest.ask("INFO")
    assert b"connected_clients" not in port.named(**BOTH).ask("INFO")


def test_groups_of_others_are_not_shown(port: Guarded) -> None:
    """XINFO tells of the groups that a token is for."""
    local = port.connect(HERE)
    local.ask("XGROUP CREATE news/a mine 0", "XGROUP CREATE news/a theirs 0")
    assert len(local.ask("XINFO GROUPS news/a")) == 2
    assert [group[1] for group in port.named(**BOTH).ask("XINFO GROUPS news/a")] == [b"mine"]


HARMLESS = {
    *("UNSUBSCRIBE", "PUNSUBSCRIBE", "MULTI", "EXEC", "DISCARD", "PING", "ECHO", "SELECT", "CLIENT", "COMMAND", "INFO"),
    *("COMMAND COUNT", "COMMAND DOCS"),
}


def test_every_command_says_what_it_needs() -> None:
    """A new command is not open to all because somebody forgot."""
    families: tuple[dict[bytes, Any], ...] = (COMMANDS, _XGROUP, _XINFO, _PUBSUB, _COMMAND)
    free = {row.name for family in families for row in family.values() if row.needs is None}
    assert free == HARMLESS
    assert all(row.needs is None for row in _CLIENT.values())


def test_topics_are_remembered_within_bounds(port: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics that were checked are remembered, but not without end."""
    monkeypatch.setattr("comet.resp.guard.REMEMBERED_TOPICS", 2)
    guest = port.named(**BOTH)
    for number in range(5):
        assert guest.ask(f"PUBLISH news/{number} x") == 0
    guard = guest._protocol._session.guard
    assert guard is not None
    assert len(guard._allowed_topics) <= 2


def test_a_refused_command_spoils_its_transaction(port: Guarded) -> None:
    """Nothing of a transaction is executed if a command in it is not allowed."""
    guest = port.named(**BOTH)
    guest.ask("MULTI", "PUBLISH news/a x")
    assert guest.word("PUBLISH a x") == "NOPERM"
    assert guest.word("EXEC") == "EXECABORT"
    assert port.router.log.end == 0


def test_a_transaction_does_not_change_who_it_is_of(port: Guarded) -> None:
    """AUTH and HELLO stand before MULTI, or behind EXEC."""
    guest = port.named(**BOTH)
    for line in (f"AUTH {token()}", "HELLO 3"):
        assert guest.ask("MULTI", line).startswith("ERR wrong_arguments")
        guest.ask("DISCARD")
