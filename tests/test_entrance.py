"""Where what is published goes, from the first publish to the last."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred, succeed

from comet.entrance import Entrance
from comet.errors import Draining
from comet.message import Draft

ONE, TWO = [Draft("a", b"1")], [Draft("a", b"2")]


class Place:
    """Takes drafts, and gives each a number."""

    def __init__(self) -> None:
        self.taken: list[Sequence[Draft]] = []

    def __call__(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        self.taken.append(drafts)
        return succeed([len(self.taken)])


def outcome(answer: Deferred[Sequence[int]]) -> object:
    """What the publisher got, or the error it got, or None if it still waits."""
    found: list[object] = []
    answer.addBoth(lambda result: found.append(getattr(result, "value", result)))
    return found[0] if found else None


@pytest.fixture
def inside() -> Place:
    return Place()


@pytest.fixture
def entrance(inside: Place) -> Entrance:
    return Entrance(inside)


def test_open(entrance: Entrance, inside: Place) -> None:
    """As a rule it leads to the log."""
    assert outcome(entrance.publish(ONE)) == [1]
    assert entrance.is_open


def test_held_and_opened(entrance: Entrance, inside: Place) -> None:
    """Who waited goes in, in the order of coming, once it is open again."""
    entrance.hold()
    answers = [entrance.publish(ONE), entrance.publish(TWO)]
    assert not entrance.is_open
    assert inside.taken == []
    entrance.open()
    assert [outcome(answer) for answer in answers] == [[1], [2]]
    assert inside.taken == [ONE, TWO]


def test_led_elsewhere(entrance: Entrance, inside: Place) -> None:
    """Who waited and who comes later is taken to the successor, even while the daemon stops."""
    elsewhere = Place()
    entrance.hold()
    answer = entrance.publish(ONE)
    entrance.lead_to(elsewhere)
    entrance.shut()
    assert outcome(answer) == [1]
    assert outcome(entrance.publish(TWO)) == [2]
    assert (inside.taken, elsewhere.taken) == ([], [ONE, TWO])


def test_shut(entrance: Entrance, inside: Place) -> None:
    """On the way out everybody is refused, who waits too."""
    entrance.hold()
    waiting = entrance.publish(ONE)
    entrance.shut()
    assert isinstance(outcome(waiting), Draining)
    assert isinstance(outcome(entrance.publish(TWO)), Draining)
    assert inside.taken == []
