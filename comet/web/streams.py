"""The resource ``/streams/<stream>``: POST changes the topics of an open stream, DELETE ends it; and
``/streams/<stream>/token``, where POST ``{"token":"eyJhbGciOi…"}`` lets it go on under a new token.

The stream's id is its secret: whoever knows it may do this, which is how a page changes an EventSource that it cannot
write to. What it may change to is what the stream's own grant allows. The change that a POST holds is also what a
WebSocket client sends on its own stream::

    {"subscribe":["auction/7"],"unsubscribe":["auction/6"],"since":"-10"}

What is unsubscribed goes first. Naming what is subscribed already, or what is not there to unsubscribe, changes
nothing; the stream says ``topics`` in-band either way.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

from comet.access.access import Access
from comet.access.grant import Grant
from comet.audience import Subscription
from comet.delivery import STREAMING
from comet.errors import BadPattern, BadRequest, NotFound, StillReading, UnknownStream
from comet.log import parse_since
from comet.router import Router
from comet.topics import Pattern, patterns_of
from comet.web.batch import decode
from comet.web.resources import Leaf, refuse

PREFIX = b"/streams"
TOKEN = b"/token"

REPLAYS = 16
"""Histories that one stream may have under way: each is kept until it is read."""


class Change(Struct, forbid_unknown_fields=True, kw_only=True):
    """What should become of the topics of a stream. ``since`` is for those that are new."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []
    since: str = "now"


class Renewal(Struct, forbid_unknown_fields=True):
    """What the body says that renews a token."""

    token: str


_change = Decoder(Change)
_renewal = Decoder(Renewal)


def apply_change(router: Router, subscription: Subscription, change: Change) -> None:
    """Change the topics of an open stream, or raise a :exc:`~comet.errors.CometError` and change nothing."""
    audience = subscription.audience
    assert audience is not None
    if subscription.fixed:  # what is not delivered would be acknowledged along with what is
        raise BadRequest("the topics of a consumer are those that it was made with; DELETE it and make it anew")
    since = parse_since(change.since)
    if not change.subscribe and not change.unsubscribe:
        raise BadRequest("a change says subscribe, unsubscribe, or both: lists of topics or patterns")
    if since != "now" and len(subscription.replays) >= REPLAYS:
        raise StillReading(f"{REPLAYS} histories are still being read on this stream; try again later")
    subscription.grant.check_subscribe(map(Pattern.parse, change.subscribe))
    texts = {pattern.text for pattern in audience.key.patterns}
    texts -= {pattern.text for pattern in map(Pattern.parse, change.unsubscribe)}
    texts.update(change.subscribe)
    if not texts:
        raise BadPattern("a stream keeps at least one topic or pattern; end it to want none")
    router.change(subscription, patterns_of(texts, router.config.max_patterns), since)


def renew(access: Access, router: Router, subscription: Subscription, token: str) -> Deferred[None]:
    """Let an open stream go on under ``token``. Fails with a :exc:`~comet.errors.CometError`, and then it goes on as
    it was."""
    return Deferred.fromCoroutine(_renew(access, router, subscription, token))


async def _renew(access: Access, router: Router, subscription: Subscription, token: str) -> None:
    granted = access.of_token(token)
    grant = granted if isinstance(granted, Grant) else await granted
    if subscription.audience is None:
        raise UnknownStream("the stream has ended meanwhile")
    router.tenures.renew(subscription, grant)


class Streams(Leaf):
    """``/streams/<stream>``."""

    def __init__(self, router: Router, access: Access) -> None:
        super().__init__()
        self._router = router
        self._access = access

    def render_POST(self, request: Any) -> int:
        """Change the topics of the stream, or renew its token."""
        if request.path.endswith(TOKEN):
            return self._renew(request)
        subscription = self._stream(request)
        if subscription.audience is None or subscription.audience.key.delivery is not STREAMING:
            raise BadRequest("a poll has its topics in its request; only a stream can change them")
        apply_change(self._router, subscription, decode(_change, request.content.getvalue()))
        return _done(request)

    def render_DELETE(self, request: Any) -> int:
        """End the stream."""
        self._router.end(self._stream(request), "ended")
        return _done(request)

    def _renew(self, request: Any) -> int:
        subscription = self._stream(request)
        token = decode(_renewal, request.content.getvalue()).token
        renewed = renew(self._access, self._router, subscription, token)
        renewed.addCallback(lambda _: request.answer(HTTPStatus.NO_CONTENT, b"")).addErrback(refuse, request)
        return _not_yet()

    def _stream(self, request: Any) -> Subscription:
        name = request.path[len(PREFIX) + 1 :].removesuffix(TOKEN)
        if not name:
            raise NotFound("the path of a stream is /streams/ and the id that the stream's 'open' says")
        return self._router.stream(name.decode("latin-1"))


def _done(request: Any) -> int:
    request.answer(HTTPStatus.NO_CONTENT, b"")
    return _not_yet()


def _not_yet() -> int:
    not_yet: int = NOT_DONE_YET
    return not_yet
