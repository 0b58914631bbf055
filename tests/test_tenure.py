"""For how long a subscription may stay."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from comet.access.grant import Grant
from comet.audience import Subscription
from comet.errors import Forbidden
from comet.holder import Holder
from comet.limits.limits import Who
from comet.topics import Pattern
from tests.web_faces import Face, Wire

NEWS = (Pattern.parse("news/**"),)


def held(face: Face, grant: Grant) -> tuple[Subscription, Wire]:
    """A stream on ``news/a`` under ``grant``, and its connection."""
    wire = face.connect()
    face.site.gate.holder = lambda request: Holder(grant, Who("192.0.2.7", grant.subject))  # type: ignore[method-assign]
    wire.send(b"GET /topics/news/a?transport=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (subscription,) = face.router.streams.values()
    return subscription, wire


def alice(expires: float, *, token: str = "1", subject: str = "alice") -> Grant:
    return Grant(subject=subject, token=token, subscribe=NEWS, expires=expires)


def test_a_stream_ends_when_its_grant_does() -> None:
    """It says so, with the position from which to go on; nothing is left of it."""
    face = Face(clock=Clock())
    _, wire = held(face, alice(10.0))
    face.clock.advance(9.0)
    assert b"bye" not in wire.take()
    face.clock.pump([1.0] * 3)
    assert b'"comet":"bye","reason":"expired"' in wire.take()
    assert not face.router.streams
    assert not face.router.tenures._until


def test_renewing_keeps_a_stream() -> None:
    """With a new token it goes on, without a word, until that one ends."""
    face = Face(clock=Clock())
    subscription, wire = held(face, alice(10.0))
    wire.take()
    face.router.tenures.renew(subscription, alice(30.0, token="2"))
    face.clock.pump([1.0] * 20)
    assert wire.take() == b""
    face.clock.pump([1.0] * 12)
    assert b'"reason":"expired"' in wire.take()


@pytest.mark.parametrize("grant", [alice(30.0, subject="mallory"), Grant(subject="alice", token="2", expires=30.0)])
def test_who_may_not_have_it_cannot_renew_it(grant: Grant) -> None:
    """A token of somebody else, or one that allows less, is refused, and the stream goes on as it was."""
    face = Face(clock=Clock())
    subscription, wire = held(face, alice(10.0))
    with pytest.raises(Forbidden):
        face.router.tenures.renew(subscription, grant)
    assert subscription.grant.token == "1"
    face.clock.pump([1.0] * 12)
    assert b'"reason":"expired"' in wire.take()


def test_nothing_is_kept_of_streams_that_left() -> None:
    """A stream whose client goes is forgotten here, too."""
    face = Face(clock=Clock())
    _, wire = held(face, alice(1_000_000.0))
    assert face.router.tenures._until
    wire.leave()
    assert not face.router.tenures._until


def test_revoking_ends_what_it_covers() -> None:
    """The streams of the token, and no others."""
    face = Face(clock=Clock())
    first, one = held(face, alice(1000.0))
    other = face.connect()
    face.site.gate.holder = lambda request: Holder(alice(1000.0, token="2"), Who(""))  # type: ignore[method-assign]
    other.send(b"GET /topics/news/a?transport=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    ended = face.router.tenures.revoke(list(face.router.streams.values()), lambda grant: grant.token == "1")
    assert ended == 1
    assert b'"reason":"revoked"' in one.take()
    assert b"bye" not in other.take()
    assert first not in face.router.streams.values()
