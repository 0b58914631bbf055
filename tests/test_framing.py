"""The contract of every framing, held by reading its bytes back with a reader of its own format."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.control import Beat, Bye, Open, Topics, gap_json
from comet.drafts import draft, is_json
from comet.framing.iframe import Iframe
from comet.framing.lines import Lines
from comet.framing.mixed import Mixed
from comet.framing.multipart import Multipart
from comet.framing.poll import Poll
from comet.framing.sse import Sse
from comet.framing.text import Text
from comet.interfaces import Framing
from comet.message import Gap, Message, Page, Position
from tests.framing_readers import READERS, Object, Reader

EPOCH = "5f0c1a2b"
BOUNDARY = "0123456789abcdef0123456789abcdef"
TIME = 1790000000.123

HOSTILE_PAYLOADS = {
    "empty": b"",
    "cr": b"\r",
    "lf": b"\n",
    "crlf twice": b"\r\n\r\n",
    "nul": b"\0",
    "end of script": b"</script><script>parent.alert(1)</script>",
    "comment end": b"\n-->alert(1)",
    "comment and script": b"<!--<script>",
    "line separators": "a\u2028b\u2029c\u0085d".encode(),
    "byte order mark": b"\xef\xbb\xbfx",
    "boundary": b"--" + BOUNDARY.encode(),
    "part": b"\r\n--%b\r\nContent-Type: text/html\r\n\r\nx\r\n--%b--\r\n" % (BOUNDARY.encode(), BOUNDARY.encode()),
    "lone surrogate": b"\xed\xa0\x80",
    "not utf-8": b"\xff\xfe\x00\x80",
    "forged event": b"data: x\n\nevent: y\rid: 9\r\ndata: z\n\n",
    "quotes": b'"\'\\\\");//',
    "escapes": b"\\u003c \\u2028",
    "one mebibyte": b'<\r\n"\\\xc3\xa9-' * (1 << 17),
    "one mebibyte of bytes": bytes(range(256)) * (1 << 12),
}
JSON_PAYLOADS = {
    "pretty": b'{\r\n  "a": [1,\r2.50,\n\n3e2],\t"b": "\\r\\n"\r\n}\n',
    "end of script": b'"</script><!--<script>"',
    "line separators": '"\u2028\u2029"'.encode(),
    "prototype": b'{"__proto__":{"admin":true}}',
    "two prototypes": b'{"__proto__":null,"__proto__":null}',
    "not ascii": '{"é":"\\u00e9 \U0001f4a9 \\ud83d\\ude00"}'.encode(),
    "scalar": b" null ",
    "control object": b'{"comet":"bye"}',
}
HOSTILE_TOPICS = (
    "auction/7",
    "a\"b\\c'd",
    "<script>alert(1)</script>",
    "</script><!--",
    "line\u2028separators\u2029",
    "größe/\U0001f4a9/日本",
    "100%/a b/%41",
    " spaces around ",
    "data: x; boundary=--" + BOUNDARY,
    "é" * 127 + "x",
)


def position(offset: int) -> Position:
    """The position of that offset in the log of these tests."""
    return Position(EPOCH, offset)


def message(payload: bytes, content_type: str = "", topic: str = "auction/7", offset: int = 1042) -> Message:
    """A message as the log has it, once it has crossed the border."""
    checked = draft(topic, payload, content_type, largest=2 << 20)
    return Message(checked.topic, checked.payload, checked.content_type, TIME, offset)


def page_of(*messages: Message, gap: Gap | None = None) -> Page:
    """What one read of the log gives: these messages."""
    return Page(list(messages), position(messages[-1].offset if messages else 1041), gap)


def numbered(payloads: list[bytes], content_type: str = "") -> list[Message]:
    """A message for each payload, in order."""
    return [message(payload, content_type, offset=1000 + number) for number, payload in enumerate(payloads)]


def json_of(one: Message) -> Object:
    """What a JSON framing carries of ``one``."""
    found: Object = {"id": str(position(one.offset)), "topic": one.topic, "time": TIME}
    if is_json(one.content_type):
        return {**found, "data": json.loads(one.payload)}
    try:
        return {**found, "data": one.payload.decode()}
    except UnicodeDecodeError:
        return {**found, "data64": base64.b64encode(one.payload).decode()}


def type_shown(one: Message) -> str:
    """The content type under which a multipart framing carries ``one``."""
    try:
        one.payload.decode()
    except UnicodeDecodeError:
        return one.content_type or "application/octet-stream"
    return one.content_type or "text/plain; charset=utf-8"


def part_of(one: Message) -> Object:
    """What ``mixed`` carries of ``one``."""
    identity = {"id": str(position(one.offset)), "topic": one.topic}
    return {**identity, "type": type_shown(one), "payload": one.payload}


def gap_of(gap: Gap | None) -> list[Object]:
    """What tells ``gap``."""
    return [] if gap is None else [json.loads(gap_json(gap))]


def json_seen(page: Page) -> list[Object]:
    """What a client of a JSON stream sees of ``page``."""
    return [*gap_of(page.gap), *map(json_of, page.messages)]


def poll_seen(page: Page) -> list[Object]:
    """What a client sees of the answer to a poll."""
    return [*json_seen(page), {"next": str(page.position)}]


def mixed_seen(page: Page) -> list[Object]:
    """What a client of ``mixed`` sees of ``page``."""
    return [*gap_of(page.gap), *map(part_of, page.messages)]


def multipart_seen(page: Page) -> list[Object]:
    """What a client of ``multipart`` sees of a first ``page`` of text: payloads, and gaps where none can be shown."""
    told = page.gap
    seen: list[Object] = []
    for one in page.messages:
        if f"--{BOUNDARY}".encode() in one.payload:
            since = position(one.offset - 1) if told is None else told.since
            told = Gap(since, position(one.offset))
            continue
        part = [{"type": type_shown(one), "payload": one.payload}] if one.payload else []
        # The first message completes the header that lies open; later ones are told in the header behind them.
        seen += part + gap_of(told) if seen else gap_of(told) + part
        told = None
    return seen + gap_of(told)


class Case(NamedTuple):
    """A transport's framing, and what its reader gives for a page."""

    name: str
    framing: Framing
    seen: Callable[[Page], list[Object]]

    def reader(self) -> Reader:
        """A new reader of a response in this framing."""
        return READERS[self.name](self.framing.content_type)

    def read(self, data: bytes) -> list[Object]:
        """What the reader makes of ``data`` as a whole."""
        return self.reader().feed(data)


CASES = {
    case.name: case
    for case in (
        Case("poll", Poll(), poll_seen),
        Case("stream", Lines(), json_seen),
        Case("sse", Sse(), json_seen),
        Case("iframe", Iframe(), json_seen),
        Case("multipart", Multipart(BOUNDARY), multipart_seen),
        Case("mixed", Mixed(BOUNDARY), mixed_seen),
        Case("websocket", Text(), json_seen),
    )
}
OPENING = Open("c0ffee", position(1041), 25.0)
OPENED = {"comet": "open", "stream": "c0ffee", "position": f"{EPOCH}-1041", "silence": 25.0}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Each framing in turn."""
    found: Case = request.param
    return found


def streamed(case: Case, *pages: Page) -> bytes:
    """A response's body: the opening, then each page in the framing that the one before left."""
    framing = case.framing
    body = framing.open(OPENING)
    for page in pages:
        body += framing.page(page)
        framing = framing.after(page)
    return body


def opened(case: Case) -> list[Object]:
    """What the opening of a response reads as."""
    return [] if case.name == "poll" else [OPENED]


def test_every_transport_has_a_reader_here() -> None:
    """Every transport that is promised is held to the contract."""
    assert CASES.keys() == READERS.keys()


@pytest.mark.parametrize("payload", HOSTILE_PAYLOADS.values(), ids=HOSTILE_PAYLOADS)
def test_any_payload_arrives_whole(case: Case, payload: bytes) -> None:
    """Whatever bytes are published arrive unharmed, and take nothing of what surrounds them along."""
    page = page_of(*numbered([b"before", payload, b"behind"]))
    assert case.read(streamed(case, page)) == opened(case) + case.seen(page)


@pytest.mark.parametrize("payload", JSON_PAYLOADS.values(), ids=JSON_PAYLOADS)
def test_any_json_arrives_as_the_value_it_is(case: Case, payload: bytes) -> None:
    """A payload published as JSON arrives as that value, however it was laid out."""
    page = page_of(*numbered([payload, payload], "application/json"))
    assert case.read(streamed(case, page)) == opened(case) + case.seen(page)


@pytest.mark.parametrize("topic", HOSTILE_TOPICS)
def test_any_topic_arrives_whole(case: Case, topic: str) -> None:
    """A topic may hold quotes, markup and any script of the world without forging anything."""
    page = page_of(message(b"x", topic=topic))
    assert case.read(streamed(case, page)) == opened(case) + case.seen(page)


@pytest.mark.parametrize("topic", HOSTILE_TOPICS)
def test_any_pattern_can_be_announced(case: Case, topic: str) -> None:
    """A change of topics is told with the patterns as they are."""
    told = case.read(case.framing.open(OPENING) + case.framing.control(Topics((topic, "**"), position(7))))
    wanted = {"comet": "topics", "topics": [topic, "**"], "position": f"{EPOCH}-7"}
    assert told == ([] if case.name == "poll" else [OPENED, wanted])


def test_a_gap_is_told_before_the_messages(case: Case) -> None:
    """A client that fell behind learns of it before it reads on."""
    page = page_of(*numbered([b"one", b"two"]), gap=Gap(position(7), position(999)))
    told = case.read(streamed(case, page))
    assert told == opened(case) + case.seen(page)
    assert {"comet": "gap", "since": f"{EPOCH}-7", "until": f"{EPOCH}-999"} in told


def test_a_gap_is_told_without_messages(case: Case) -> None:
    """A client that fell behind learns of it even if nothing is left to read."""
    page = Page([], position(1041), Gap(Position("0123456789abcdef", 7), position(1041)))
    told = case.read(streamed(case, page))
    assert told == opened(case) + case.seen(page)
    assert {"comet": "gap", "since": "0123456789abcdef-7", "until": f"{EPOCH}-1041"} in told


def test_a_page_without_news_writes_nothing(case: Case) -> None:
    """Streams stay silent when there is nothing to say; a poll that waited in vain is answered with an empty list."""
    told = case.framing.page(page_of())
    assert told == (b'{"messages":[],"next":"5f0c1a2b-1041"}' if case.name == "poll" else b"")


def test_a_stream_opens_while_a_snapshot_is_under_way(case: Case) -> None:
    """A stream whose position is not known yet opens without one."""
    told = case.read(case.framing.open(Open("c0ffee", None, 25.0)))
    without = {"comet": "open", "stream": "c0ffee", "silence": 25.0}
    assert told == ([] if case.name == "poll" else [without])


@pytest.mark.parametrize("control", [Bye("draining", 500, position(9)), Bye("draining", 500)])
def test_the_end_is_announced(case: Case, control: Bye) -> None:
    """A stream that ends says so, and when to come back."""
    told = case.read(case.framing.open(OPENING) + case.framing.control(control))
    if case.name != "poll":
        assert told == [OPENED, json.loads(control.json())]
    elif control.position is None:
        assert told == []
    else:
        assert told == [{"next": str(control.position), "retry": control.retry}]


def test_a_heartbeat_carries_the_position(case: Case) -> None:
    """A quiet stream keeps telling how far it is (an EventSource takes it in without a word)."""
    told = case.read(case.framing.open(OPENING) + case.framing.control(Beat(position(2000))))
    beat = {"comet": "beat", "position": f"{EPOCH}-2000"}
    assert told == {"poll": [], "sse": [OPENED]}.get(case.name, [OPENED, beat])


def test_pages_read_one_by_one_read_the_same_together(case: Case) -> None:
    """However messages are cut into pages and pages into packets, a client sees the same."""
    if case.name == "poll":
        return  # an answer to a poll is one page
    payloads = [b"one", b"two", b"", b"\r\n", b"</script>", b"\xff"]
    every = numbered([b"first", *payloads])
    pages = [page_of(one) for one in every]
    body = streamed(case, *pages)
    whole = case.read(body)
    assert whole == case.read(streamed(case, page_of(*every)))
    reader = case.reader()
    assert [seen for byte in body for seen in reader.feed(bytes([byte]))] == whole


@pytest.mark.parametrize("length", [0, 1, 100, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537])
def test_any_length_arrives_whole(case: Case, length: int) -> None:
    """A payload of any length arrives whole."""
    page = page_of(*numbered([b"x" * length, b"behind"]))
    assert case.read(streamed(case, page)) == opened(case) + case.seen(page)


def test_equal_framings_are_one(case: Case) -> None:
    """Clients that asked for the same share the bytes: their framings are equal, and nobody can change one."""
    again: Any = type(case.framing)
    equal = again(BOUNDARY) if case.name in ("multipart", "mixed") else again()
    assert equal == case.framing
    assert hash(equal) == hash(case.framing)
    with pytest.raises((AttributeError, TypeError)):
        equal.content_type = "text/plain"


def test_the_content_type_fits_a_header(case: Case) -> None:
    """What the response says it is cannot forge a header."""
    assert re.fullmatch(r"[ -~]*", case.framing.content_type)


topics = st.builds(
    "/".join,
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/*$"), min_size=1, max_size=12
        ),
        min_size=1,
        max_size=4,
    ),
)
json_payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
payloads = st.one_of(
    st.binary(max_size=300),
    st.text(st.characters(codec="utf-8")).map(str.encode),
    st.lists(st.sampled_from([payload for payload in HOSTILE_PAYLOADS.values() if len(payload) < 200])).map(b"".join),
)
messages = st.one_of(
    st.builds(message, payloads, st.sampled_from(["", "text/plain", 'application/x-thing; a="b"']), topics),
    st.builds(
        lambda value, indent, topic: message(json.dumps(value, indent=indent).encode(), "application/json", topic),
        json_payloads,
        st.sampled_from([None, 1, "\r\n", "\t"]),
        topics,
    ),
)
gaps = st.none() | st.builds(
    lambda since, until: Gap(position(since), position(since + until)), *[st.integers(1, 900)] * 2
)


@given(st.sampled_from([name for name in CASES if name != "multipart"]), st.lists(messages, max_size=5), gaps)
def test_whatever_is_published_is_read_back(name: str, published: list[Message], gap: Gap | None) -> None:
    """Any messages on any topics, with or without a gap before them, are read back in order."""
    # Not parametrized: pytest-twisted cannot run a property test more than once.
    case = CASES[name]
    every = [Message(one.topic, one.payload, one.content_type, TIME, 1000 + at) for at, one in enumerate(published)]
    page = page_of(*every, gap=gap)
    assert case.read(streamed(case, page)) == opened(case) + case.seen(page)
