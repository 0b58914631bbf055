"""What may be shown: no secrets, and nothing that is not text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.logs.masks import masked, masked_target, printable


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/topics/a?token=s3cret&since=last", "/topics/a?token=***&since=last"),
        ("/topics/a?since=last&access_token=s3cret", "/topics/a?since=last&access_token=***"),
        ("/topics/a?%74oken=s3cret", "/topics/a?%74oken=***"),
        ("/topics/a?TOKEN=s3cret", "/topics/a?TOKEN=***"),
        ("/topics/a?+token+=s3cret", "/topics/a?+token+=***"),
        ("/topics/a?token=a=b?c", "/topics/a?token=***"),
        ("/topics/a?authorization=Bearer%20s3cret", "/topics/a?authorization=***"),
        ("/topics/a?tokens=3", "/topics/a?tokens=3"),
        ("/topics/token", "/topics/token"),
    ],
)
def test_a_query_is_shown_without_its_secrets(target: str, shown: str) -> None:
    """However the name of the parameter is spelt."""
    assert masked_target(target) == shown


@pytest.mark.parametrize(
    "text",
    [
        "publishing takes no query; there is b'token=s3cret'",
        "GET /topics/a?x=1&access_token=s3cret HTTP/1.1",
        "GET /topics/a?x=1%26token%3ds3cret",
        "the line b'Authorization: Bearer s3cret' cannot be read",
        "the line b'authorization : s3cret'",
        "{b'Cookie': b'session=s3cret'}",
        "(b'cookie', b'a=1; session=s3cret')",
        "Set-Cookie: session=s3cret; HttpOnly",
        "Proxy-Authorization: Basic czNjcmV0s3cret=",
        '{"token":"s3cret"}',
        "it was sent as Bearer eyJhbGciOiJIUzI1NiJ9.s3cret.1",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """Wherever in a line it stands."""
    assert "s3cret" not in masked(text)
    assert "***" in masked(text)


@pytest.mark.parametrize("text", ["a token is missing", "basic settings", "tokens=3", "cookies are not used"])
def test_what_is_no_secret_is_left(text: str) -> None:
    """Words that only look a little like it stay."""
    assert masked(text) == text


def test_what_drives_a_terminal_is_escaped() -> None:
    """Line breaks, escapes, C1 controls, marks of direction, separators, lone surrogates."""
    hostile = "a\r\nb\x1b[2J\x9b1m\u202egnp\u2028\x00\x7f\udc80é…"
    assert printable(hostile) == "a\\r\\nb\\x1b[2J\\x9b1m\\u202egnp\\u2028\\x00\\x7f\\udc80é…"


@given(st.text())
def test_nothing_else_is_lost(text: str) -> None:
    """Whatever comes, what goes out is one line of UTF-8 that has no control characters, and is escaped once."""
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert all(character >= " " and not "\x7f" <= character <= "\x9f" for character in shown)
    assert printable(shown) == shown
