"""Token buckets: how much goes through at once, how much in the long run, and what is remembered of whom."""

from __future__ import annotations

from math import isclose

from hypothesis import given
from hypothesis import strategies as some

from comet.limits.buckets import Buckets


def test_a_full_bucket_gives_its_burst_at_once() -> None:
    """Ten a second for three seconds: thirty at once, and no more."""
    buckets = Buckets(10, 3)
    assert buckets.most_at_once == 30
    assert [buckets.take("a", 1, 5.0) for _ in range(30)] == [0.0] * 30
    assert isclose(buckets.take("a", 1, 5.0), 0.1)


def test_what_is_refused_takes_nothing() -> None:
    """Asking in vain does not put off when it will not be in vain."""
    buckets = Buckets(10, 1)
    assert buckets.take("a", 10, 0.0) == 0.0
    waits = {round(buckets.take("a", 5, 0.0), 9) for _ in range(100)}
    assert waits == {0.5}
    assert buckets.take("a", 5, 0.5) == 0.0


def test_whoever_waits_as_told_goes_through() -> None:
    """What is told as the time to wait is enough, and not more than enough."""
    buckets = Buckets(7, 2)
    now = 1e6
    for _ in range(100):
        while not (wait := buckets.take("a", 3, now)):
            pass
        assert buckets.take("a", 3, now + wait * 0.99) > 0
        now += wait


def test_each_has_a_bucket_of_their_own() -> None:
    """One who takes everything takes nothing from another."""
    buckets = Buckets(1, 5)
    assert buckets.take("a", 5, 0.0) == 0.0
    assert buckets.take("a", 1, 0.0) > 0
    assert buckets.take("b", 5, 0.0) == 0.0


def test_one_at_a_time_always_goes() -> None:
    """A rate whose burst is less than one still lets one through, and another when its time has come."""
    buckets = Buckets(1, 0.001)
    assert buckets.take("a", 1, 0.0) == 0.0
    assert isclose(buckets.take("a", 1, 0.25), 0.75)
    assert buckets.take("a", 1, 1.0) == 0.0


def test_giving_back() -> None:
    """What nothing came of is there again."""
    buckets = Buckets(1, 4)
    assert buckets.take("a", 4, 0.0) == 0.0
    buckets.give_back("a", 3)
    assert buckets.take("a", 3, 0.0) == 0.0
    assert buckets.take("a", 1, 0.0) > 0


def test_those_who_do_not_come_are_forgotten() -> None:
    """After a burst's time, and at most another, nothing is kept of somebody."""
    buckets = Buckets(10, 2)
    buckets.sweep(0.0)
    for number in range(1_000):
        buckets.take(f"{number}", 1, 1.0)
    assert len(set(buckets)) == 1_000
    for second in (2.0, 3.0, 4.0):
        buckets.sweep(second)
    assert len(set(buckets)) == 0


def test_a_flood_of_others_is_bounded_and_makes_no_offender_forgotten() -> None:
    """However many come once, the memory has a bound, and who keeps coming is kept to the rate."""
    buckets = Buckets(10, 10, most=100)
    taken = 0
    for number in range(50_000):
        buckets.take(f"{number}", 1, number * 1e-5)
        if number % 10 == 0:
            taken += buckets.take("offender", 1, number * 1e-5) == 0.0
        assert len(set(buckets)) <= 200
    assert 100 <= taken <= 105


def test_a_clock_that_is_put_back_locks_nobody_out() -> None:
    """An hour earlier than before, everybody waits no longer than a bucket takes to be full."""
    buckets = Buckets(10, 2)
    assert buckets.take("a", 20, 10_000.0) == 0.0
    assert isclose(buckets.take("a", 5, 6_400.0), 0.5)
    assert buckets.take("a", 5, 6_400.5) == 0.0
    assert buckets.take("b", 20, 6_400.5) == 0.0


def test_the_use_of_the_one_who_uses_most() -> None:
    """How near the nearest is to being refused."""
    buckets = Buckets(10, 2)
    assert buckets.fullest_use(0.0) == 0.0
    buckets.take("a", 5, 0.0)
    buckets.take("b", 15, 0.0)
    assert isclose(buckets.fullest_use(0.0), 0.75)
    assert isclose(buckets.fullest_use(1.0), 0.25)
    assert buckets.fullest_use(5.0) == 0.0


steps = some.lists(
    some.tuples(some.sampled_from("abc"), some.integers(0, 12), some.sampled_from((0.0, 0.01, 0.3, 1.0, 2.0, 7.0))),
    max_size=200,
)


@given(steps, some.sampled_from((1, 3, 10)), some.sampled_from((0.5, 2.0, 5.0)))
def test_never_more_than_the_burst_and_the_rate(taking: list[tuple[str, int, float]], rate: int, burst: float) -> None:
    """In any span of time nobody gets more than a burst and what the rate brings; and a bucket that is modelled by how
    much is in it says the same at each step."""
    buckets = Buckets(rate, burst)
    size = rate * buckets.burst
    content: dict[str, tuple[float, float]] = {}
    granted: dict[str, list[tuple[float, int]]] = {}
    now = 100.0
    for key, count, pause in taking:
        now += pause
        there, since = content.get(key, (size, now))
        there = min(size, there + (now - since) * rate)
        wait = buckets.take(key, count, now)
        if abs(there - count) < 1e-6:
            content[key] = (0.0 if not wait else there, now)
        elif there > count:
            assert wait == 0.0
            content[key] = (there - count, now)
        else:
            assert isclose(wait, (count - there) / rate, abs_tol=1e-6)
            content[key] = (there, now)
        if not wait:
            granted.setdefault(key, []).append((now, count))
        buckets.sweep(now)
    for each in granted.values():
        for first, (begin, _) in enumerate(each):
            total = 0
            for end, count in each[first:]:
                total += count
                assert total <= size + rate * (end - begin) + 1e-6
