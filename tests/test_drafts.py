"""The border that every publisher crosses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.drafts import JSON, draft, is_json, topic_of
from comet.errors import BadContentType, BadJSON, BadKey, BadTopic, CometError, PayloadTooLarge
from comet.message import Draft


def made(payload: bytes = b"x", content_type: str = "", key: str = "", topic: str = "news") -> Draft:
    return draft(topic, payload, content_type, key, largest=1_000_000)


def test_what_is_right_is_taken_as_it_is() -> None:
    """Topic, payload, type and key of a good publish are not touched."""
    assert made(b"\xff\0", "image/png", "k 1") == Draft("news", b"\xff\0", "image/png", "k 1")


@pytest.mark.parametrize("size", [0, 10])
def test_payload_up_to_the_limit_is_taken(size: int) -> None:
    """A payload may be empty, and as large as the limit."""
    assert len(draft("news", b"x" * size, largest=10).payload) == size


def test_payload_over_the_limit_is_refused() -> None:
    """A payload that is one byte too large is refused, with the limit in the answer."""
    with pytest.raises(PayloadTooLarge, match="at most 10"):
        draft("news", b"x" * 11, largest=10)


def test_bad_topic_is_refused() -> None:
    """Nobody publishes on a pattern."""
    with pytest.raises(BadTopic):
        made(topic="news/*")


def test_topic_that_is_not_text_is_refused() -> None:
    """The bytes of a topic are UTF-8."""
    assert topic_of("é".encode()) == "é"
    with pytest.raises(BadTopic, match="UTF-8"):
        topic_of(b"\xff")


@pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x"])
def test_form_content_type_counts_as_none(form: str) -> None:
    """What ``curl -d`` sends says nothing about the payload."""
    assert made(content_type=form).content_type == ""


@pytest.mark.parametrize(
    "content_type",
    ["text/plain\r\nX: y", "\ttext/plain", "text/plain\n", " text/plain", "é", "a" * 129, "a\x7f", "\x80"],
)
def test_content_type_that_could_forge_a_header_is_refused(content_type: str) -> None:
    """A content type is repeated in headers, so it is printable ASCII of at most 128 characters."""
    with pytest.raises(BadContentType):
        made(content_type=content_type)


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", "Application/JSON", "application/json ;x"]
)
def test_json_is_known_however_it_is_written(content_type: str) -> None:
    """A JSON content type counts with parameters and in any case."""
    assert is_json(made(b'{"a":1}', content_type).content_type)
    with pytest.raises(BadJSON):
        made(b"{", content_type)


@pytest.mark.parametrize("content_type", ["application/json-seq", "application/jsonp", "text/json", ""])
def test_other_types_are_not_json(content_type: str) -> None:
    """A type that only looks like JSON is not looked into."""
    assert not is_json(made(b"{", content_type).content_type)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"NaN",
        b"01",
        b"1 2",
        b"[1]\0",
        b'"a\nb"',
        b'"\0"',
        b'"\xff"',
        b'{"\xff":1}',
        b"\xef\xbb\xbf1",
        b"'a'",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"\\ud800"',
        '"\ud800"'.encode("utf-8", "surrogatepass"),
    ],
)
def test_payload_that_is_not_json_is_refused(payload: bytes) -> None:
    """A payload that claims to be JSON is, or it would break every other message of the same answer."""
    with pytest.raises(BadJSON) as refusal:
        made(payload, JSON)
    refusal.value.detail.encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_is_json_is_taken(value: object, ascii_only: bool, indent: int | None) -> None:
    """Any JSON value is taken, and its bytes are not touched."""
    payload = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8")
    assert made(payload, JSON).payload == payload


@given(st.binary(max_size=40))
def test_what_is_taken_for_json_is_json(payload: bytes) -> None:
    """What the border lets through, any JSON parser reads."""
    try:
        made(payload, JSON)
    except CometError:
        return
    json.loads(payload.decode(), parse_constant=lambda text: pytest.fail(f"{text} was taken"))


@pytest.mark.parametrize("key", ["a\n", "\0", "\x7f", "a" * 256, "\ud800", "\x9f"])
def test_bad_key_is_refused(key: str) -> None:
    """An idempotency key has 1 to 255 characters, none of them a control character."""
    with pytest.raises(BadKey) as refusal:
        made(key=key)
    refusal.value.detail.encode()


@pytest.mark.parametrize("key", ["a", "a" * 255, "é ü", "550e8400-e29b-41d4-a716-446655440000"])
def test_good_key_is_taken(key: str) -> None:
    """Anything else is a key."""
    assert made(key=key).key == key
