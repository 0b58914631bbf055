"""The resource ``/topics``: GET subscribes, POST publishes. The two hot requests of the HTTP face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from comet.audience import Interest
from comet.config import Config
from comet.delivery import ONE_SHOT
from comet.drafts import draft, topic_of
from comet.errors import BadPattern, BadRequest, CometError, shown
from comet.message import Draft, Position
from comet.router import Router
from comet.transports import Transport
from comet.web.batch import read_batch
from comet.web.channel import take_over
from comet.web.envelope import Enveloped, stream_head
from comet.web.negotiate import Asked, negotiate
from comet.web.resources import Leaf
from comet.web.websocket import accept_websocket, wants_websocket
from comet.web.writer import AnswerWriter, StreamWriter, bound, make_writer

REMEMBERED = 256
"""Requests whose negotiation is remembered; each can be as large as ``max-head``."""

_FURTHER = {
    # User payloads must not become a page of this origin that can do anything; the frame is for the one parent.
    "iframe": b"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; frame-ancestors %b\r\n",
}


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
        # Clients that reconnect all at once ask for the same few things.
        self._negotiated = lru_cache(REMEMBERED)(self._negotiate)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        before, self._config = self._config, config
        self._negotiated.cache_clear()
        if (config.send_buffer, config.stall) != (before.send_buffer, before.stall):
            for subscription in self._router.streams.values():
                if isinstance(subscription.writer, StreamWriter):
                    bound(subscription.writer.transport, config)

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
        further = request.cross_origin_lines()
        if not request.channel.persistent:
            further += b"Connection: close\r\n"
        transport, interest = self._negotiated(asked, further)
        if transport.delivery is ONE_SHOT:
            self._hold_answer(request, interest)
        elif transport.name != "websocket":
            self._hold_stream(request, transport, interest)
        else:
            accept_websocket(request, self._router, self._config, interest)
        return NOT_DONE_YET

    def _negotiate(self, asking: _Asking, further: bytes) -> tuple[Transport, Interest]:
        """Find out what is wanted. The answer to a poll is made for all who want the same, head and all: ``further``
        are header lines of it."""
        transport, interest = negotiate(_asked(asking), self._config)
        if transport.delivery is ONE_SHOT:
            enveloped = interest.key._replace(framing=Enveloped(interest.key.framing, further))
            interest = replace(interest, key=enveloped)
        return transport, interest

    def _hold_stream(self, request: Any, transport: Transport, interest: Interest) -> None:
        further = request.cross_origin_lines()
        if transport.name in _FURTHER:
            further += _FURTHER[transport.name] % (getattr(interest.key.framing, "origin", "").encode() or b"'self'")
        self._router.check_room()
        if request.channel.ahead:
            raise BadRequest("something was sent behind the request of a stream")
        site = request.channel.site
        held, _ = request.channel.hand_over()
        writer = make_writer(held, self._router, self._config)
        watched = site.requests.watched(request, writer, transport.name)
        head = stream_head(interest.key.framing.content_type, further)
        take_over(held, watched)
        writer.subscription = self._router.subscribe(interest, writer, head)

    def _hold_answer(self, request: Any, interest: Interest) -> None:
        writer = AnswerWriter(request.channel, self._router)
        request.channel.hold(writer)
        writer.subscription = self._router.subscribe(interest, writer)

    # -- publish ----------------------------------------------------------------------------------------------------

    def render_POST(self, request: Any) -> Any:
        """Publish the body, or with ``/topics`` alone each message of it."""
        name = _name(request.path)
        body = request.content.getvalue()
        content_type = request.head.known.get(b"content-type", b"").decode("latin-1")
        upcoming = self._router.log.next_offset
        published: Deferred[Any]
        if name:
            published = self._router.publish([self._draft(request, name, body, content_type)])
            published.addCallback(lambda offsets: self._published(request, offsets[0], upcoming))
        else:
            published = self._router.publish(read_batch(body, content_type, self._config.max_payload))
            published.addCallback(lambda offsets: self._published_batch(request, offsets))
        published.addErrback(_refuse, request)
        return NOT_DONE_YET

    def _draft(self, request: Any, name: bytes, body: bytes, content_type: str) -> Draft:
        if request.query:
            raise BadRequest(f"publishing takes no query; there is {shown(request.query)}")
        key = request.head.known.get(b"idempotency-key")
        text = "" if key is None else _text(key, "Idempotency-Key")
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
    name = _name(asking.path)
    return Asked(
        patterns=[_pattern(name)] if name else [],
        query=_query(asking.query),
        accept=asking.accept.decode("latin-1"),
        last_event_id=_text(asking.last_event_id, "Last-Event-ID"),
        upgrade=asking.upgrade,
    )


def _name(path: bytes) -> bytes:
    """What stands behind the first segment, which is ``topics`` in one spelling or another (``/%74opics``)."""
    return unquote_to_bytes(path[1:].partition(b"/")[2])


def _query(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query, those without a value too: twisted.web would drop them, and what follows a ``;``."""
    query: dict[str, list[str]] = {}
    for item in filter(None, raw.replace(b"+", b" ").split(b"&")):
        name, _, value = (_text(unquote_to_bytes(part), "the query") for part in item.partition(b"="))
        query.setdefault(name, []).append(value)
    return query


def _pattern(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadPattern(f"{shown(name)} is not a pattern: it is not UTF-8") from None


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{shown(value)} in {where} is not UTF-8") from None


def _refuse(failure: Failure, request: Any) -> None:
    if not failure.check(CometError):
        request.processingFailed(failure)
    elif request.channel is not None:
        request.refuse(failure.value)
