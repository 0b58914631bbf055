"""The resource ``/consumers``: readers whose cursor the daemon keeps.

GET    /consumers                     every one, and how far behind it is
GET    /consumers?id=<position>       has each acknowledged that message? with &topic= only those that it is for
GET    /consumers/<name>?topic=…      what it has not acknowledged, then what comes, on any transport
POST   /consumers/<name>/ack          {"id": position}
DELETE /consumers/<name>
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, Encoder
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from comet.config import Config
from comet.consumers import Consumer, Consumers
from comet.errors import BadRequest, CometError, ConsumerExists, NotFound, shown
from comet.interfaces import Clock
from comet.log import parse_since
from comet.message import Position
from comet.router import Router
from comet.stats.piecemeal import Piecemeal
from comet.topics import check_topic, patterns_of
from comet.web.batch import decode
from comet.web.holding import Holding, further_lines, name_of, query_of, text_of
from comet.web.negotiate import Asked
from comet.web.query import LARGEST_LIMIT, limit_of, parameters
from comet.web.resources import Leaf
from comet.web.websocket import wants_websocket

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
        consumer = self._consumers.found(text_of(name_of(request.path), "the path"))
        _check_owner(consumer)
        return _done(request, Deferred.fromCoroutine(self._remove(request, consumer)))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, request: Any, name: str) -> None:
        query = query_of(request.query)
        topics, since = query.pop("topic", []), query.pop("since", ["now"])
        consumer = self._consumers.get(name)
        if consumer is None:
            consumer = await self._made(name, topics, since)
            if request.channel is None:  # it has gone meanwhile; the consumer stays
                return
        _check_owner(consumer)
        if topics and set(topics) != {pattern.text for pattern in consumer.patterns}:
            raise ConsumerExists(
                f"the consumer {shown(name)} is for {', '.join(pattern.text for pattern in consumer.patterns)}; "
                "leave the topics out, or DELETE it first"
            )
        self._hold(request, consumer, query)

    def _hold(self, request: Any, consumer: Consumer, query: dict[str, list[str]]) -> None:
        known = request.head.known
        asked = Asked(
            patterns=[pattern.text for pattern in consumer.patterns],
            query=query,
            accept=known.get(b"accept", b"").decode("latin-1"),
            upgrade=b"upgrade" in known and wants_websocket(request),
        )
        transport, interest = self._holding.negotiated(asked, further_lines(request))
        # Not from where a client says that it was: from what it has said that it is done with.
        interest = replace(interest, since=consumer.acked)
        consumer.seat(self._holding.hold(request, transport, interest, consumer.ack))

    async def _made(self, name: str, topics: list[str], since: list[str]) -> Consumer:
        if not topics:
            raise BadRequest(f"there is no consumer {shown(name)} yet; name its topics with ?topic=")
        if len(since) > 1:
            raise BadRequest("the parameter since is there more than once")
        patterns = patterns_of(topics, self._router.config.max_patterns)
        self._router.check_room()
        return await self._consumers.create(name, patterns, parse_since(since[0]))

    # -- acknowledging, forgetting ----------------------------------------------------------------------------------

    async def _ack(self, request: Any, name: str) -> None:
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
        wanted = [each for each in self._consumers if topic is None or each.wants(topic)]

        def described(consumer: Consumer) -> dict[str, Any]:
            told: dict[str, Any] = {"name": consumer.name}
            if position is not None:
                return told | {"acked": str(consumer.acked), "has": consumer.has(position)}
            return told | consumer.described() | {"reader": consumer.reader_described()}

        found = await self._piecemeal.each(described, wanted[:limit], LARGEST_LIMIT)
        _answer(request, {"consumers": found, "more": len(wanted) > limit})


def _check_owner(consumer: Consumer) -> None:
    if consumer.owner:
        raise ConsumerExists(f"{shown(consumer.name)} belongs to the {consumer.owner} of that name; DELETE that first")


def _answer(request: Any, value: object) -> None:
    request.answer(HTTPStatus.OK, _encode(value))


def _done(request: Any, work: Deferred[None]) -> int:
    work.addErrback(_refuse, request)
    not_yet: int = NOT_DONE_YET
    return not_yet


def _refuse(failure: Failure, request: Any) -> None:
    if not failure.check(CometError):
        request.processingFailed(failure)
    elif request.channel is not None:
        request.refuse(failure.value)
