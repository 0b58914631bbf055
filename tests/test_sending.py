"""What publishers share: commands and replies on the wire, and what is still to be acknowledged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.errors import CometError, every
from comet.message import Draft
from comet.resp.wire import RequestParser
from comet.sending.link import address_of
from comet.sending.outbox import LONGEST_PAUSE, Item, Outbox, Patience
from comet.sending.post import url_of
from comet.sending.wire import NotRESP, Outgoing, Replies, Reply, command

REPLIES = b"$5\r\nab-12\r\n-ERR bad_topic 'a//b' is not one\r\n:3\r\n+OK\r\n-ERR draining so long\r\n-NOAUTH who\r\n"
READ = [
    Reply("ab-12"),
    Reply("", "bad_topic", "'a//b' is not one"),
    Reply("3"),
    Reply("OK"),
    Reply("", "draining", "so long", retry=True),
    Reply("", "NOAUTH", "who"),
]


@pytest.mark.parametrize("cut", range(len(REPLIES)))
def test_replies_in_pieces(cut: int) -> None:
    """Replies are the same wherever the network cuts them."""
    replies = Replies()
    assert [*replies.feed(REPLIES[:cut]), *replies.feed(REPLIES[cut:])] == READ


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"$-1\r\n", b"x" * 70_000])
def test_replies_of_another_protocol(answer: bytes) -> None:
    """An answer in HTTP, and one without an end, is recognised as none."""
    with pytest.raises(NotRESP):
        Replies().feed(answer)


@pytest.mark.parametrize("refusal", tuple(every()), ids=lambda refusal: refusal.code)
def test_retried_refusals(refusal: type[CometError]) -> None:
    """Those refusals are tried again of which the daemon says that it may help."""
    [reply] = Replies().feed(f"-ERR {refusal.code} because\r\n".encode())
    assert reply.retry == refusal.retry


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.binary(max_size=12),
    st.sampled_from(["", "image/png"]),
    st.sampled_from(["", "k\u00e9y-1"]),
)
def test_commands(topic: str, payload: bytes, content_type: str, key: str) -> None:
    """Whatever is published arrives as it was, by the parser of the daemon."""
    [found] = RequestParser(1000).feed(command(Outgoing(topic, payload, content_type, key)))
    words = list(cast("Sequence[bytes]", found))
    assert words[:5] == [b"XADD", topic.encode(), b"*", b"data", payload]
    further = dict(zip(words[5::2], words[6::2], strict=True))
    assert further == {name: text.encode() for name, text in ((b"type", content_type), (b"key", key)) if text}


def outgoing(number: int) -> Outgoing:
    """A message that is told apart by its payload."""
    return Outgoing("a", str(number).encode(), "", f"k{number}")


@given(st.integers(0, 2**32))
def test_outbox(seed: int) -> None:
    """Whenever connections are lost and messages are refused for a while, each is settled once, and until then kept."""
    chance = random.Random(seed)
    outbox, settled, put = Outbox(), [], 0
    for _ in range(200):
        match chance.choice(("put", "take", "answer", "answer", "lost", "resume")):
            case "put":
                outbox.put(Item(put, outgoing(put)))
                put += 1
            case "take":
                outbox.take(chance.randint(1, 5), chance.randint(1, 20))
            case "answer" if outbox.outstanding:
                retry = chance.random() < 0.2
                item = outbox.answer(Reply("", retry=retry))
                if not retry:
                    settled.append(item.number)
            case "lost":
                outbox.lost()
            case "resume" if not outbox.outstanding:
                outbox.resume()
        assert len(outbox) == outbox.waiting + outbox.outstanding + outbox.postponed == put - len(settled)
        assert outbox.size == sum(len(item.outgoing.payload) for item in outbox.unanswered)
    assert sorted([*settled, *(item.number for item in outbox.unanswered)]) == list(range(put))


def test_outbox_order() -> None:
    """What was on a lost connection is sent again before what was not, and so is what was refused for a while."""
    outbox = Outbox()
    for number in range(5):
        outbox.put(Item(number, outgoing(number)))
    outbox.take(3, 100)
    outbox.answer(Reply("", "draining", "", retry=True))
    assert outbox.answer(Reply("x-2")).number == 1
    outbox.lost()
    outbox.resume()
    assert [each.payload for each in outbox.take(10, 100)] == [b"0", b"2", b"3", b"4"]


def test_outbox_without_keys() -> None:
    """Keys can be dropped from what is still to be sent."""
    outbox = Outbox()
    outbox.put(Item(0, outgoing(0)))
    outbox.drop_keys()
    assert outbox.take(1, 1) == [outgoing(0)._replace(key="")]


def test_patience() -> None:
    """Pauses grow up to a limit, end with patience, and begin anew with each acknowledgement."""
    time = 0.0
    patience = Patience(30, lambda: time)
    pauses = [patience.pause() or 0.0 for _ in range(20)]
    assert pauses[0] <= 0.05 < max(pauses) <= LONGEST_PAUSE
    time = 29.9
    assert patience.pause() == pytest.approx(0.1)
    time = 30.0
    assert patience.pause() is None
    patience.renew()
    assert 0 < (patience.pause() or 0.0) <= 0.05


@pytest.mark.parametrize(
    ("server", "address"),
    [("push:7081", ("push", 7081)), ("[::1]:1", ("::1", 1)), ("/run/comet.sock", "/run/comet.sock")],
)
def test_address(server: str, address: object) -> None:
    """A daemon is named by host and port, or by the path of its socket."""
    assert address_of(server) == address


@pytest.mark.parametrize("server", ["", "push", "push:", ":7081", "push:0", "push:99999", "::1:7081", "push:7081/"])
def test_bad_address(server: str) -> None:
    """What names none is told with what does."""
    with pytest.raises(ValueError, match="cannot be used: write host:port"):
        address_of(server)


@pytest.mark.parametrize(
    "server", ["http://", "http://a:0/", "http://a:b/", "http://a/?b", "http://a/#b", "http://me:x@a/", "ftp://a/"]
)
def test_bad_url(server: str) -> None:
    """So is a URL that cannot be used."""
    with pytest.raises(ValueError, match="cannot be used: write a URL"):
        url_of(server)


def test_draft_is_the_daemons_alike() -> None:
    """The fields of what goes out are those of what the daemon takes in."""
    assert Outgoing._fields == Draft.__struct_fields__
