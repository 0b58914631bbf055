"""Holding a response: from a subscribe request to a subscription on its connection, whatever the transport."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from comet.audience import Interest, Subscription
from comet.config import Config
from comet.delivery import ONE_SHOT
from comet.errors import BadRequest, shown
from comet.router import Router
from comet.sockets import bound, take_over
from comet.transports import Transport
from comet.web.envelope import Enveloped, stream_head
from comet.web.handshake import accept_websocket
from comet.web.negotiate import Asked, negotiate
from comet.web.websocket import Acknowledge
from comet.web.writer import AnswerWriter, StreamWriter, make_writer

# User payloads must not become a page of this origin that can do anything; the frame is for the one parent.
_LIFELESS = b"Content-Security-Policy: default-src 'none'; img-src 'self' data:; sandbox\r\n"
_FURTHER = {
    "multipart": _LIFELESS,
    "mixed": _LIFELESS,
    "iframe": b"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; frame-ancestors PARENT\r\n",
}


class Holding:
    """Holds requests, by the settings as they are now."""

    def __init__(self, router: Router, config: Config) -> None:
        self._router = router
        self._config = config

    def configure(self, config: Config) -> None:
        """Go by ``config`` from now on; open streams too, as far as it concerns them."""
        before, self._config = self._config, config
        if (config.send_buffer, config.stall) != (before.send_buffer, before.stall):
            for subscription in self._router.streams.values():
                if isinstance(subscription.writer, StreamWriter):
                    bound(subscription.writer.transport, config)

    def negotiated(self, asked: Asked, further: bytes) -> tuple[Transport, Interest]:
        """Find out what is wanted. The answer to a poll is made for all who want the same, head and all: ``further``
        are header lines of it."""
        transport, interest = negotiate(asked, self._config)
        if transport.delivery is ONE_SHOT:
            enveloped = interest.key._replace(framing=Enveloped(interest.key.framing, further))
            interest = replace(interest, key=enveloped)
        return transport, interest

    def hold(
        self, request: Any, transport: Transport, interest: Interest, acknowledge: Acknowledge | None = None
    ) -> Subscription:
        """Subscribe ``interest`` on the connection of ``request``. On a WebSocket ``acknowledge`` takes what its client
        says that it is done with."""
        if transport.delivery is ONE_SHOT:
            return self._hold_answer(request, interest)
        if transport.name != "websocket":
            return self._hold_stream(request, transport, interest)
        return accept_websocket(request, self._router, self._config, interest, acknowledge)

    def _hold_stream(self, request: Any, transport: Transport, interest: Interest) -> Subscription:
        further = request.cross_origin_lines()
        parent = getattr(interest.key.framing, "origin", "").encode() or b"'self'"
        further += _FURTHER.get(transport.name, b"").replace(b"PARENT", parent)
        self._router.check_room(request.holder)
        if request.channel.ahead:
            raise BadRequest("something was sent behind the request of a stream")
        site = request.channel.site
        held, _ = request.channel.hand_over()
        writer = make_writer(held, self._router, self._config)
        writer.address = request.channel.address
        watched = site.requests.watched(request, writer, transport.name)
        head = stream_head(interest.key.framing.content_type, further)
        take_over(held, watched)
        writer.subscription = subscription = self._router.subscribe(interest, writer, head, request.holder)
        return subscription

    def _hold_answer(self, request: Any, interest: Interest) -> Subscription:
        writer = AnswerWriter(request.channel, self._router)
        request.channel.hold(writer)
        writer.subscription = subscription = self._router.subscribe(interest, writer, holder=request.holder)
        return subscription


def further_lines(request: Any) -> bytes:
    """The header lines that an answer to ``request`` has beside those that all have."""
    further: bytes = request.cross_origin_lines()
    return further if request.channel.persistent else further + b"Connection: close\r\n"


def name_of(path: bytes) -> bytes:
    """What stands behind the first segment, which may be spelt in one way or another (``/%74opics``)."""
    return unquote_to_bytes(path[1:].partition(b"/")[2])


def query_of(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query, those without a value too: twisted.web would drop them, and what follows a ``;``."""
    query: dict[str, list[str]] = {}
    for item in filter(None, raw.replace(b"+", b" ").split(b"&")):
        name, _, value = (text_of(unquote_to_bytes(part), "the query") for part in item.partition(b"="))
        query.setdefault(name, []).append(value)
    return query


def text_of(value: bytes, where: str) -> str:
    """Return ``value``, which is UTF-8, or raise :exc:`~comet.errors.BadRequest`, which says ``where`` it was."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{shown(value)} in {where} is not UTF-8") from None
