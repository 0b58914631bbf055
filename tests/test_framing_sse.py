"""What an EventSource gets."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.control import Beat, Bye, Open
from comet.framing.sse import FORMATS, Sse
from comet.message import Gap, Message, Page, Position
from tests.framing_readers import SseEvent, SseParser

RAW = Sse(format="raw")
ID = "5f0c1a2b-7"


def position(offset: int = 7) -> Position:
    """A position of the log of these tests."""
    return Position("5f0c1a2b", offset)


def page_of(*payloads: bytes, gap: Gap | None = None) -> Page:
    """A page of messages with these payloads, all at the same offset."""
    return Page([Message("a", payload, "", 0.0, 7) for payload in payloads], position(), gap)


def test_the_first_block_says_how_to_come_back() -> None:
    """A browser learns from the first block where it stands and how long to wait before it reconnects."""
    parser = SseParser()
    [event] = parser.feed(Sse(retry=500).open(Open("c0ffee", position(), 25.0)))
    assert (event.type, event.last_event_id, parser.retry) == ("comet", ID, 500)


def test_the_end_says_when_to_come_back() -> None:
    """A browser whose stream ends reconnects when it was told to, so that not all come back at once."""
    parser = SseParser()
    parser.feed(Sse().open(Open("c0ffee", position(), 25.0)) + Sse().control(Bye("draining", 4321)))
    assert (parser.retry, parser.last_event_id) == (4321, ID)


def test_a_stream_without_a_position_keeps_the_browser_s_own() -> None:
    """A browser that reconnects during a snapshot does not forget how far it was."""
    parser = SseParser()
    parser.feed(b"id: 5f0c1a2b-3\n\n" + Sse().open(Open("c0ffee", None, 25.0)))
    assert parser.last_event_id == "5f0c1a2b-3"


def test_a_heartbeat_dispatches_nothing_but_is_remembered() -> None:
    """On quiet topics a browser's last event id advances although no listener is called."""
    parser = SseParser()
    assert parser.feed(Sse().control(Beat(position()))) == []
    assert parser.last_event_id == ID


def test_a_gap_moves_nobody_on() -> None:
    """A browser that is cut off behind a gap asks again from where it was: retained messages may stand in the gap."""
    parser = SseParser()
    parser.feed(Sse().control(Beat(position(1))))
    parser.feed(Sse().page(page_of(gap=Gap(position(1), position(7)))))
    assert parser.last_event_id == str(position(1))


@pytest.mark.parametrize("padding", [0, 1, 2048])
def test_padding_is_a_comment(padding: int) -> None:
    """The padding reaches no listener, and what follows it is read as ever."""
    opening = Open("c0ffee", position(), 25.0)
    body = Sse(padding=padding).open(opening)
    assert len(body) - len(Sse().open(opening)) == (padding + 2 if padding else 0)
    assert SseParser().feed(body) == SseParser().feed(Sse().open(opening))


def test_raw_data_is_the_payload() -> None:
    """With ``format=raw`` a listener gets the payload and nothing else."""
    assert SseParser().feed(RAW.page(page_of(b"hello"))) == [SseEvent("message", "hello", ID)]


@pytest.mark.parametrize(
    "payload", ["", "\n", "\r", "\r\n", " x", ": x", "data: x\n\nevent: y", "id: 0\r\rretry: 1", "\0"]
)
def test_raw_data_forges_no_field(payload: str) -> None:
    """A raw payload that looks like fields is data, line by line."""
    parser = SseParser()
    lines = re.sub("\r\n|\r", "\n", payload)
    assert parser.feed(RAW.page(page_of(payload.encode(), b"next"))) == [
        SseEvent("message", lines, ID),
        SseEvent("message", "next", ID),
    ]
    assert parser.retry is None


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.text("\r\n: dataeventid\0\ufeff")))
def test_any_text_is_one_event(payloads: list[str]) -> None:
    """Any text with ``format=raw`` is one event with the same lines."""
    events = SseParser().feed(b":\n" + RAW.page(page_of(*[payload.encode() for payload in payloads])))
    assert events == [SseEvent("message", re.sub("\r\n|\r", "\n", payload), ID) for payload in payloads]


@pytest.mark.parametrize("payload", [b"\xff", b"\r\n\xed\xa0\x80", bytes(range(256))])
def test_bytes_come_in_base64_under_a_name_of_their_own(payload: bytes) -> None:
    """With ``format=raw`` a payload that is no text is not mistaken for one, and not damaged."""
    wanted = SseEvent("data64", base64.b64encode(payload).decode(), ID)
    assert SseParser().feed(RAW.page(page_of(payload))) == [wanted]


def test_a_cut_anywhere_changes_nothing() -> None:
    """Wherever packets are cut, a browser sees the same events."""
    body = Sse(padding=3).open(Open("s", position(), 25.0)) + RAW.page(page_of("é\r\n\rx".encode(), b"\xff", b""))
    whole = SseParser().feed(body)
    for cut in range(len(body)):
        parser = SseParser()
        assert parser.feed(body[:cut]) + parser.feed(body[cut:]) == whole


def test_the_formats_are_json_and_raw() -> None:
    """``format`` may be json or raw."""
    assert list(FORMATS) == ["json", "raw"]
