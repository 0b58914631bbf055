"""How the TCP port spells its replies."""

from __future__ import annotations

from comet.errors import BadTopic
from comet.resp import replies


def test_replies() -> None:
    """Replies are spelt as the specification says, for either version."""
    entries = {"a": replies.integer(1), "b": replies.array([replies.simple("OK")])}
    assert replies.mapping(entries, 2) == b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n+OK\r\n"
    assert replies.mapping(entries, 3) == b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n+OK\r\n"
    assert replies.bulk("é\r\n") == b"$4\r\n\xc3\xa9\r\n\r\n"
    assert replies.integer(1_000_000) == b":1000000\r\n"
    assert (replies.NULL[2], replies.NULL[3]) == (b"$-1\r\n", b"_\r\n")


def test_an_error_is_one_line() -> None:
    """Nothing that a publisher sent can end an error early and forge another reply."""
    assert replies.error(BadTopic("no\r\n+OK\x00 \ud800")) == b"-ERR bad_topic no +OK  ?\r\n"
