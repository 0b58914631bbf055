"""What people and monitors ask: ``/healthz``, ``/readyz``, ``/metrics``, ``/stats``, ``/stats/topics`` and so on.

A Klein application. The traps: Klein answers what it does not find in HTML, so its exceptions become ours; it takes the
path from what is left of it, so :class:`_Rooted` gives it all of it; and a list of a hundred thousand things must not
hold up the reactor, so lists are bounded, and what goes into them is worked out a few milliseconds per turn.
"""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import Any

from klein import Klein
from msgspec.json import Encoder
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from comet.errors import CometError, Draining, MethodNotAllowed, NotFound, StoreFailed, shown
from comet.interfaces import Clock
from comet.router import Router
from comet.stats.figures import Figures
from comet.stats.piecemeal import Piecemeal
from comet.stats.standing import LIVE, STATES, Standing, Wanted
from comet.transports import RESP, named
from comet.web.answers import problem
from comet.web.query import choice, limit_of, parameters

LOOKED_AT = 100_000
"""Topics whose names are looked at for a prefix: about 10 ms."""

BEHIND, OLDEST = SORTS = ("behind", "age")

_encode = Encoder().encode


def introspection(router: Router, figures: Figures, standing: Standing, clock: Clock) -> dict[bytes, IResource]:
    """Return the resources by the first segment of their path."""
    resource = _Rooted(Introspection(router, figures, standing, clock).app.resource())
    return dict.fromkeys((b"healthz", b"readyz", b"metrics", b"stats"), resource)


class Introspection:
    """The application. Each route answers with the whole body."""

    app = Klein()

    def __init__(self, router: Router, figures: Figures, standing: Standing, clock: Clock) -> None:
        self._router = router
        self._figures = figures
        self._standing = standing
        self._piecemeal = Piecemeal(clock)

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Any) -> bytes:
        """The process is up."""
        return _json(request, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: Any) -> bytes:
        """Publishers and subscribers may come; a balancer sends them elsewhere otherwise."""
        if self._router.draining:
            raise Draining("the daemon is shutting down")
        if self._router.trouble:
            raise StoreFailed(self._router.trouble)
        return _json(request, {"status": "ok"})

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Any) -> bytes:
        """The counters as Prometheus text."""
        body = self._router.metrics.exposition(self._figures.gauges())
        return _answer(request, body, b"text/plain; version=0.0.4; charset=utf-8")

    @app.route("/stats", methods=["GET"])
    def stats(self, request: Any) -> bytes:
        """The daemon as a whole."""
        parameters(request, ())
        return _json(request, self._figures.daemon())

    @app.route("/stats/topics", methods=["GET"])
    async def topics(self, request: Any) -> bytes:
        """Topics that have messages, those that were published on first in front."""
        values = parameters(request, ("limit", "prefix"))
        limit, prefix = limit_of(values), values.get("prefix", "")
        every = islice((topic.name for topic in self._router.log.topics()), LOOKED_AT)
        names = list(islice((name for name in every if name.startswith(prefix)), limit + 1))
        more = len(names) > limit or self._router.log.topic_count > LOOKED_AT
        topics = await self._piecemeal.each(self._figures.topic, names[:limit], limit)
        return _json(request, {"topics": topics, "more": more})

    @app.route("/stats/streams", methods=["GET"])
    async def streams(self, request: Any) -> bytes:
        """Open subscriptions, the oldest in front, or those that are not live, the slowest in front."""
        values = parameters(request, ("limit", "state", "transport", "sort"))
        limit = limit_of(values)
        streams = await self._streams(choice(values, "sort", SORTS) or OLDEST, _wanted(values, limit + 1))
        return _json(request, {"streams": streams[:limit], "more": len(streams) > limit})

    def _streams(self, order: str, wanted: Wanted) -> Deferred[list[dict[str, Any]]]:
        if order == BEHIND and wanted.state != LIVE:
            return self._standing.slowest(wanted)
        return self._standing.oldest(wanted)

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


def _wanted(values: dict[str, str], most: int) -> Wanted:
    transport = values.get("transport", "")
    if transport not in ("", RESP):
        named(transport)
    return Wanted(most, choice(values, "state", STATES), transport)


def _json(request: Any, value: object) -> bytes:
    return _answer(request, _encode(value), b"application/json")


def _answer(request: Any, body: bytes, content_type: bytes) -> bytes:
    request.setResponseCode(HTTPStatus.OK)
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"content-length", b"%d" % len(body))
    return body


def _problem(request: Any, error: CometError) -> bytes:
    body = problem(request, error)
    request.setHeader(b"content-length", b"%d" % len(body))
    return body
