"""What one framing alone promises: frames, scripts, padding, part headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.control import Beat, Bye, Open, Topics
from comet.errors import BadParameter
from comet.framing.iframe import Iframe, check_callback, check_origin
from comet.framing.lines import Lines
from comet.framing.mixed import Mixed
from comet.framing.poll import Poll
from comet.framing.text import text_frame
from comet.message import Gap, Message, Page, Position
from tests.framing_readers import FrameParser, IframeReader, LinesReader, MixedReader

WHERE = Position("5f0c1a2b", 7)
OPENING = Open("c0ffee", WHERE, 25.0)
MESSAGE = Message("a", b"x", "", 1790000000.0004, 7)


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_says_its_length_in_the_shortest_form(length: int, head: bytes) -> None:
    """A WebSocket frame is final, unmasked, and has the shortest length there is."""
    assert text_frame(b"x" * length) == head + b"x" * length


@given(st.lists(st.text(st.characters(codec="utf-8"))), st.integers(0, 50))
def test_frames_cut_anywhere_read_the_same(texts: list[str], cut: int) -> None:
    """However a network cuts frames, the messages are the same."""
    body = b"".join(text_frame(text.encode()) for text in texts)
    parser = FrameParser()
    assert parser.feed(body[:cut]) + parser.feed(body[cut:]) == texts


@pytest.mark.parametrize("padding", [0, 1, 2048])
def test_lines_are_padded_with_white_space(padding: int) -> None:
    """The padding of a stream is white space before the first object: a reader needs to know nothing of it."""
    body = Lines(padding).open(OPENING)
    assert len(body) == len(Lines().open(OPENING)) + padding
    assert LinesReader("application/x-ndjson").feed(body) == LinesReader("application/x-ndjson").feed(
        Lines().open(OPENING)
    )


def test_a_poll_is_answered_with_messages_next_and_gap() -> None:
    """The answer to a poll is the object that the documentation shows, byte for byte."""
    page = Page([MESSAGE], WHERE, Gap(Position("5f0c1a2b", 1), Position("5f0c1a2b", 6)))
    assert Poll().page(page) == (
        b'{"messages":[{"id":"5f0c1a2b-7","topic":"a","time":1790000000.000,"data":"x"}],'
        b'"next":"5f0c1a2b-7","gap":{"since":"5f0c1a2b-1","until":"5f0c1a2b-6"}}'
    )


@pytest.mark.parametrize("text", ["comet", "app.received", "$", "_a.$b.c9", "a.b.c.d.e.f.g.h"])
def test_a_callback_is_a_path_of_names(text: str) -> None:
    """A page may name any function that it can reach by dots."""
    assert check_callback(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "9", "a b", "a()", "alert(1)//", "a[0]", "a\n", "é", "</script>", "a;b", "a" * 129],
)
def test_anything_else_is_no_callback(text: str) -> None:
    """What is not a path of names never gets into a script."""
    with pytest.raises(BadParameter):
        check_callback(text)


@pytest.mark.parametrize(
    "text",
    ["https://app.example", "http://localhost:8080", "http://127.0.0.1:1", "https://[::1]:7080", "https://a_b.c-d.e"],
)
def test_an_origin_is_spelled_as_browsers_spell_it(text: str) -> None:
    """A page of another origin names that origin as its browser does."""
    assert check_origin(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "/",
        "null",
        "app.example",
        "https://",
        "https://app.example/",
        "https://App.example",
        "https://a:b@c",
        "https://a:0",
        "https://a:123456",
        'https://a"',
        "https://a\n",
        "https://é",
        "javascript:x",
        "file:///",
        "https://[::1",
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    """Messages are never posted to every origin, nor to what is none."""
    with pytest.raises(BadParameter):
        check_origin(text)


def prelude_of(framing: Iframe) -> str:
    """The first script of the document."""
    reader = IframeReader(framing.content_type)
    reader.feed(framing.open(OPENING))
    assert reader.prelude is not None
    return reader.prelude


def test_a_page_of_the_same_origin_is_called() -> None:
    """The parent's function is called with the objects, after the script's element is gone."""
    prelude = prelude_of(Iframe("app.received"))
    assert prelude.index("removeChild(script)") < prelude.index("parent.app.received(JSON.parse(text))")
    assert "postMessage" not in prelude


def test_a_page_of_another_origin_gets_messages_for_it_alone() -> None:
    """Messages for a parent of another origin are posted to exactly that origin."""
    assert 'parent.postMessage(JSON.parse(text),"https://app.example")' in prelude_of(
        Iframe(origin="https://app.example")
    )


@pytest.mark.parametrize("padding", [0, 2048])
def test_a_document_starts_with_padding(padding: int) -> None:
    """The document is long enough from the start for browsers that wait for the first bytes."""
    body = Iframe(padding=padding).open(OPENING)
    assert body.startswith(b"<!doctype html><meta charset=utf-8><!--%b-->" % (b" " * padding))


def test_a_block_is_one_script() -> None:
    """All messages of a block are handed over at once."""
    page = Page([MESSAGE, MESSAGE], WHERE, Gap(WHERE, WHERE))
    assert Iframe().page(page).count(b"<script>") == 1


def test_bye_closes_the_multipart() -> None:
    """A program that reads ``mixed`` sees the closing delimiter when the daemon ends the stream."""
    framing = Mixed("abc")
    reader = MixedReader(framing.content_type)
    reader.feed(framing.open(OPENING))
    assert not reader.closed
    reader.feed(framing.control(Bye("draining", 500)))
    assert reader.closed


def test_part_headers_are_ascii() -> None:
    """Neither a topic nor a pattern brings a byte into a part's header that is not printable ASCII."""
    framing = Mixed("abc")
    body = framing.control(Topics(("größe/\u2028",), WHERE)) + framing.control(Beat(WHERE))
    body += framing.page(Page([Message("größe/100% \U0001f4a9", b"", "", 0.0, 7)], WHERE))
    assert body.isascii()
    assert b"Comet-Topic: gr%C3%B6%C3%9Fe/100%25%20%F0%9F%92%A9\r\n" in body
    assert b'"gr\\u00f6\\u00dfe/\\u2028"' in body
