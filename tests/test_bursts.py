"""Bursts: a few are let through, the others are counted."""

from __future__ import annotations

from comet.logs.bursts import MORE, MOST_KEYS, Bursts


def test_a_few_are_let_through() -> None:
    """Of the same thing five pass in a window of ten seconds; of something else as many again."""
    bursts = Bursts()
    assert [bursts.admits("a", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert bursts.admits("b", 100.0)


def test_the_others_are_told_when_the_window_is_over() -> None:
    """Once, with their number; then a new window begins."""
    bursts = Bursts()
    for _ in range(2316):
        bursts.admits("a", 100.0)
    assert list(bursts.over(109.9)) == []
    (burst,) = bursts.over(110.0)
    assert (MORE + "{key}").format(key=burst.key, **burst.fields()) == "… and 2,311 more of these in 10 s: a"
    assert list(bursts.over(200.0)) == []
    assert bursts.admits("a", 200.0)


def test_what_was_let_through_is_not_told_again() -> None:
    """Five in a window are five lines, and no more is said."""
    bursts = Bursts()
    for _ in range(5):
        bursts.admits("a", 100.0)
    assert list(bursts.over(111.0)) == []


def test_windows_end_in_their_order() -> None:
    """One that began later is still open when an earlier one is over."""
    bursts = Bursts(most=1)
    for key, now in (("a", 100.0), ("b", 105.0)):
        bursts.admits(key, now)
        bursts.admits(key, now)
    assert [burst.key for burst in bursts.over(112.0)] == ["a"]
    assert [burst.key for burst in bursts.over(float("inf"))] == ["b"]


def test_a_clock_that_is_set_back_ends_the_windows() -> None:
    """Nobody is silenced for the hours by which the clock was wrong."""
    bursts = Bursts(most=1)
    bursts.admits("a", 5000.0)
    bursts.admits("a", 5000.0)
    assert [burst.more for burst in bursts.over(100.0)] == [1]
    assert bursts.admits("a", 100.0)


def test_there_is_an_end_to_what_is_remembered() -> None:
    """Keys without number share one window."""
    bursts = Bursts()
    let_through = sum(bursts.admits(f"key {number}", 100.0) for number in range(5 * MOST_KEYS))
    assert let_through == MOST_KEYS + 5
