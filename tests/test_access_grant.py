"""What a grant covers: a wildcard must not widen it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.access.grant import EVERYTHING, NOTHING, Grant, covers
from comet.errors import Forbidden, Unauthorized
from comet.topics import Pattern

SEGMENTS = ("a", "b", "$s")
TOPICS = ["/".join(parts) for length in range(1, 6) for parts in product((*SEGMENTS, "other"), repeat=length)]
"""Every topic that patterns of up to four segments can tell apart."""

patterns = (
    st.tuples(
        st.lists(st.sampled_from((*SEGMENTS, "*")), max_size=3),
        st.sampled_from((*SEGMENTS, "*", "**")),
    )
    .map(lambda parts: "/".join([*parts[0], parts[1]]))
    .map(Pattern.parse)
)


def parsed(*texts: str) -> tuple[Pattern, ...]:
    """Patterns."""
    return tuple(map(Pattern.parse, texts))


@given(patterns, patterns)
def test_what_is_covered_is_granted(grant: Pattern, wanted: Pattern) -> None:
    """A grant covers a pattern exactly if it matches every topic that the pattern can match."""
    matched = [topic for topic in TOPICS if wanted.matches(topic)]
    assert covers(grant, wanted) == all(map(grant.matches, matched))


@given(patterns, patterns, patterns)
def test_covering_is_an_order(first: Pattern, second: Pattern, third: Pattern) -> None:
    """A pattern covers itself, and what is covered by what it covers."""
    assert covers(first, first)
    if covers(first, second) and covers(second, third):
        assert covers(first, third)


@pytest.mark.parametrize(
    ("grant", "wanted"),
    [
        ("chat/7", "chat/*"),
        ("chat/7", "chat/**"),
        ("chat/7", "**"),
        ("chat/*", "chat/**"),
        ("chat/*", "*/7"),
        ("chat/*", "*/*"),
        ("chat/*", "chat"),
        ("chat/**", "chat"),
        ("*", "**"),
        ("*/*", "**"),
        ("**", "$stats"),
        ("**", "$stats/**"),
        ("*/**", "**"),
        ("*/**", "$stats/*"),
        ("a/*/**", "a/**"),
    ],
)
def test_wildcard_widening(grant: str, wanted: str) -> None:
    """Nobody hears more by asking for a wildcard than they were granted."""
    holder = Grant(subject="alice", subscribe=parsed(grant))
    with pytest.raises(Forbidden, match="does not allow to subscribe"):
        holder.check_subscribe(parsed(wanted))
    with pytest.raises(Forbidden):
        holder.check_subscribe(parsed(grant, wanted))


def test_publish() -> None:
    """A holder publishes on the topics that their patterns match, and on no others."""
    holder = Grant(subject="alice", publish=parsed("chat/*"), subscribe=parsed("news"))
    holder.check_publish("chat/7")
    for topic in ("chat", "chat/7/a", "news"):
        with pytest.raises(Forbidden, match="publish on"):
            holder.check_publish(topic)


def test_topics_of_the_daemon() -> None:
    """They are for administrators, whatever else is granted."""
    stats = parsed("$stats/**")
    Grant(admin=True).check_subscribe(stats)
    Grant(subject="a", subscribe=stats).check_subscribe(stats)
    with pytest.raises(Forbidden):
        Grant(subject="a", subscribe=parsed("**")).check_subscribe(stats)
    with pytest.raises(Forbidden):
        Grant(admin=True).check_subscribe(parsed("chat/7"))


def test_consumers() -> None:
    """A holder uses the consumers that are named, or any; so does an administrator."""
    for grant in (Grant(consumers=("mail",)), Grant(consumers=("*",)), Grant(admin=True), EVERYTHING):
        grant.check_consumer("mail")
    for grant in (Grant(consumers=("mai",)), Grant(consumers=("**",))):
        with pytest.raises(Forbidden):
            grant.check_consumer("mail")
    with pytest.raises(Unauthorized):
        NOTHING.check_consumer("mail")


CHECKS: list[Callable[[Grant], None]] = [
    lambda grant: grant.check_publish("a"),
    lambda grant: grant.check_subscribe(parsed("a")),
    lambda grant: grant.check_subscribe(parsed("$stats")),
    lambda grant: grant.check_consumer("a"),
    lambda grant: grant.check_admin("see the statistics"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_everything_and_nothing(check: Callable[[Grant], None]) -> None:
    """Who may do everything is never refused. Who may do nothing is: to be told to bring a token, if nobody knows who
    they are, and otherwise that theirs is not for this."""
    check(EVERYTHING)
    with pytest.raises(Unauthorized, match="needs a token"):
        check(NOTHING)
    with pytest.raises(Forbidden, match="this token does not allow"):
        check(Grant(subject="alice"))
