"""Revocations: what they cover, how long, and that they outlive the daemon but not the tokens."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from comet.access.grant import EVERYTHING, NOTHING, Grant
from comet.access.revoked import FORGOTTEN_AT_ONCE, LOOK_EVERY, Revocations
from comet.access.tokens import LEEWAY
from comet.errors import (
    BadName,
    BadParameter,
    BadToken,
    CometError,
    Draining,
    NotFound,
    StoreFailed,
    TooManyRevocations,
)
from comet.records import Records
from tests.fakes import START, FakeStore


class Scene:
    """Revocations, the records that they are kept in, and a time that the test sets."""

    def __init__(self, most: int = 100) -> None:
        self.now = START
        self.store = FakeStore()
        self.still = False
        self.records = Records(self.store, lambda: self.still)
        self.most = most
        self.revocations = self.again()

    def again(self) -> Revocations:
        """What a daemon has that is started now."""
        revocations = Revocations(self.records, lambda: self.now, self.most)
        revocations.start()
        return revocations

    def revoke(self, kind: str, name: str, until: float | None = None) -> None:
        """Revoke, or raise what there is against it."""
        done(self.revocations.revoke(kind, name, until))

    def names(self) -> list[str]:
        """What is revoked."""
        return [each.name for each in self.revocations]

    def kept(self) -> list[str]:
        """What would outlive the daemon."""
        return [record.name for record in self.records.all()]


def done(work: Deferred[Any]) -> None:
    """Raise what ``work`` has failed with."""
    results: list[Any] = []
    work.addErrback(lambda failure: results.append(failure.value))
    for error in results:
        raise error


def test_a_token() -> None:
    """A token that is revoked does not count; others of the same subject do."""
    scene = Scene()
    scene.revoke("token", "t1")
    revoked, other = Grant(subject="alice", token="t1"), Grant(subject="alice", token="t2")
    assert scene.revocations.covers(revoked)
    assert not scene.revocations.covers(other)
    scene.revocations.check(other)
    with pytest.raises(BadToken, match="this token was revoked"):
        scene.revocations.check(revoked)


def test_a_subject() -> None:
    """Of a subject all tokens are revoked that it has, and none that it is given later."""
    scene = Scene()
    scene.revoke("subject", "alice")
    covers = scene.revocations.covers
    assert covers(Grant(subject="alice", issued=START - 1))
    assert covers(Grant(subject="alice", issued=START))
    assert not covers(Grant(subject="alice", issued=START + 1))
    assert not covers(Grant(subject="bob", issued=START - 1))
    assert covers(Grant(subject="alice"))  # it does not say when it was issued


def test_revoking_again() -> None:
    """A subject that is revoked again loses what it was given in between."""
    scene = Scene()
    scene.revoke("subject", "alice")
    token = Grant(subject="alice", issued=START + 5)
    scene.now += 10
    assert not scene.revocations.covers(token)
    scene.revoke("subject", "alice")
    assert scene.revocations.covers(token)
    assert len(scene.revocations) == 1


def test_a_token_is_no_subject() -> None:
    """The name of a subject that is revoked may well be the id of a token that is not."""
    scene = Scene()
    scene.revoke("token", "same")
    assert not scene.revocations.covers(Grant(subject="same"))
    scene.revoke("subject", "same")
    scene.revocations.take_back("token", "same")
    assert not scene.revocations.covers(Grant(token="same"))


def test_who_is_nobody() -> None:
    """Who has no token, and programs of this machine, cannot be revoked."""
    scene = Scene()
    for name in ("", "x" * 1025, "ü" * 513):
        with pytest.raises(BadName, match="cannot name a subject"):
            scene.revoke("subject", name)
    assert not scene.revocations.covers(NOTHING)
    assert not scene.revocations.covers(EVERYTHING)


def test_restart() -> None:
    """What was revoked stays so when the daemon is started again; what was taken back does not."""
    scene = Scene()
    scene.revoke("token", "t/ü")
    scene.revoke("subject", "alice", START + 100)
    scene.revoke("subject", "bob")
    scene.revocations.take_back("subject", "bob")
    again = scene.again()
    assert list(again) == list(scene.revocations)
    assert again.covers(Grant(token="t/ü"))
    assert again.covers(Grant(subject="alice", issued=START - 1))
    assert not again.covers(Grant(subject="bob"))


def test_until() -> None:
    """A revocation is forgotten once its tokens are over anyway."""
    scene = Scene()
    scene.revoke("token", "t1", START + 10)
    scene.revoke("token", "t2")
    scene.revocations.each_second()
    assert scene.names() == ["t1", "t2"]
    scene.now += 10 + LEEWAY - 0.1
    assert scene.revocations.covers(Grant(token="t1")), "tokens count for a moment longer than they say"
    scene.now += 0.1
    assert not scene.revocations.covers(Grant(token="t1"))
    scene.now += LOOK_EVERY
    scene.revocations.each_second()
    assert scene.names() == scene.kept() == ["t2"]
    scene.now += 1e9
    assert scene.revocations.covers(Grant(token="t2"))


def test_what_is_over() -> None:
    """A time that has passed already is a mistake, of milliseconds for seconds the other way round."""
    with pytest.raises(BadParameter, match="until=3600 is over; it is the time, in seconds since 1970"):
        Scene().revoke("token", "t1", 3600)


def test_many_at_once() -> None:
    """Revocations without number that are over in the same second are forgotten a thousand a second."""
    count = FORGOTTEN_AT_ONCE * 2 + 1
    scene = Scene(count)
    for number in range(count):
        scene.revoke("token", str(number), START + 1)
    scene.now += 1 + LEEWAY
    left = []
    for _ in range(4):
        scene.revocations.each_second()
        left.append(len(scene.revocations))
    assert left == [count - FORGOTTEN_AT_ONCE, 1, 0, 0]


def test_bound() -> None:
    """When there is no room, those that are over make it; otherwise the new one is refused, and none is forgotten."""
    scene = Scene(most=2)
    scene.revoke("token", "t1", START + 10)
    scene.revoke("subject", "alice", START + 20)
    with pytest.raises(TooManyRevocations, match="there are 2 revocations already"):
        scene.revoke("token", "t2")
    scene.revoke("token", "t1", START + 10)
    assert scene.names() == ["t1", "alice"]
    scene.now += 10 + LEEWAY
    scene.revoke("token", "t2")
    assert scene.names() == ["t2", "alice"]


def test_taking_back() -> None:
    """What was taken back counts again; what was never revoked cannot be."""
    scene = Scene()
    scene.revoke("token", "t1")
    done(scene.revocations.take_back("token", "t1"))
    assert not scene.revocations.covers(Grant(token="t1"))
    with pytest.raises(NotFound, match="the token 't1' is not revoked; GET /revocations lists what is"):
        done(scene.revocations.take_back("token", "t1"))


@pytest.mark.parametrize("error", [StoreFailed, Draining])
def test_what_cannot_be_kept(error: type[CometError]) -> None:
    """What the store cannot keep has not happened."""
    scene = Scene()
    scene.revoke("token", "t1")
    scene.store.fails, scene.still = error is StoreFailed, error is Draining
    with pytest.raises(error):
        scene.revoke("token", "t2")
    with pytest.raises(error):
        done(scene.revocations.take_back("token", "t1"))
    assert scene.names() == scene.kept() == ["t1"]


def test_what_cannot_be_forgotten() -> None:
    """What is over, and the store could not forget, does no harm: it is forgotten after the next start."""
    scene = Scene()
    scene.revoke("token", "t1", START + 1)
    scene.now += 1 + LEEWAY
    scene.store.fails = True
    scene.revocations.each_second()
    assert (scene.names(), scene.kept()) == ([], ["t1"])
    scene.store.fails = False
    again = scene.again()
    again.each_second()
    assert scene.kept() == []


def test_kept_before_it_counts() -> None:
    """A revocation counts from when it is kept, so that it is never undone by a restart."""
    scene = Scene()
    scene.store.holds = True
    scene.revoke("token", "t1")
    assert not scene.revocations.covers(Grant(token="t1"))
    scene.store.release()
    assert scene.revocations.covers(Grant(token="t1"))
