"""The busiest topics, and the rates of the last seconds."""

from __future__ import annotations

from typing import Any

import pytest

from comet.message import Draft
from comet.stats import figures
from comet.stats.figures import Figures
from tests.fakes import House, Subscriber


class Watched:
    """A router, and its figures, which are taken once a second."""

    def __init__(self, **settings: Any) -> None:
        self.house = House(**settings)
        self.figures = Figures(self.house.router, self.house.clock)
        self.figures.each_second()

    def second(self, *drafts: Draft) -> None:
        """Let a second pass in which ``drafts`` are published."""
        self.house.publish(*drafts)
        self.house.clock.advance(1)
        self.figures.each_second()

    def rates(self) -> dict[str, float]:
        """The messages a second of the busiest topics, in their order."""
        return {each["topic"]: each["published"] for each in self.figures.busiest(20)}


def drafts(**counts: int) -> list[Draft]:
    """So many messages of each topic, mixed as evenly as can be."""
    every = [(number / count, name) for name, count in counts.items() for number in range(count)]
    return [Draft(name, b"12345") for _, name in sorted(every)]


def test_the_busiest_topics_of_the_last_second() -> None:
    """In their order, with messages and bytes a second, and who hears them."""
    watched = Watched()
    Subscriber(watched.house, "b")
    watched.second(*drafts(old=50))
    watched.second(*drafts(a=2, b=7))
    assert watched.figures.busiest(20) == [
        {"topic": "b", "published": 7.0, "published_bytes": 35.0, "retained": 7, "subscribers": 1},
        {"topic": "a", "published": 2.0, "published_bytes": 10.0, "retained": 2, "subscribers": 0},
    ]
    assert [each["topic"] for each in watched.figures.busiest(1)] == ["b"]


def test_no_topic_is_busy_when_nothing_happens() -> None:
    """What came before the last second does not count, and what came after it will."""
    watched = Watched()
    assert watched.rates() == {}
    watched.second(*drafts(a=5))
    watched.second()
    watched.house.publish(Draft("b", b""))
    assert watched.rates() == {}


def test_the_daemons_own_topics_are_not_listed() -> None:
    """They would be the busiest of an idle daemon."""
    watched = Watched()
    watched.house.router.report([Draft("$stats/daemon", b"{}")])
    watched.second(Draft("a", b""))
    assert list(watched.rates()) == ["a"]


def test_of_very_many_messages_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates are right all the same, if the newest are like the others."""
    monkeypatch.setattr(figures, "LOOKED_AT", 100)
    watched = Watched()
    watched.second(*drafts(a=800, b=200))
    assert watched.rates() == {"a": pytest.approx(800, rel=0.1), "b": pytest.approx(200, rel=0.1)}


def test_a_topic_of_which_little_is_retained() -> None:
    """Its rate is not that of the messages that are left."""
    watched = Watched(retain_messages=10)
    watched.second(*drafts(a=800, b=200, c=5))
    assert watched.rates() == {
        "a": pytest.approx(800, rel=0.15),
        "b": pytest.approx(200, rel=0.15),
        "c": pytest.approx(5, rel=0.3),
    }


def test_a_daemon_that_took_over_begins_with_nothing() -> None:
    """The messages of its predecessor did not all come in its first second."""
    house = House()
    house.publish(*drafts(a=50))
    taken = Figures(house.router, house.clock)
    house.clock.advance(1)
    taken.each_second()
    assert taken.busiest(20) == []
