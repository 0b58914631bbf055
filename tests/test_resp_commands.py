"""What each command of the TCP port answers, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from comet.config import Config
from comet.errors import BadContentType, BadJSON, BadKey, BadTopic, CometError, PayloadTooLarge, UnknownCommand
from comet.errors import WrongArguments as Wrong
from comet.limits.limits import Limits
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.commands import COMMANDS, Answer, command_named
from comet.resp.session import Ending, Intake, Session
from comet.resp.subscribing import Connection
from comet.router import Router


class Everyone:
    """A publisher that stores nothing; every topic has three subscriptions."""

    epoch = "5f0c1a2b"
    limits = Limits(Config(), Metrics(), Clock())

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        return succeed(range(len(drafts)))

    def receivers(self, topic: str) -> int:
        return 3


@pytest.fixture
def session() -> Session:
    return Session(Intake(cast(Router, Everyone()), Config(max_payload=10), Metrics()), "192.0.2.1:4711")


def executed(session: Session, *words: bytes) -> Answer:
    """Return what a command makes of its words, its number of arguments checked first."""
    command = command_named(words[0])
    if len(words) != command.arity:
        command.check_arity(words)
    return command.run(session, words)


def acknowledged(session: Session, *words: bytes) -> bytes:
    """Return the reply to a publish that was stored under offset 7."""
    draft = executed(session, *words)
    acknowledge = command_named(words[0]).acknowledge
    assert isinstance(draft, Draft)
    assert acknowledge is not None
    return acknowledge(session.intake.router, draft, 7)


def test_publish_takes_a_topic_and_a_payload(session: Session) -> None:
    """PUBLISH makes a message of its payload, byte by byte, and tells how many subscriptions it went to."""
    assert executed(session, b"PUBLISH", "a/é".encode(), b"\x00\r\n") == Draft("a/é", b"\x00\r\n")
    assert acknowledged(session, b"publish", b"a", b"x") == b":3\r\n"


def test_xadd_gives_the_position(session: Session) -> None:
    """XADD tells under which position the message is stored."""
    assert executed(session, b"XADD", b"a", b"*", b"data", b"x") == Draft("a", b"x")
    assert acknowledged(session, b"XADD", b"a", b"*", b"data", b"x") == b"$10\r\n5f0c1a2b-7\r\n"


def test_xadd_takes_a_type_and_a_key_in_any_order(session: Session) -> None:
    """A content type and an idempotency key come as fields."""
    words = (b"XADD", b"a", b"*", b"type", b"application/json", b"key", "é".encode(), b"data", b"[1]")
    assert executed(session, *words) == Draft("a", b"[1]", "application/json", "é")


XADD = (b"XADD", b"a", b"*", b"data", b"x")
REFUSED: list[tuple[type[CometError], tuple[bytes, ...]]] = [
    (BadTopic, (b"PUBLISH", b"a//b", b"x")),
    (BadTopic, (b"PUBLISH", b"a/*", b"x")),
    (BadTopic, (b"PUBLISH", b"$stats", b"x")),
    (BadTopic, (b"PUBLISH", b"\xff", b"x")),
    (BadTopic, (b"XADD", b"\xff", b"*", b"data", b"x")),
    (PayloadTooLarge, (b"PUBLISH", b"a", b"x" * 11)),
    (PayloadTooLarge, (b"XADD", b"a", b"*", b"data", b"x" * 11, b"key", b"k")),
    (BadJSON, (*XADD, b"type", b"application/json")),
    (BadContentType, (*XADD, b"type", b"text/\xff")),
    (BadContentType, (*XADD, b"type", b"a\r\nb")),
    (BadKey, (*XADD, b"key", b"\xff")),
    (BadKey, (*XADD, b"key", b"")),
    (Wrong, (b"PUBLISH", b"a")),
    (Wrong, (b"PUBLISH", b"a", b"two", b"words")),
    (Wrong, (b"XADD", b"a", b"*", b"data")),
    (Wrong, (b"XADD", b"a", b"1-1", b"data", b"x")),
    (Wrong, (b"XADD", b"a", b"MAXLEN", b"5", b"*", b"data", b"x")),
    (Wrong, (b"XADD", b"a", b"NOMKSTREAM", b"*", b"data", b"x")),
    (Wrong, (*XADD, b"other", b"y")),
    (Wrong, (*XADD, b"data", b"y")),
    (Wrong, (*XADD, b"type")),
    (Wrong, (b"XADD", b"a", b"*", b"key", b"k")),
    (Wrong, (b"AUTH", b"token")),
    (Wrong, (b"HELLO", b"3", b"AUTH", b"user", b"token")),
    (Wrong, (b"HELLO", b"3", b"SETNAME")),
    (Wrong, (b"HELLO", b"3", b"SETNAME", b"a", b"b")),
    (Wrong, (b"SELECT", b"1")),
    (Wrong, (b"PING", b"a", b"b")),
    (Wrong, (b"CLIENT", b"KILL", b"1")),
    (Wrong, (b"CLIENT", b"SETNAME")),
    (Wrong, (b"CLIENT", b"SETNAME", b"two words")),
    (Wrong, (b"CLIENT", b"SETNAME", b"x" * 256)),
    (Wrong, (b"COMMAND", b"GETKEYS")),
    (Wrong, (b"EXEC",)),
    (Wrong, (b"DISCARD",)),
    (UnknownCommand, (b"GET", b"a")),
    (UnknownCommand, (b"\xff",)),
]


@pytest.mark.parametrize(("kind", "words"), REFUSED)
def test_what_is_refused(session: Session, kind: type[CometError], words: tuple[bytes, ...]) -> None:
    """Each mistake has its own error, and does nothing."""
    with pytest.raises(kind):
        executed(session, *words)
    assert (session.version, session.name) == (2, b"")


def test_an_error_says_what_to_do(session: Session) -> None:
    """An error shows the value and the way out."""
    with pytest.raises(UnknownCommand, match=r"'ssubscribe' here; there are no shards, so SUBSCRIBE does it"):
        executed(session, b"ssubscribe", b"news")
    with pytest.raises(Wrong, match=r"PUBLISH: 1 arguments, where 2 are wanted \(PUBLISH topic payload"):
        executed(session, b"PUBLISH", b"news")


def test_hello_chooses_the_version(session: Session) -> None:
    """HELLO greets in the protocol that it was asked for, and names the connection."""
    greeting = executed(session, b"HELLO", b"3", b"SETNAME", b"me")
    assert isinstance(greeting, bytes)
    assert greeting.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\ncomet\r\n")
    assert (session.version, session.name) == (3, b"me")
    assert executed(session, b"HELLO") == greeting
    plain = executed(session, b"HELLO", b"2")
    assert isinstance(plain, bytes)
    assert plain.startswith(b"*14\r\n")


def test_hello_knows_two_versions(session: Session) -> None:
    """A version that nobody speaks is refused as Redis refuses it, which clients look for."""
    answer = executed(session, b"HELLO", b"4")
    assert isinstance(answer, bytes)
    assert answer.startswith(b"-NOPROTO ")
    assert session.version == 2


ANSWERS = [
    ((b"PING",), b"+PONG\r\n"),
    ((b"PING", b"a"), b"$1\r\na\r\n"),
    ((b"ECHO", b"a\r\n"), b"$3\r\na\r\n\r\n"),
    ((b"SELECT", b"0"), b"+OK\r\n"),
    ((b"CLIENT", b"SETNAME", b"me"), b"+OK\r\n"),
    ((b"CLIENT", b"SETINFO", b"LIB-NAME", b"redis-py"), b"+OK\r\n"),
    ((b"CLIENT", b"GETNAME"), b"$-1\r\n"),
    ((b"client", b"id"), b":1\r\n"),
    ((b"CLIENT", b"LIST"), b"$38\r\nid=1 addr=192.0.2.1:4711 name= resp=2\n\r\n"),
    ((b"QUIT",), b"+OK\r\n"),
    ((b"COMMAND", b"COUNT"), b":%d\r\n" % len(COMMANDS)),
]


@pytest.mark.parametrize(("words", "answer"), ANSWERS)
def test_what_clients_ask_for(session: Session, words: tuple[bytes, ...], answer: bytes) -> None:
    """What client libraries send on their own is answered as Redis answers it."""
    assert executed(session, *words) == answer


def test_quit_ends_the_connection(session: Session) -> None:
    """QUIT closes, once the replies are out."""
    executed(session, b"QUIT")
    assert session.ending is Ending.AFTER_REPLIES


def test_reset_forgets(session: Session) -> None:
    """RESET makes a pooled connection as new."""
    executed(session, b"HELLO", b"3", b"SETNAME", b"me")
    executed(session, b"MULTI")
    forget = executed(session, b"RESET")
    assert callable(forget)
    assert forget(cast(Connection, None)) == b"+RESET\r\n"
    assert (session.version, session.name, session.mode) == (2, b"", None)
    executed(session, b"HELLO", b"3")
    assert executed(session, b"CLIENT", b"GETNAME") == b"_\r\n"


def test_every_command_is_described(session: Session) -> None:
    """COMMAND and its DOCS are made from the table, so that redis-cli can complete and explain each."""
    rows = executed(session, b"COMMAND")
    docs = executed(session, b"COMMAND", b"DOCS")
    assert isinstance(rows, bytes)
    assert isinstance(docs, bytes)
    assert rows.startswith(b"*%d\r\n*10\r\n$7\r\npublish\r\n:3\r\n" % len(COMMANDS))
    for command in COMMANDS.values():
        assert command.help.encode() in docs
        assert command.help.startswith(command.name)
    one = executed(session, b"COMMAND", b"DOCS", *[b"ping"] * 1000, b"nothing")
    assert isinstance(one, bytes)
    assert one.startswith(b"*2\r\n$4\r\nping\r\n*6\r\n")


def test_info_says_what_clients_wait_for(session: Session) -> None:
    """INFO tells clients that the daemon is ready, and people which one it is."""
    answer = executed(session, b"INFO", b"server")
    assert isinstance(answer, bytes)
    assert b"\r\nloading:0\r\n" in answer
    assert b"\r\nepoch:5f0c1a2b\r\n" in answer


def test_transactions_do_not_nest(session: Session) -> None:
    """A second MULTI is refused."""
    assert executed(session, b"MULTI") == b"+OK\r\n"
    with pytest.raises(Wrong):
        executed(session, b"MULTI")
    assert executed(session, b"DISCARD") == b"+OK\r\n"
