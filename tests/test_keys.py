"""Idempotency keys."""

from __future__ import annotations

import pytest

from comet.errors import TooManyKeys
from comet.keys import Keys
from comet.message import Draft

FIRST = Draft("news", b"one", key="k")


def test_key_is_known_for_the_window() -> None:
    """A repeat within the window is recognised, one after it is not."""
    keys = Keys(10.0, 5)
    keys.remember(FIRST, 7, now=100.0)
    keys.expire(109.9)
    assert keys.known(FIRST) == 7
    keys.expire(110.0)
    assert keys.known(FIRST) is None
    assert len(keys) == 0


def test_key_belongs_to_its_topic() -> None:
    """The same key on another topic is another key."""
    keys = Keys(10.0, 5)
    keys.remember(FIRST, 7, now=100.0)
    assert keys.known(Draft("sport", b"one", key="k")) is None


def test_payload_makes_no_difference() -> None:
    """A repeat is known by topic and key, whatever it carries."""
    keys = Keys(10.0, 5)
    keys.remember(FIRST, 7, now=100.0)
    assert keys.known(Draft("news", b"two", key="k")) == 7


def test_full_memory_refuses() -> None:
    """No key is forgotten early; a new one is refused until there is room."""
    keys = Keys(10.0, 2)
    for number in range(2):
        keys.remember(Draft("news", b"", key=str(number)), number, now=100.0 + number)
    with pytest.raises(TooManyKeys, match="max-keys"):
        keys.remember(FIRST, 9, now=102.0)
    assert keys.known(FIRST) is None
    keys.expire(110.0)
    keys.remember(FIRST, 9, now=110.0)
    assert keys.known(FIRST) == 9


def test_forgotten_key_is_new() -> None:
    """A publish that failed leaves its key free."""
    keys = Keys(10.0, 5)
    keys.remember(FIRST, 7, now=100.0)
    keys.forget(FIRST, 7)
    assert keys.known(FIRST) is None
    keys.forget(FIRST, 7)


def test_clock_that_was_set_forward_and_back_holds_nothing_up() -> None:
    """Keys of a time when the clock was wrong do not keep later ones from expiring."""
    keys = Keys(10.0, 5)
    keys.remember(FIRST, 1, now=5_000.0)
    keys.remember(Draft("news", b"", key="later"), 2, now=100.0)
    keys.expire(5_010.0)
    assert len(keys) == 0
