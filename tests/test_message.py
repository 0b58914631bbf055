"""The values that travel."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.errors import BadSince
from comet.message import Draft, Message, Position


@given(st.text("0123456789abcdef", min_size=8, max_size=32), st.integers(0, 10**18 - 1))
def test_position_reads_back(epoch: str, offset: int) -> None:
    """A position that was given out is understood when it comes back."""
    assert Position.parse(str(Position(epoch, offset))) == Position(epoch, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "5f0c1a2b",
        "5f0c1a2b-",
        "-5",
        "5f0c1a2b--1",
        "5f0c1a2b-01",
        "5F0C1A2B-1",
        "5f0c1a2-1",
        "5f0c1a2b-1 ",
        "5f0c1a2b-1\n",
        "5f0c1a2b-٣",
        "5f0c1a2b-1000000000000000000",
        "0" * 33 + "-1",
        "last",
        "\ud800",
        "5f0c1a2b-" + "9" * 10_000,
    ],
)
def test_what_is_not_a_position_is_refused(text: str) -> None:
    """A position is only what was given out; the refusal shows at most a part of a long one."""
    with pytest.raises(BadSince) as refusal:
        Position.parse(text)
    assert len(refusal.value.detail) < 200


def test_messages_are_out_of_the_collectors_sight() -> None:
    """Millions of retained messages do not slow the garbage collector down."""
    assert not gc.is_tracked(Message("a", b"", "", 0.0, 1))
    assert not gc.is_tracked(Draft("a", b""))
