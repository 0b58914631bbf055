"""The site: the factory of channels, the gate that every request passes, and the tree of resources that answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from comet.access.access import Access
from comet.access.grant import Grant
from comet.config import Config
from comet.consumers import Consumers
from comet.errors import CometError, Internal
from comet.holder import LOCAL, Holder
from comet.hooks.hooks import Hooks
from comet.interfaces import Clock
from comet.logs.access import AccessLog
from comet.metrics import Metrics
from comet.router import Router
from comet.stats.figures import Figures
from comet.stats.reporting import Reporter
from comet.stats.standing import Standing
from comet.web.answers import FOR_NOW, JSON, PROBLEM, problem_document, refusal_lines
from comet.web.api import introspection
from comet.web.channel import Channel
from comet.web.consumers import ConsumersResource
from comet.web.gate import Gate
from comet.web.head import Head
from comet.web.hooks import HooksResource
from comet.web.pages import pages
from comet.web.requests import Requests
from comet.web.resources import Branch, refuse
from comet.web.revocations import RevocationsResource
from comet.web.streams import Streams
from comet.web.topics import Topics
from comet.web.writer import descriptor_of, send

SWEEP = 1.0

NEW_SHARE = 0.5
"""The part of ``drain`` after which a connection on which nothing was asked yet is closed when the daemon stops."""

_PREFLIGHT = (
    b"Access-Control-Allow-Methods: GET, POST, DELETE\r\n"
    b"Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, Last-Event-ID\r\n"
    b"Access-Control-Max-Age: 600\r\n"
)


class CometRequest(Request):
    """A request whose refusals are problem documents, and that is answered only if its Host and Origin may ask."""

    head: Head
    channel: Any
    prepath: list[bytes]
    query = b""
    origin = b""
    """The other origin whose page asks, if it is an allowed one."""
    holder = LOCAL
    """On whose behalf it is made."""
    client_address = ""
    """The address of its client, if that is not the one that has connected."""
    began: float | None = None
    refusal = ""
    """For the access log: when all of it was here, if all requests are logged, and the code of its refusal."""

    defaultContentType = None
    _headers: Headers | None = None

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.process()

    # Half the time of a subscribe would go into preparing what only few resources look at.

    @property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override, unused-ignore]
        """The query, parsed."""
        return parse_qs(self.query, 1) if self.query else {}

    @property
    def requestHeaders(self) -> Headers:  # type: ignore[override, unused-ignore]
        """The header fields, as twisted.web has them."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self.head.fields:
                self._headers.addRawHeader(name, value)
        return self._headers

    @requestHeaders.setter
    def requestHeaders(self, _: Headers) -> None:
        self._headers = None

    def process(self) -> None:
        self.site = self.channel.site
        self.prepath = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        try:
            self.origin = self.site.gate.origin(self)
            if self.origin and self.method == b"OPTIONS":
                self.answer(HTTPStatus.NO_CONTENT, b"", _PREFLIGHT)
                return
            holder = self.site.gate.holder(self)
        except CometError as error:
            self.refuse(error)
        else:
            if isinstance(holder, Holder):
                self._admit(holder)
            else:
                holder.addCallbacks(self._admit, refuse, errbackArgs=(self,))

    def _admit(self, holder: Holder) -> None:
        """Answer on behalf of ``holder``, if the client is still there."""
        self.holder = holder
        try:
            if self.channel is not None:
                self.render(self.site.getResourceFor(self))
        except CometError as error:
            self.refuse(error)
        except Exception:
            self.processingFailed(Failure())

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.setHeader(b"date", datetimeToString())
            if not self.channel.persistent:
                self.setHeader(b"connection", b"close")
            for line in self.cross_origin_lines().splitlines():
                self.responseHeaders.addRawHeader(*line.split(b": "))
        super().write(data)

    def cross_origin_lines(self) -> bytes:
        """The header lines that let the page of another origin read the answer; none if it is of this one."""
        if not self.origin:
            return b""
        return (
            b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
            % self.origin
        )

    def answer(self, status: HTTPStatus, body: bytes, further: bytes = b"", kind: bytes = JSON) -> None:
        """Answer past the machinery of twisted.web, which takes as long as publishing does. ``further`` are whole
        header lines, ``kind`` is the content type of ``body``."""
        channel = self.channel
        if channel is None:
            return
        self.code, self.sentLength = status, len(body)
        close = b"" if channel.persistent else b"Connection: close\r\n"
        # Only a 204 is without a body, and must not say how long it is (RFC 9110, section 8.6).
        about = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body)) if body else b""
        response = b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b%b%b\r\n%b" % (
            status,
            status.phrase.encode(),
            self.site.date(),
            about,
            FOR_NOW,
            self.cross_origin_lines(),
            further,
            close,
            b"" if self.method == b"HEAD" else body,
        )
        send(channel.transport, descriptor_of(channel.transport), response)
        self.startedWriting = self.finished = 1
        self.channel = None
        channel.answer_done()

    def refuse(self, error: CometError) -> None:
        """Answer with a problem document."""
        self.site.requests.refused(self, error)
        further = b""
        for name in (b"Allow", b"Upgrade", b"Sec-WebSocket-Version"):
            for value in self.responseHeaders.getRawHeaders(name, ()):
                further += b"%b: %b\r\n" % (name, value)
        further += refusal_lines(error)
        self.answer(HTTPStatus(error.status), problem_document(error), further, PROBLEM)

    def processingFailed(self, reason: Failure) -> Failure:
        self._log.failure("answering {method} {path} failed", reason, method=self.method, path=self.path)
        if self.channel is not None:
            if self.startedWriting:
                self.site.expect(self.channel, self.site.config.stall)
                self.channel.loseConnection()
            else:
                self.refuse(Internal("the daemon made a mistake; its log says more"))
        return reason


class CometSite(Site):
    """Makes the channels, and ends those whose deadline is over."""

    _log_ = Logger()
    protocol = Channel
    noisy = False

    def __init__(self, tree: IResource, gate: Gate, config: Config, metrics: Metrics, clock: Clock) -> None:
        super().__init__(tree, requestFactory=CometRequest, reactor=clock, parsePOSTFormSubmission=False)
        self.metrics = metrics
        self.clock = clock
        self.gate = gate
        self.limits = gate.limits
        self.access = AccessLog(config, metrics, clock)
        self.requests = Requests(self.access, clock)
        self.parts: list[Topics | ConsumersResource] = []
        """The resources that go by settings, too."""
        self.configure(config)
        self._date = (-1, b"")
        self.channels: set[Channel] = set()
        self.leaving = False
        self._left_at = 0.0
        self._deadlines: dict[Channel, float] = {}
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self.config = config
        self.proxies = config.proxy
        self.largest_body = max(config.max_payload, config.max_body)
        self.gate.configure(config)
        self.access.configure(config)
        for part in self.parts:
            part.configure(config)

    def startFactory(self) -> None:
        self._sweeping.start(SWEEP, now=False).addErrback(
            lambda failure: self._log_.failure("the sweep of the site ended", failure=failure)
        )

    def stopFactory(self) -> None:
        if self._sweeping.running:
            self._sweeping.stop()

    def finish(self) -> None:
        """Keep no connection beyond the answer that it waits for. New ones are the port's affair."""
        self.leaving = True
        self._left_at = self.clock.seconds()
        for channel in tuple(self.channels):
            if not channel.is_new:
                channel.leave()

    def look(self) -> bool:
        """To be called some times a second after :meth:`finish`; returns whether an answer is still owed."""
        if self.clock.seconds() - self._left_at >= self.config.drain * NEW_SHARE:
            for channel in tuple(self.channels):
                channel.leave()
        return any(channel.is_busy or channel.is_new for channel in self.channels)

    def buildProtocol(self, addr: object) -> Channel:  # noqa: ARG002
        channel = Channel()
        channel.site = channel.factory = self
        channel.requestFactory = self.requestFactory
        return channel

    def log(self, request: object) -> None:
        """Nothing: twisted.web's way to log knows neither refusals nor held responses."""

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may agree on. twisted.web's HTTP/2, which comes with ``h2``, is not fit for held responses."""
        return [b"http/1.1"]

    def getContentFile(self, length: int | None) -> io.BytesIO:  # noqa: ARG002
        """Memory: the channel has bounded it, and a spool file would block the reactor."""
        return io.BytesIO()

    def date(self) -> bytes:
        """The time for a ``Date`` header (RFC 9110, section 6.6.1), made once a second."""
        second = int(self.clock.seconds())
        if second != self._date[0]:
            self._date = second, datetimeToString()
        return self._date[1]

    def expect(self, channel: Channel, seconds: float) -> None:
        """Have ``channel`` called ``overdue`` if nothing changes within ``seconds``."""
        self._deadlines[channel] = self.clock.seconds() + seconds

    def expect_nothing(self, channel: Channel) -> None:
        """Undo ``expect``."""
        self._deadlines.pop(channel, None)

    def _sweep(self) -> None:
        now = self.clock.seconds()
        for channel in [channel for channel, deadline in self._deadlines.items() if deadline <= now]:
            self.expect_nothing(channel)
            channel.overdue()


def _revoke(router: Router, access: Access, covers: Callable[[Grant], bool]) -> int:
    access.revoked()
    return router.tenures.revoke(router.streams.values(), covers)


def make_site(router: Router, consumers: Consumers, hooks: Hooks, access: Access, clock: Clock) -> CometSite:
    """Return the factory of the HTTP face."""
    config = router.config
    figures = Figures(router, clock)
    standing = Standing(router, clock)
    topics = Topics(router, config)
    reading = ConsumersResource(consumers, router, config, clock)
    children: Mapping[bytes, IResource] = {
        b"topics": topics,
        b"consumers": reading,
        b"hooks": HooksResource(hooks, router, clock),
        b"streams": Streams(router, access),
        b"revocations": RevocationsResource(access.revocations, lambda covers: _revoke(router, access, covers)),
        **introspection(router, figures, standing, clock),
        **pages(config),
    }
    gate = Gate(config, access, router.limits)
    site = CometSite(Branch(children), gate, config, router.metrics, clock)
    site.parts += [topics, reading]
    router.each_second += [
        figures.each_second,
        Reporter(router, figures, standing).each_second,
        site.access.each_second,
    ]
    return site
