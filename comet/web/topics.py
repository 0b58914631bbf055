"""The resource ``/topics``: GET subscribes, POST publishes. The two hot requests of the HTTP face."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

from comet.audience import Interest
from comet.config import Config
from comet.drafts import draft, topic_of
from comet.errors import BadPattern, BadRequest, shown
from comet.holder import LOCAL
from comet.message import Draft, Position
from comet.router import Router
from comet.transports import Transport
from comet.web.batch import read_batch
from comet.web.handshake import wants_websocket
from comet.web.holding import Holding, further_lines, name_of, query_of, text_of
from comet.web.negotiate import Asked
from comet.web.resources import Leaf, refuse

REMEMBERED = 256
"""Requests whose negotiation is remembered; each can be as large as ``max-head``."""


class _Asking(NamedTuple):
    """The parts of a subscribe that say what is wanted, as they came: equal ones are negotiated once."""

    path: bytes
    query: bytes
    accept: bytes
    last_event_id: bytes
    upgrade: bool


class Topics(Leaf):
    """``/topics/<topic or pattern>`` and ``/topics``."""

    def __init__(self, router: Router, config: Config) -> None:
        super().__init__()
        self._router = router
        self._config = config
        self._holding = Holding(router, config)
        # Clients that reconnect all at once ask for the same few things.
        self._negotiated = lru_cache(REMEMBERED)(self._negotiate)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._config = config
        self._negotiated.cache_clear()
        self._holding.configure(config)

    # -- subscribe --------------------------------------------------------------------------------------------------

    def render_GET(self, request: Any) -> Any:
        """Hold the response and subscribe it."""
        known = request.head.known
        asked = _Asking(
            request.path,
            request.query,
            known.get(b"accept", b""),
            known.get(b"last-event-id", b""),
            b"upgrade" in known and wants_websocket(request),
        )
        transport, interest = self._negotiated(asked, further_lines(request))
        request.holder.grant.check_subscribe(interest.key.patterns)
        self._holding.hold(request, transport, interest)
        return NOT_DONE_YET

    def _negotiate(self, asking: _Asking, further: bytes) -> tuple[Transport, Interest]:
        return self._holding.negotiated(_asked(asking), further)

    # -- publish ----------------------------------------------------------------------------------------------------

    def render_POST(self, request: Any) -> Any:
        """Publish the body, or with ``/topics`` alone each message of it."""
        name = name_of(request.path)
        body = request.content.getvalue()
        content_type = request.head.known.get(b"content-type", b"").decode("latin-1")
        upcoming = self._router.log.next_offset
        published: Deferred[Any]
        if name:
            published = self._publish(request, [self._draft(request, name, body, content_type)])
            published.addCallback(lambda offsets: self._published(request, offsets[0], upcoming))
        else:
            published = self._publish(request, read_batch(body, content_type, self._config.max_payload))
            published.addCallback(lambda offsets: self._published_batch(request, offsets))
        published.addErrback(refuse, request)
        return NOT_DONE_YET

    def _publish(self, request: Any, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        holder = request.holder
        if holder is not LOCAL:
            for each in drafts:
                holder.grant.check_publish(each.topic)
            self._router.limits.publish(holder.who, len(drafts))
        return self._router.publish(drafts)

    def _draft(self, request: Any, name: bytes, body: bytes, content_type: str) -> Draft:
        if request.query:
            raise BadRequest(f"publishing takes no query; there is {shown(request.query)}")
        key = request.head.known.get(b"idempotency-key")
        text = "" if key is None else text_of(key, "Idempotency-Key")
        if key == b"":
            raise BadRequest("the header Idempotency-Key is empty")
        return draft(topic_of(name), body, content_type, text, largest=self._config.max_payload)

    def _published(self, request: Any, offset: int, upcoming: int) -> None:
        status = HTTPStatus.CREATED if offset >= upcoming else HTTPStatus.OK
        request.answer(status, b'{"id":"%b"}' % str(Position(self._router.epoch, offset)).encode())

    def _published_batch(self, request: Any, offsets: Sequence[int]) -> None:
        ids = [str(Position(self._router.epoch, offset)) for offset in offsets]
        request.answer(HTTPStatus.CREATED, msgspec.json.encode({"ids": ids}))


def _asked(asking: _Asking) -> Asked:
    name = name_of(asking.path)
    return Asked(
        patterns=[_pattern(name)] if name else [],
        query=query_of(asking.query),
        accept=asking.accept.decode("latin-1"),
        last_event_id=text_of(asking.last_event_id, "Last-Event-ID"),
        upgrade=asking.upgrade,
    )


def _pattern(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadPattern(f"{shown(name)} is not a pattern: it is not UTF-8") from None
