"""The resource ``/topics``: GET subscribes, POST publishes. The two hot requests of the HTTP face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from comet.audience import Interest
from comet.config import Config
from comet.delivery import ONE_SHOT
from comet.drafts import draft, topic_of
from comet.errors import BadPattern, BadRequest, CometError, UpgradeRequired, shown
from comet.message import Draft, Position
from comet.router import Router
from comet.transports import Transport
from comet.web.batch import read_batch
from comet.web.channel import take_over
from comet.web.envelope import Enveloped, stream_head
from comet.web.negotiate import Asked, negotiate
from comet.web.resources import Leaf
from comet.web.websocket import accept_websocket, wants_websocket
from comet.web.writer import AnswerWriter, BufferedWriter, DirectWriter, descriptor_of

PREFIX = b"/topics"

_FURTHER = {
    # User payloads must not become a page of this origin that can do anything; the frame is for the one parent.
    "iframe": b"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; frame-ancestors %b\r\n",
}


class Topics(Leaf):
    """``/topics/<topic or pattern>`` and ``/topics``."""

    def __init__(self, router: Router, config: Config) -> None:
        super().__init__()
        self._router = router
        self._config = config

    # -- subscribe --------------------------------------------------------------------------------------------------

    def render_GET(self, request: Any) -> int:
        """Hold the response and subscribe it."""
        transport, interest = negotiate(_asked(request), self._config)
        if transport.name == "websocket":
            if not wants_websocket(request):
                raise UpgradeRequired("the transport websocket is asked for with 'Upgrade: websocket'")
            accept_websocket(request, self._router, self._config, interest)
        elif transport.delivery is ONE_SHOT:
            self._hold_answer(request, interest)
        else:
            self._hold_stream(request, transport, interest)
        return NOT_DONE_YET

    def _hold_stream(self, request: Any, transport: Transport, interest: Interest) -> None:
        further = request.cross_origin_lines()
        if transport.name in _FURTHER:
            further += _FURTHER[transport.name] % (getattr(interest.framing, "origin", "").encode() or b"'self'")
        self._router.check_room()
        held, ahead = request.channel.hand_over()
        if ahead:
            raise BadRequest("something was sent behind the request of a stream")
        writer = make_writer(held, self._router, self._config)
        head = stream_head(interest.framing.content_type, further)
        take_over(held, writer)
        writer.subscription = self._router.subscribe(interest, writer, head)

    def _hold_answer(self, request: Any, interest: Interest) -> None:
        channel = request.channel
        further = request.cross_origin_lines()
        if not channel.persistent:
            further += b"Connection: close\r\n"
        writer = AnswerWriter(channel, self._router)
        channel.hold(writer)
        writer.subscription = self._router.subscribe(_enveloped(interest, further), writer)

    # -- publish ----------------------------------------------------------------------------------------------------

    def render_POST(self, request: Any) -> int:
        """Publish the body, or with ``/topics`` alone each message of it."""
        name = _path(request)
        body = request.content.getvalue()
        content_type = (request.getHeader(b"content-type") or b"").decode("latin-1")
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
        if request.args:
            raise BadRequest(f"publishing takes no query; there is {shown(next(iter(request.args)))}")
        key = request.getHeader(b"idempotency-key")
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


def make_writer(transport: Any, router: Router, config: Config) -> DirectWriter | BufferedWriter:
    """Return the writer that fits ``transport``, whose kernel buffer it bounds: a reader that never reads would
    otherwise hold 2.7 MiB before anybody notices."""
    if descriptor_of(transport) < 0:
        return BufferedWriter(transport, router)
    bound_buffer(transport, config.send_buffer)
    return DirectWriter(transport, router)


def bound_buffer(transport: Any, size: int) -> None:
    """Set the kernel's send buffer of a plain socket."""
    transport.getHandle().setsockopt(SOL_SOCKET, SO_SNDBUF, size)


def _enveloped(interest: Interest, further: bytes) -> Interest:
    return replace(interest, framing=Enveloped(interest.framing, further))


def _asked(request: Any) -> Asked:
    name = _path(request)
    query = {_text(key, "query"): [_text(value, "query") for value in values] for key, values in request.args.items()}
    header = request.getHeader
    return Asked(
        patterns=[_pattern(name)] if name else [],
        query=query,
        accept=(header(b"accept") or b"").decode("latin-1"),
        last_event_id=_text(header(b"last-event-id") or b"", "Last-Event-ID"),
        upgrade=header(b"upgrade") is not None,
    )


def _path(request: Any) -> bytes:
    return unquote_to_bytes(request.path[len(PREFIX) + 1 :])


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
    if request.channel is None:
        return
    if failure.check(CometError):
        request.refuse(failure.value)
    else:
        request.processingFailed(failure)
