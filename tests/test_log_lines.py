"""The lines of ``comet log export``, which ``comet log import`` reads, and what can be asked for."""

from __future__ import annotations

import argparse
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.commands.log.bounds import Bounds, bound
from comet.commands.log.objects import Given, Missing, read, written
from comet.errors import CometError
from comet.message import Message, Position

EPOCH = b"5f0c1a2b"


def message(payload: bytes, content_type: str = "", topic: str = "a/b") -> Message:
    """A message to be written."""
    return Message(topic, payload, content_type, 1_790_000_000.125, 42)


@pytest.mark.parametrize(
    ("payload", "content_type", "member"),
    [
        (b"hello", "", "data"),
        (b"", "", "data"),
        (b'"', "text/plain", "data"),
        (b"\xff\x00", "", "data64"),
        (b"\xff\x00", "image/png", "data64"),
        (b'"a text"', "application/json", "data"),
        (b'"not JSON', "text/plain", "data"),
        (b"null", "application/json", "data"),
        (b'{"a": [1, 2]}', "application/json; charset=utf-8", "data"),
        ("\u2028 \U0001f600 </script>".encode(), "", "data"),
    ],
)
def test_each_payload_comes_back(payload: bytes, content_type: str, member: str) -> None:
    """What is exported is imported as it was, and the line looks as on the transport ``stream``."""
    line = written(EPOCH, message(payload, content_type))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert member in json.loads(line)
    found = read(line)
    assert isinstance(found, Given)
    assert (found.draft.topic, found.draft.payload, found.draft.content_type) == ("a/b", payload, content_type)
    assert (found.position, found.time) == (Position("5f0c1a2b", 42), 1_790_000_000.125)


@given(st.binary(max_size=40), st.sampled_from(["", "text/plain", "image/png"]))
def test_any_payload_comes_back(payload: bytes, content_type: str) -> None:
    """That holds whatever the bytes are."""
    found = read(written(EPOCH, message(payload, content_type, 'a/",\\"data')))
    assert isinstance(found, Given)
    assert (found.draft.topic, found.draft.payload, found.draft.content_type) == (
        'a/",\\"data',
        payload,
        content_type,
    )


def test_line_breaks_of_json() -> None:
    """Line breaks between the parts of a JSON value become spaces: the value is the same."""
    found = read(written(EPOCH, message(b'{\r\n"a": 1}', "application/json")))
    assert isinstance(found, Given)
    assert found.draft.payload == b'{  "a": 1}'


@pytest.mark.parametrize(
    ("line", "payload", "content_type"),
    [
        (b'{"topic":"a","data":"x"}', b"x", ""),
        (b'{"topic":"a","data":{"b":1}}', b'{"b":1}', "application/json"),
        (b'{"topic":"a","data64":"/w=="}', b"\xff", ""),
        (b'{"topic":"a","data":"x","type":"text/html"}', b"x", "text/html"),
    ],
)
def test_lines_of_a_batch(line: bytes, payload: bytes, content_type: str) -> None:
    """What is published in batches over HTTP can be imported, too."""
    found = read(line)
    assert isinstance(found, Given)
    assert (found.draft.payload, found.draft.content_type) == (payload, content_type)
    assert (found.position, found.time) == (None, None)


def test_control_lines() -> None:
    """A gap says up to where messages are missing; whatever else the daemon says in a stream is passed over."""
    gap = read(b'{"comet":"gap","since":"5f0c1a2b-1","until":"5f0c1a2b-7"}')
    assert gap == Missing(Position("5f0c1a2b", 7))
    assert read(b'{"comet":"beat","position":"5f0c1a2b-7"}') is None


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"hello", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"topic":"a","dta":1}', "unknown field `dta`"),
        (b'{"topic":"a"}', "either the member data"),
        (b'{"topic":"a","data":1,"data64":""}', "either the member data"),
        (b'{"topic":"a","data64":"?"}', "not base64"),
        (b'{"topic":"a*","data":1}', "a topic has no '*'"),
        (b'{"topic":"$stats","data":1}', "belong to the daemon"),
        (b'{"topic":"a","data":1,"time":-1}', "no time"),
        (b'{"topic":"a","data":1,"id":"7"}', "not a position"),
        (b'{"topic":"a","data":1,"type":"\\u00e9"}', "not a content type"),
        (b'{"topic":"a","data":1,"time":"now"}', "Expected `float | null`"),
    ],
)
def test_what_is_no_message(line: bytes, detail: str) -> None:
    """A line that is neither says what is wrong with it."""
    with pytest.raises(CometError) as caught:
        read(line)
    assert detail in caught.value.detail


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5f0c1a2b-1042", Position("5f0c1a2b", 1042)),
        ("1790000000.5", 1_790_000_000.5),
        ("2026-09-21T14:13:20Z", 1_790_000_000.0),
        ("2026-09-21T16:13:20+02:00", 1_790_000_000.0),
        ("2026-09-21", time.mktime((2026, 9, 21, 0, 0, 0, 0, 0, -1))),
    ],
)
def test_bound(text: str, wanted: object) -> None:
    """A bound is a position or a time, as positions and times are written."""
    assert bound(text) == wanted


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1.5h", 5_400), ("7d", 604_800), ("90m", 5_400)])
def test_how_long_ago(text: str, seconds: int) -> None:
    """Or it is how long ago."""
    found = bound(text)
    assert isinstance(found, float)
    assert abs(time.time() - seconds - found) < 60


@pytest.mark.parametrize("text", ["", "yesterday", "5", "2026-13-01", "-5h"])
def test_what_is_no_bound(text: str) -> None:
    """Anything else is refused with what can be written."""
    with pytest.raises(argparse.ArgumentTypeError, match="90m"):
        bound(text)


def test_positions_of_another_epoch() -> None:
    """A position of another log means nothing here."""
    with pytest.raises(SystemExit, match="is no position of this file, whose positions begin with 5f0c1a2b-"):
        Bounds.of(Position("00000001", 1), None, "5f0c1a2b")
