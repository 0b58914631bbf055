"""From a request's query and headers to what it wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from comet.audience import Interest
from comet.config import Config
from comet.delivery import ONE_SHOT
from comet.errors import (
    BadParameter,
    BadPattern,
    BadSince,
    CometError,
    TooManyPatterns,
    UnknownTransport,
)
from comet.message import Position
from comet.transports import TRANSPORTS
from comet.web.negotiate import PARAMETERS, Asked, negotiate

CONFIG = Config(origin=("https://shop.example",), max_patterns=3)


def interest(patterns: Sequence[str] = ("news",), /, accept: str = "", last: str = "", **query: str) -> Interest:
    """What such a request wants."""
    return wanted(Asked(patterns, {name: [value] for name, value in query.items()}, accept, last))


def wanted(asked: Asked) -> Interest:
    """What ``asked`` comes to."""
    transport, found = negotiate(asked, CONFIG)
    assert transport.name == found.key.transport
    assert transport.delivery is found.key.delivery
    return found


def test_a_plain_request_is_a_poll_for_what_comes() -> None:
    """Without any wish: a poll, from now on, held as long as the daemon likes."""
    found = interest()
    assert [pattern.text for pattern in found.key.patterns] == ["news"]
    assert (found.key.transport, found.key.delivery, found.key.conflate, found.key.pace) == ("poll", ONE_SHOT, False, 0)
    assert (found.since, found.limit, found.wait) == ("now", CONFIG.page_messages, CONFIG.silence)


@pytest.mark.parametrize(
    ("accept", "transport"),
    [
        ("", "poll"),
        ("*/*", "poll"),
        ("application/json", "poll"),
        ("text/plain, text/*", "poll"),
        ("text/event-stream", "sse"),
        ("Text/Event-Stream; charset=utf-8", "sse"),
        ("text/event-stream, */*", "sse"),
        ("application/json, text/event-stream", "sse"),
        ("application/x-ndjson", "stream"),
        ("multipart/x-mixed-replace", "multipart"),
        ("image/*", "multipart"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "multipart"),
        ("multipart/mixed", "mixed"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "iframe"),
        (",;,=", "poll"),
        ("text/event-streams", "poll"),
    ],
)
def test_the_accept_header_chooses_the_transport(accept: str, transport: str) -> None:
    """What a browser or a program accepts says how messages come."""
    assert interest(accept=accept).key.transport == transport


@pytest.mark.parametrize("transport", [transport.name for transport in TRANSPORTS])
def test_a_named_transport_beats_the_accept_header(transport: str) -> None:
    """Every transport can be asked for by its name, whatever the client accepts."""
    assert interest(accept="text/event-stream", transport=transport).key.transport == transport


def test_an_upgrade_means_websocket_unless_another_transport_is_named() -> None:
    """A request for a WebSocket is one without saying so again."""
    assert wanted(Asked(["a"], {}, "text/html", upgrade=True)).key.transport == "websocket"
    assert wanted(Asked(["a"], {"transport": ["websocket"]}, upgrade=True)).key.transport == "websocket"
    assert wanted(Asked(["a"], {"transport": ["sse"]}, upgrade=True)).key.transport == "sse"


def test_images_are_conflated_unless_asked_otherwise() -> None:
    """Of a camera only the newest picture matters; a flag changes that, on every transport."""
    assert interest(transport="multipart").key.conflate
    assert not interest(transport="multipart", conflate="0").key.conflate
    assert interest(transport="sse", conflate="").key.conflate


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("now", "now"),
        ("first", "first"),
        ("last", "last"),
        ("-5", 5),
        ("5f0c1a2b-1042", Position("5f0c1a2b", 1042)),
    ],
)
def test_where_to_start(text: str, since: Any) -> None:
    """``since`` in each of its forms, in the query or as an EventSource sends it."""
    assert interest(since=text).since == since
    assert interest(last=text).since == since


def test_the_last_event_id_beats_since() -> None:
    """A reconnecting EventSource repeats its old URL: its header is newer."""
    assert interest(since="first", last="5f0c1a2b-7").since == Position("5f0c1a2b", 7)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("wait", "0", "wait", 0),
        ("wait", "0.5", "wait", 0.5),
        ("wait", "60", "wait", 60),
        ("limit", "1", "limit", 1),
        ("limit", "10000", "limit", 10_000),
    ],
)
def test_numbers_are_taken_over(name: str, text: str, attribute: str, value: float) -> None:
    """A number within its range is what the subscription gets."""
    assert getattr(interest((("news"),), **{name: text}), attribute) == value


def test_the_pace_is_in_milliseconds() -> None:
    """The query counts milliseconds, the daemon seconds."""
    assert interest(pace="250").key.pace == 0.25


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("wait", text) for text in ("", "-1", "61", "1e1", "nan", "inf", "0x1", "+1", " 1", "٣", "1.", "9" * 400)),
        *(("limit", text) for text in ("", "0", "10001", "0.5", "ten")),
        *(("pace", text) for text in ("-1", "60001", "fast")),
        *(("padding", text) for text in ("-1", "65537", "x")),
        *(("conflate", text) for text in ("2", "maybe", "on")),
        *(("format", text) for text in ("", "xml", "RAW")),
        *(("callback", text) for text in ("", "alert(1)", "a;b", "a b", "</script>", "1a")),
        *(("origin", text) for text in ("https://evil.example", "null", "*", "https://shop.example/", "shop.example")),
    ],
)
def test_a_value_out_of_its_range_is_refused(name: str, text: str) -> None:
    """Each parameter says what it may be, and shows what it was given."""
    transport = "iframe" if name in ("callback", "origin") else "sse"
    with pytest.raises(BadParameter) as refused:
        interest(transport=transport, **{name: text})
    assert name in refused.value.detail
    assert len(refused.value.detail) < 250


@pytest.mark.parametrize("since", ["yesterday", "-", "--1", "-0x1", "1-1", "5f0c1a2b-", "5F0C1A2B-1", "-99999999999"])
def test_a_start_that_is_none_is_refused(since: str) -> None:
    """A misspelt position would otherwise lose messages silently."""
    with pytest.raises(BadSince):
        interest(since=since)
    with pytest.raises(BadSince):
        interest(last=since)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("sinse", "since"), ("transprt", "transport"), ("topics", "topic"), ("Since", "since"), ("callbak", "callback")],
)
def test_an_unknown_parameter_is_refused_with_a_hint(name: str, hint: str) -> None:
    """Whoever misspells a parameter is told which one was probably meant."""
    with pytest.raises(BadParameter, match=f"did you mean {hint}"):
        interest(**{name: "x"})


def test_a_parameter_that_is_like_nothing_is_refused_too() -> None:
    """Without a hint, and shortened."""
    with pytest.raises(BadParameter) as refused:
        interest(**{"x" * 1000: "1"})
    assert "did you mean" not in refused.value.detail
    assert len(refused.value.detail) < 150


@pytest.mark.parametrize("name", [parameter.name for parameter in PARAMETERS if not parameter.repeats])
def test_a_parameter_is_there_once(name: str) -> None:
    """Of two values nobody knows which one counts."""
    with pytest.raises(BadParameter, match="2 times"):
        negotiate(Asked(["a"], {name: ["1", "1"]}), CONFIG)


def test_topics_come_from_the_path_and_the_query() -> None:
    """Any number of them, each once, in one subscription."""
    found = wanted(Asked(["news"], {"topic": ["sport/*", "news"]}))
    assert {pattern.text for pattern in found.key.patterns} == {"news", "sport/*"}


def test_the_order_of_topics_makes_no_difference() -> None:
    """Whoever wants the same shares the same bytes."""
    one = wanted(Asked([], {"topic": ["a", "b"]}))
    other = wanted(Asked([], {"topic": ["b", "a"]}))
    assert one.key == other.key


@pytest.mark.parametrize("patterns", [[], [""], ["a//b"], ["/a"], ["a/"], ["**/a"], ["a*"], ["\n"], ["x" * 256]])
def test_what_is_no_pattern_is_refused(patterns: list[str]) -> None:
    """Also none at all."""
    with pytest.raises(BadPattern):
        negotiate(Asked(patterns, {}), CONFIG)


def test_too_many_patterns_are_refused() -> None:
    """In path and query together, and before any of them is looked at."""
    with pytest.raises(TooManyPatterns, match="max-patterns"):
        negotiate(Asked(["a"], {"topic": ["b", "c", "//"]}), CONFIG)


def test_an_unknown_transport_is_refused() -> None:
    """With the list of those there are."""
    with pytest.raises(UnknownTransport, match="poll, stream, sse"):
        interest(transport="carrier pigeon")


def test_a_format_belongs_to_a_transport() -> None:
    """``raw`` is for SSE and for what is raw anyway; lines and polls are always JSON."""
    interest(transport="sse", format="raw")
    interest(transport="multipart", format="raw")
    for transport, format_ in (("poll", "raw"), ("stream", "raw"), ("multipart", "json")):
        with pytest.raises(BadParameter, match=f"the transport {transport} has"):
            interest(transport=transport, format=format_)


def test_a_listed_origin_may_be_the_parent_of_a_frame() -> None:
    """The frame then hands its messages to pages of that origin."""
    framing: Any = interest(transport="iframe", origin="https://shop.example", callback="a.b").key.framing
    assert (framing.origin, framing.callback) == ("https://shop.example", "a.b")


def test_a_parameter_against_caches_is_ignored() -> None:
    """``_`` may be anything, once."""
    assert interest(_="1234").key == interest().key


def test_nothing_but_a_refusal_comes_of_any_value() -> None:
    """Whatever is asked for, the answer is an interest or a refusal."""
    values = ("", "0", "-1", "\x00", "\ud800", "💥" * 300, "1" * 5000, "a/b", "first")
    for parameter in PARAMETERS:
        for value in values:
            try:
                interest(**{parameter.name: value})
            except CometError as error:
                assert error.status == 400
