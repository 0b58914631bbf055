"""What people and monitors ask: ``/healthz``, ``/readyz``, ``/metrics``, ``/stats``, ``/stats/topics`` and so on.

A Klein application. The traps: Klein answers what it does not find in HTML, so its exceptions become ours; it takes the
path from what is left of it, so :class:`_Rooted` gives it all of it; and a list of a hundred thousand things must not
hold up the reactor, so lists are bounded, and what goes into them is worked out a few milliseconds per turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from klein import Klein
from msgspec.json import Encoder
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from comet import __version__
from comet.audience import Subscription
from comet.errors import BadParameter, CometError, Draining, MethodNotAllowed, NotFound, shown
from comet.interfaces import Clock
from comet.metrics import Metrics
from comet.router import Router
from comet.web.answers import problem

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 10_000

LOOKED_AT = 100_000
"""Topics whose names are looked at for a prefix: about 10 ms."""

PATTERNS_SHOWN = 10
STREAM_SHOWN = 6
"""Characters of a stream's id, which is a secret: whoever knows the whole may end the stream."""

_encode = Encoder().encode


class Sample(NamedTuple):
    """The counters at a time."""

    time: float
    published: int
    published_bytes: int
    delivered: int
    delivered_bytes: int


class Rates:
    """What happened per second in the last ten seconds, from a sample of the counters each second."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._samples = deque([self._now()], maxlen=10)
        self.started = clock.seconds()

    def sample(self) -> None:
        """To be called once a second."""
        self._samples.append(self._now())

    def per_second(self) -> dict[str, float]:
        """The rates by the name of their counter, and over how many ``seconds`` they were taken."""
        before, now = self._samples[0], self._now()
        seconds = now.time - before.time
        rates = {
            name: round((later - earlier) / seconds, 1) if seconds > 0 else 0.0
            for name, earlier, later in zip(Sample._fields, before, now, strict=True)
        }
        rates.pop("time")
        return {"seconds": round(seconds, 3), **rates}

    def _now(self) -> Sample:
        counted = self._metrics
        delivered, delivered_bytes = sum(counted.delivered.values()), sum(counted.delivered_bytes.values())
        return Sample(self._clock.seconds(), counted.published, counted.published_bytes, delivered, delivered_bytes)


def introspection(router: Router, rates: Rates, clock: Clock) -> dict[bytes, IResource]:
    """Return the resources by the first segment of their path."""
    resource = _Rooted(Introspection(router, rates, clock).app.resource())
    return dict.fromkeys((b"healthz", b"readyz", b"metrics", b"stats"), resource)


class Introspection:
    """The application. Each route answers with the whole body."""

    app = Klein()

    def __init__(self, router: Router, rates: Rates, clock: Clock) -> None:
        self._router = router
        self._rates = rates
        self._clock = clock
        self._cooperator = Cooperator(scheduler=lambda step: clock.callLater(0, step))

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Any) -> bytes:
        """The process is up."""
        return _json(request, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: Any) -> bytes:
        """Publishers and subscribers may come; a balancer sends them elsewhere otherwise."""
        if self._router.draining:
            raise Draining("the daemon is shutting down")
        return _json(request, {"status": "ok"})

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Any) -> bytes:
        """The counters as Prometheus text."""
        body = self._router.metrics.exposition(self._gauges())
        return _answer(request, body, b"text/plain; version=0.0.4; charset=utf-8")

    @app.route("/stats", methods=["GET"])
    def stats(self, request: Any) -> bytes:
        """The daemon as a whole."""
        _parameters(request, ())
        router, counted, gauges = self._router, self._router.metrics, self._gauges()
        return _json(
            request,
            {
                "version": __version__,
                "uptime": round(self._clock.seconds() - self._rates.started, 3),
                "draining": router.draining,
                "epoch": router.epoch,
                "position": str(router.log.position(router.log.end)),
                "rates": self._rates.per_second(),
                "published": counted.published,
                "published_bytes": counted.published_bytes,
                "delivered": counted.delivered,
                "delivered_bytes": counted.delivered_bytes,
                "gaps": counted.gaps,
                "slow": counted.slow,
                "stalled": counted.stalled,
                "reactor_lag": counted.reactor_lag,
                **gauges,
            },
        )

    @app.route("/stats/topics", methods=["GET"])
    async def topics(self, request: Any) -> bytes:
        """Topics that have messages, those that were published on first in front."""
        values = _parameters(request, ("limit", "prefix"))
        limit, prefix = _limit(values), values.get("prefix", "")
        every = islice((topic.name for topic in self._router.log.topics()), LOOKED_AT)
        names = list(islice((name for name in every if name.startswith(prefix)), limit + 1))
        more = len(names) > limit or self._router.log.topic_count > LOOKED_AT
        topics = await self._worked_out(self._topic, names[:limit])
        return _json(request, {"topics": topics, "more": more})

    @app.route("/stats/streams", methods=["GET"])
    async def streams(self, request: Any) -> bytes:
        """Open subscriptions, the oldest in front."""
        limit = _limit(_parameters(request, ("limit",)))
        streams = list(islice(self._router.streams.values(), limit + 1))
        shown_ = await self._worked_out(self._stream, streams[:limit])
        return _json(request, {"streams": shown_, "more": len(streams) > limit})

    @app.handle_errors(CometError)
    def refused(self, request: Any, failure: Failure) -> bytes:
        """A refusal of ours."""
        assert isinstance(failure.value, CometError)
        return _problem(request, failure.value)

    @app.handle_errors(WrongMethod)
    def wrong_method(self, request: Any, failure: Failure) -> bytes:
        """There is a route of that path, but not with that method."""
        allowed = ", ".join(sorted(failure.value.valid_methods or ()))  # type: ignore[union-attr]
        request.setHeader(b"allow", allowed.encode())
        method = request.method.decode("latin-1")
        return _problem(request, MethodNotAllowed(f"{shown(method)} is not done here; there is {allowed}"))

    @app.handle_errors(HTTPException)
    def not_found(self, request: Any, failure: Failure) -> bytes:  # noqa: ARG002
        """There is no route of that path."""
        return _problem(request, NotFound(f"there is nothing at {shown(request.path)}"))

    # -- what is told -----------------------------------------------------------------------------------------------

    def _gauges(self) -> dict[str, Any]:
        """The gauges of the table of metrics that the counters do not have."""
        router, log = self._router, self._router.log
        subscriptions: dict[str, int] = {}
        live = 0
        for audience in router.audiences:
            name = audience.key.transport
            subscriptions[name] = subscriptions.get(name, 0) + audience.size
            live += sum(len(row.members) for row in audience.rows)
        return {
            "subscriptions": subscriptions,
            "reading": len(router.streams) - live,
            "audiences": len(router.audiences),
            "retained": log.count,
            "retained_bytes": log.bytes,
            "topics": log.topic_count,
            "keys": len(router.keys),
        }

    def _topic(self, name: str) -> dict[str, Any] | None:
        topic = self._router.log.topic(name)
        if topic is None:
            return None
        return {
            "topic": name,
            "retained": len(topic),
            "position": str(self._router.log.position(topic.newest().offset)),
            "subscribers": self._router.receivers(name),
        }

    def _stream(self, subscription: Subscription) -> dict[str, Any] | None:
        audience = subscription.audience
        if audience is None:
            return None
        patterns = audience.key.patterns
        return {
            "stream": f"{subscription.stream[:STREAM_SHOWN]}…",
            "transport": audience.key.transport,
            "address": subscription.writer.peer(),
            "patterns": [pattern.text for pattern in patterns[:PATTERNS_SHOWN]],
            "pattern_count": len(patterns),
            "state": "reading" if subscription.row is None else "live",
            "lag": self._router.log.end - self._router.position_of(subscription),
            "age": round(self._router.age(subscription), 3),
        }

    def _worked_out(self, work_out: Callable[[Any], Any], things: Iterable[Any]) -> Deferred[list[Any]]:
        """Fire with ``work_out`` of each of ``things`` that still is there, after as many turns as that takes."""
        found: list[Any] = []

        def steps() -> Iterator[None]:
            for thing in things:
                result = work_out(thing)
                if result is not None:
                    found.append(result)
                yield

        done: Deferred[Any] = self._cooperator.coiterate(steps())
        done.addCallback(lambda _: found)
        return done


class _Rooted(Resource):
    """Gives an application the whole path, wherever in the tree it stands."""

    isLeaf = True

    def __init__(self, application: Any) -> None:
        super().__init__()
        self._application = application

    def render(self, request: Any) -> Any:
        """Answer, or raise :exc:`~comet.errors.NotFound`."""
        request.postpath = [*request.prepath, *request.postpath]
        request.prepath = []
        try:
            b"/".join(request.postpath).decode()
        except UnicodeDecodeError:
            raise NotFound(f"there is nothing at {shown(request.path)}") from None
        return self._application.render(request)


def _parameters(request: Any, known: tuple[str, ...]) -> dict[str, str]:
    """The query, which has no more than what is ``known``, each once."""
    values = {}
    for name, given in request.args.items():
        text = name.decode("utf-8", "replace")
        if text not in known:
            raise BadParameter(f"there is no parameter {shown(text)} here; there is {', '.join(known) or 'none'}")
        if len(given) > 1:
            raise BadParameter(f"the parameter {text} is there {len(given)} times")
        values[text] = given[0].decode("utf-8", "replace")
    return values


def _limit(values: dict[str, str]) -> int:
    text = values.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= LARGEST_LIMIT):
        raise BadParameter(f"limit={shown(text)}: it is a number from 1 to {LARGEST_LIMIT}")
    return int(text)


def _json(request: Any, value: object) -> bytes:
    return _answer(request, _encode(value), b"application/json")


def _answer(request: Any, body: bytes, content_type: bytes) -> bytes:
    request.setResponseCode(HTTPStatus.OK)
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-length", b"%d" % len(body))
    return body


def _problem(request: Any, error: CometError) -> bytes:
    body = problem(request, error)
    request.setHeader(b"content-length", b"%d" % len(body))
    return body
