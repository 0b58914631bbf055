"""What a Redis client that has subscribed is sent for a page of messages."""

from __future__ import annotations

import pytest

from comet.control import Beat, Bye, Open, Topics
from comet.framing.resp import Resp
from comet.interfaces import Framing
from comet.message import Gap, Message, Page, Position
from comet.topics import Pattern
from tests.resp_reading import Push, values

EPOCH = "5f0c1a2b"
HOSTILE = [b"", b"\r\n", b"+OK\r\n", b"$-1\r\n*3\r\n", b"\x00\xff", "é\u2028".encode(), b"x" * 1_048_576]


def framing(version: int = 2, topics: tuple[str, ...] = (), patterns: tuple[str, ...] = ()) -> Resp:
    return Resp(version, frozenset(topics), tuple(map(Pattern.parse, patterns)))


def page(*messages: tuple[str, bytes], gap: Gap | None = None) -> Page:
    numbered = [Message(topic, payload, "", 1.0, number) for number, (topic, payload) in enumerate(messages, 1)]
    return Page(numbered, Position(EPOCH, len(numbered)), gap)


def test_a_message_is_an_array_or_a_push() -> None:
    """RESP2 has arrays; RESP3 has pushes, which a client can tell from replies."""
    assert framing(2, ("a/b",)).page(page(("a/b", b"x"))) == b"*3\r\n$7\r\nmessage\r\n$3\r\na/b\r\n$1\r\nx\r\n"
    (pushed,) = values(framing(3, ("a/b",)).page(page(("a/b", b"x"))))
    assert isinstance(pushed, Push)
    assert pushed == [b"message", b"a/b", b"x"]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_a_payload_cannot_forge_anything(payload: bytes) -> None:
    """Whatever a payload holds, it is read as it was published, and so is what follows."""
    written = framing(2, ("a",)).page(page(("a", payload), ("a", b"next")))
    assert values(written) == [[b"message", b"a", payload], [b"message", b"a", b"next"]]


def test_a_message_comes_for_each_of_its_names() -> None:
    """Who has subscribed to a topic and to patterns that match it is told as often, as in Redis."""
    both = framing(2, ("news",), ("*", "**", "sport/*", "news"))
    assert values(both.page(page(("news", b"x"), ("sport/1", b"y"), ("$stats/a", b"z")))) == [
        [b"message", b"news", b"x"],
        [b"pmessage", b"*", b"news", b"x"],
        [b"pmessage", b"**", b"news", b"x"],
        [b"pmessage", b"news", b"news", b"x"],
        [b"pmessage", b"**", b"sport/1", b"y"],
        [b"pmessage", b"sport/*", b"sport/1", b"y"],
    ]


GAP = Gap(Position("0badcafe", 7), Position(EPOCH, 40))
TOLD = b'{"since":"0badcafe-7","until":"5f0c1a2b-40"}'


@pytest.mark.parametrize(
    ("topics", "patterns", "told"),
    [
        (("a",), ("b/*",), [b"message", b"$gap", TOLD]),
        ((), ("b/*", "c/*"), [b"pmessage", b"b/*", b"$gap", TOLD]),
        ((), ("b/*", "$gap"), [b"pmessage", b"$gap", b"$gap", TOLD]),
    ],
)
def test_a_gap_is_a_message_that_the_client_listens_to(
    topics: tuple[str, ...], patterns: tuple[str, ...], told: list[bytes]
) -> None:
    """A gap comes first, on ``$gap``; to a client with patterns only as a message of one of them."""
    first, *_ = values(framing(2, topics, patterns).page(page(("a", b"x"), gap=GAP)))
    assert first == told


def test_there_is_no_control() -> None:
    """Redis clients know neither an opening nor heartbeats, and a message is not repeated in their place."""
    resp: Framing = framing(2, ("a",))
    position = Position(EPOCH, 1)
    assert resp.open(Open("stream", position, 25)) == b""
    for control in (Beat(position), Bye("shutdown", 0), Topics(("a",), position)):
        assert resp.control(control) == b""
    assert not resp.repeats
    assert resp.after(page(("a", b"x"))) is resp


def test_equal_wishes_share_their_bytes() -> None:
    """Connections with the same names, in whatever order, are one audience."""
    assert framing(2, ("a", "b"), ("*",)) == framing(2, ("b", "a"), ("*",))
    assert hash(framing(2, ("a", "b"))) == hash(framing(2, ("b", "a")))
    assert framing(2, ("a",)) != framing(3, ("a",))
    assert framing(2, ("a",)) != framing(2, (), ("a",))
