"""The resource ``/consumers``: readers whose cursor the daemon keeps.

GET    /consumers                     every one, and how far behind it is
GET    /consumers?id=<position>       has each acknowledged that message? with &topic= only those that it is for
GET    /consumers/<name>?topic=…      what it has not acknowledged, then what comes, on any transport
POST   /consumers/<name>/ack          {"id": position}
DELETE /consumers/<name>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, Encoder
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

from comet.audience import Interest
from comet.config import Config
from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.delivery import ONE_SHOT
from comet.errors import ConsumerExists, NotFound, UnknownConsumer, shown
from comet.interfaces import Clock
from comet.message import Position
from comet.router import Router
from comet.stats.piecemeal import Piecemeal
from comet.topics import Pattern, check_topic
from comet.transports import Transport
from comet.web.batch import decode
from comet.web.handshake import wants_websocket
from comet.web.holding import Holding, further_lines, name_of, query_of, text_of
from comet.web.negotiate import Asked
from comet.web.query import limit_of, parameters
from comet.web.resources import Leaf, refuse

ACK = b"/ack"


class Acknowledged(Struct, forbid_unknown_fields=True):
    """What the body of an acknowledgement says."""

    id: str


_acknowledged = Decoder(Acknowledged)
_encode = Encoder().encode


class ConsumersResource(Leaf):
    """``/consumers``, and everything below it."""

    def __init__(self, consumers: Consumers, router: Router, config: Config, clock: Clock) -> None:
        super().__init__()
        self._consumers = consumers
        self._router = router
        self._holding = Holding(router, config)
        self._piecemeal = Piecemeal(clock)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._holding.configure(config)

    def render_GET(self, request: Any) -> int:
        """Read, or list."""
        raw = name_of(request.path)
        if not raw:
            request.holder.grant.check_admin("see all consumers")
        work = self._read(request, text_of(raw, "the path")) if raw else self._list(request)
        return _done(request, Deferred.fromCoroutine(work))

    def render_POST(self, request: Any) -> int:
        """Acknowledge."""
        raw = name_of(request.path)
        if not raw.endswith(ACK):
            raise NotFound("a consumer acknowledges with POST /consumers/<name>/ack")
        name = text_of(raw.removesuffix(ACK), "the path")
        return _done(request, Deferred.fromCoroutine(self._ack(request, name)))

    def render_DELETE(self, request: Any) -> int:
        """Forget a consumer."""
        name = text_of(name_of(request.path), "the path")
        request.holder.grant.check_consumer(name)
        consumer = self._consumers.found(name)
        _check_owner(consumer)
        return _done(request, Deferred.fromCoroutine(self._remove(request, consumer)))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, request: Any, name: str) -> None:
        request.holder.grant.check_consumer(name)
        query = query_of(request.query)
        topics = query.pop("topic", [])
        await self._consumers.settled(name)
        consumer = self._consumers.get(name)
        if consumer is None and not topics:
            raise UnknownConsumer(f"there is no consumer {shown(name)} yet; name its topics with ?topic=")
        asked = Asked(
            patterns=topics or _topics_of(consumer),
            query=query,
            accept=request.head.known.get(b"accept", b"").decode("latin-1"),
            upgrade=b"upgrade" in request.head.known and wants_websocket(request),
        )
        transport, interest = self._holding.negotiated(asked, further_lines(request))
        request.holder.grant.check_subscribe(interest.key.patterns)
        self._router.check_room(request.holder)
        if consumer is None:
            consumer = await self._consumers.create(name, interest.key.patterns, interest.since)
        _check_owner(consumer)
        _check_patterns(consumer, interest.key.patterns)
        if request.channel is not None:  # else it has gone meanwhile; the consumer stays
            self._hold(request, consumer, transport, interest)

    def _hold(self, request: Any, consumer: Consumer, transport: Transport, interest: Interest) -> None:
        """Have ``consumer`` read. Not from where a client says that it was, but from what it is done with."""
        since, told = consumer.begin_poll() if transport.delivery is ONE_SHOT else consumer.begin_stream()
        interest = replace(interest, since=since, told=told)
        consumer.seat(self._holding.hold(request, transport, interest, consumer.ack))

    # -- acknowledging, forgetting ----------------------------------------------------------------------------------

    async def _ack(self, request: Any, name: str) -> None:
        request.holder.grant.check_consumer(name)
        consumer = self._consumers.found(name)
        _check_owner(consumer)
        said = decode(_acknowledged, request.content.getvalue())
        await consumer.ack(Position.parse(said.id))
        _answer(request, {"acked": str(consumer.acked)})

    async def _remove(self, request: Any, consumer: Consumer) -> None:
        await self._consumers.remove(consumer.name)
        request.answer(HTTPStatus.NO_CONTENT, b"")

    # -- listing ----------------------------------------------------------------------------------------------------

    async def _list(self, request: Any) -> None:
        values = parameters(request, ("id", "topic", "limit"))
        limit = limit_of(values)
        position = Position.parse(values["id"]) if "id" in values else None
        topic = check_topic(values["topic"]) if "topic" in values else None

        def described(consumer: Consumer) -> dict[str, Any] | None:
            if topic is not None and not consumer.wants(topic):
                return None
            if position is not None:
                return {"name": consumer.name, "acked": str(consumer.acked), "has": consumer.has(position)}
            return {"name": consumer.name, **consumer.described(), "reader": consumer.reader_described()}

        found = await self._piecemeal.each(described, list(self._consumers), limit + 1)
        _answer(request, {"consumers": found[:limit], "more": len(found) > limit})


def _topics_of(consumer: Consumer | None) -> list[str]:
    return [] if consumer is None else [pattern.text for pattern in consumer.patterns]


def _check_owner(consumer: Consumer) -> None:
    if consumer.owner:
        raise ConsumerExists(f"{shown(consumer.name)} belongs to the {consumer.owner} of that name; DELETE that first")


def _check_patterns(consumer: Consumer, patterns: Sequence[Pattern]) -> None:
    if set(patterns) != set(consumer.patterns):
        raise ConsumerExists(
            f"the consumer {shown(consumer.name)} is for {', '.join(each.text for each in consumer.patterns)}; "
            "leave the topics out, or DELETE it first"
        )


def _answer(request: Any, value: object) -> None:
    request.answer(HTTPStatus.OK, _encode(value))


def _done(request: Any, work: Deferred[None]) -> int:
    work.addErrback(refuse, request)
    not_yet: int = NOT_DONE_YET
    return not_yet
