"""The resource ``/streams/<stream>``: POST changes the topics of an open stream, DELETE ends it.

The stream's id is its secret: whoever knows it may do this, which is how a page changes an EventSource that it cannot
write to. The change that a POST holds is also what a WebSocket client sends on its own stream::

    {"subscribe":["auction/7"],"unsubscribe":["auction/6"],"since":"-10"}

What is unsubscribed goes first. Naming what is subscribed already, or what is not there to unsubscribe, changes
nothing; the stream says ``topics`` in-band either way.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder
from twisted.web.server import NOT_DONE_YET

from comet.audience import Subscription
from comet.delivery import STREAMING
from comet.errors import BadPattern, BadRequest, NotFound, StillReading
from comet.log import parse_since
from comet.router import Router
from comet.topics import Pattern, patterns_of
from comet.web.batch import decode
from comet.web.resources import Leaf

PREFIX = b"/streams"

REPLAYS = 16
"""Histories that one stream may have under way: each is kept until it is read."""


class Change(Struct, forbid_unknown_fields=True, kw_only=True):
    """What should become of the topics of a stream. ``since`` is for those that are new."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []
    since: str = "now"


_change = Decoder(Change)


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
    texts = {pattern.text for pattern in audience.key.patterns}
    texts -= {pattern.text for pattern in map(Pattern.parse, change.unsubscribe)}
    texts.update(change.subscribe)
    if not texts:
        raise BadPattern("a stream keeps at least one topic or pattern; end it to want none")
    router.change(subscription, patterns_of(texts, router.config.max_patterns), since)


class Streams(Leaf):
    """``/streams/<stream>``."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router = router

    def render_POST(self, request: Any) -> int:
        """Change the topics of the stream."""
        subscription = self._stream(request)
        if subscription.audience is None or subscription.audience.key.delivery is not STREAMING:
            raise BadRequest("a poll has its topics in its request; only a stream can change them")
        apply_change(self._router, subscription, decode(_change, request.content.getvalue()))
        return _done(request)

    def render_DELETE(self, request: Any) -> int:
        """End the stream."""
        self._router.end(self._stream(request), "ended")
        return _done(request)

    def _stream(self, request: Any) -> Subscription:
        name = request.path[len(PREFIX) + 1 :]
        if not name:
            raise NotFound("the path of a stream is /streams/ and the id that the stream's 'open' says")
        return self._router.stream(name.decode("latin-1"))


def _done(request: Any) -> int:
    request.answer(HTTPStatus.NO_CONTENT, b"")
    not_yet: int = NOT_DONE_YET
    return not_yet
