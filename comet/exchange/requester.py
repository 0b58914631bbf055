"""One request to somebody else's server: the name looked up, the connection made, the answer awaited, up to its end.

So hooks are posted, and so the application is asked what somebody may do. The traps. What is checked must be what is
connected to: a name that is looked up twice may resolve to a public address first and to the loopback then (DNS
rebinding), so the connection is made to an address and not to the name, and TLS is still held against the name. A
server may be hostile, or ill: it answers a byte a minute, or for ever, or packs gigabytes into a page of gzip; so the
time of the whole is bounded, and so are the bytes, and nothing is unpacked. Redirects are not followed: they would let
a server choose where the daemon connects to. And treq's timeout ends with the headers of the answer.

Importing this takes 18 MB (treq, OpenSSL), so it is done when there is something to ask.
"""

from __future__ import annotations

from typing import Any, NoReturn

from hyperlink import EncodedURL
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    PotentialDataLoss,
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from comet import __version__
from comet.errors import AddressRefused
from comet.exchange.values import Asked, Bounds, NoReply, Reply

LARGEST = 65_536
"""Bytes of an answer that are read, its head included."""

ADDRESSES = 4
"""Addresses of a name that are tried."""

CONNECT_SHARE = 0.5
"""The part of the time that connecting may take, to all addresses together."""

_LOST = (
    *(ConnectError, ConnectionClosed, OSError, SSL.Error),
    *(RequestGenerationFailed, RequestNotSent, RequestTransmissionFailed, ResponseFailed),
)
"""What says that there was no answer, or only a part of one."""


class Requester:
    """Makes requests. ``trust`` is whom TLS trusts, the system's authorities if it is None."""

    def __init__(self, reactor: Any, trust: Any = None) -> None:
        self._reactor = reactor
        self._policy = BrowserLikePolicyForHTTPS(trust)

    def request(self, asked: Asked, bounds: Bounds) -> Deferred[Reply]:
        """Fires with the reply, whatever its status; fails with :exc:`~comet.exchange.values.NoReply`. Cancelling it
        drops the connection; it then fails with anything."""
        way = _Way(self._reactor, self._policy, bounds)
        requesting = Deferred.fromCoroutine(self._request(way, asked))
        return requesting.addTimeout(bounds.timeout, self._reactor, lambda _, seconds: way.overdue(seconds))

    async def _request(self, way: _Way, asked: Asked) -> Reply:
        agent = _Plain(Agent.usingEndpointFactory(self._reactor, way, HTTPConnectionPool(self._reactor, False)))
        response: Any = None
        body: bytes | None = None
        try:
            response = await HTTPClient(agent, data_to_body_producer=_Body).request(
                "GET" if asked.body is None else "POST",
                _AsItIs.from_text(asked.url),
                data=asked.body,
                headers={b"User-Agent": f"Comet/{__version__}".encode(), **asked.headers},
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            way.stage = "the end of the answer"
            body = await _read(response)
        except AddressRefused as refusal:
            raise NoReply(refusal.detail) from None
        except _LOST as error:
            # Of an answer that is too long there is the head.
            if response is None or not way.is_flooded:
                raise NoReply(way.described(error)) from None
        finally:
            await way.closed()
        return Reply(response.code, _values(response.headers), body)


class _AsItIs(EncodedURL):
    """A URL that is not to be rewritten: IDNA refuses underscores, and IPv6 addresses that end as IPv4 ones do."""

    def to_uri(self) -> EncodedURL:
        """Itself."""
        return self


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Way:
    """The way to the server of one request: what the agent connects by. ``stage`` says what is waited for."""

    stage = "the address"

    def __init__(self, reactor: Any, policy: BrowserLikePolicyForHTTPS, bounds: Bounds) -> None:
        self._reactor = reactor
        self._policy = policy
        self._bounds = bounds
        self._uri: Any = None
        self._meter: _Meter | None = None

    def endpointForURI(self, uri: URI) -> _Way:
        self._uri = uri
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(factory))

    @property
    def is_flooded(self) -> bool:
        """Whether more came than is read."""
        return self._meter is not None and self._meter.left < 0

    def overdue(self, seconds: float) -> NoReturn:
        """Raise what is to be said when the time is over."""
        raise NoReply(f"waited {seconds:g} s ({self._bounds.setting}), at last for {self.stage}")

    def described(self, error: BaseException | None) -> str:
        """What has gone wrong, in one line."""
        if self.is_flooded:
            return f"the head of the answer is longer than {LARGEST} bytes"
        reasons = getattr(error, "reasons", None)
        if reasons:
            return self.described(reasons[0].value)
        text = str(error) or type(error).__name__
        return f"while waiting for {self.stage}: {text.splitlines()[0].removesuffix('.')}"

    def closed(self) -> Deferred[None]:
        """Drop the connection, if it is still there: a server over TLS might never answer the farewell. Fires once it
        is gone."""
        if self._meter is None or not self._meter.connected:
            return succeed(None)
        self._meter.drop()
        return self._meter.gone

    async def _connect(self, factory: Any) -> Any:
        host = self._uri.host.decode("ascii")
        addresses = self._allowed(await _look_up(self._reactor, host, self._uri.port), host)
        self.stage = "a connection"
        timeout = self._bounds.timeout * CONNECT_SHARE / len(addresses)
        failed = ConnectError()
        for address in addresses:
            try:
                metered = _Metered(factory)  # type: ignore[no-untyped-call]
                self._meter = await self._endpoint(address, timeout).connect(metered)
            except ConnectError as error:
                failed = error
            else:
                self.stage = "an answer"
                return self._meter.wrappedProtocol
        raise failed

    def _allowed(self, found: list[Any], host: str) -> list[Any]:
        """Those of the addresses of ``host`` that may be connected to."""
        if not found:
            raise NoReply(f"there is no address of {host!r}")
        allowed, refused = [], None
        for address in found:
            try:
                self._bounds.check(address.host)
            except AddressRefused as refusal:
                refused = refusal
            else:
                allowed.append(address)
        if not allowed and refused is not None:
            raise refused
        return allowed[:ADDRESSES]

    def _endpoint(self, address: Any, timeout: float) -> Any:
        kind = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
        endpoint = kind(self._reactor, address.host, address.port, timeout)
        if self._uri.scheme == b"https":
            return wrapClientTLS(self._policy.creatorForNetloc(self._uri.host, self._uri.port), endpoint)
        return endpoint


def _look_up(reactor: Any, host: str, port: int) -> Deferred[list[Any]]:
    """Fire with the addresses of ``host``, in the system's order."""
    found: list[Any] = []
    # What comes after it was given up is nobody's any more.
    answer: Deferred[list[Any]] = Deferred(lambda _: None)

    @implementer(IResolutionReceiver)
    class Receiver:
        def resolutionBegan(self, resolution: object) -> None:
            """It can be given up; Twisted's cannot."""

        def addressResolved(self, address: Any) -> None:
            if isinstance(address, IPv4Address | IPv6Address):
                found.append(address)

        def resolutionComplete(self) -> None:
            if not answer.called:
                answer.callback(found)

    reactor.nameResolver.resolveHostName(Receiver(), host, port)
    return answer


class _Meter(ProtocolWrapper):
    """A connection on which the server may send so much, and no more."""

    transport: Any
    left = LARGEST

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.drop()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.connected = 0
        self.gone.callback(None)

    def drop(self) -> None:
        """End it at once."""
        self.transport.abortConnection()


class _Metered(WrappingFactory):
    """Makes them of the connections of another factory."""

    noisy = False
    protocol = _Meter


@implementer(IAgent)
class _Plain:
    """An agent that asks for plain answers, and whose responses are neither unpacked nor have cookies."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        headers.setRawHeaders(b"accept-encoding", [b"identity"])  # treq's own is gzip
        answer: Deferred[Any] = self._agent.request(method, uri, headers, bodyProducer)
        return answer.addCallback(self._plain)

    def _plain(self, response: Any) -> Any:
        for name in (b"content-encoding", b"set-cookie"):
            response.headers.removeHeader(name)
        return response


@implementer(IBodyProducer)
class _Body:
    """A body that is in memory already: one write, where treq's own takes turns of the global reactor."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is written already."""

    def resumeProducing(self) -> None:
        """It is written already."""

    def stopProducing(self) -> None:
        """It is written already."""


def _read(response: Any) -> Deferred[bytes]:
    """Fire with the body of ``response`` once it has ended; fail if it was broken off."""
    body = _Collected()
    response.deliverBody(body)
    return body.ended


class _Collected(Protocol):
    """A body, which the meter has bounded."""

    def __init__(self) -> None:
        self.ended: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(b"".join(self._parts))
        else:
            self.ended.errback(reason)


def _values(headers: Any) -> dict[str, str]:
    """The first value of each of ``headers``."""
    return {name.decode("latin-1").lower(): values[0].decode("latin-1") for name, values in headers.getAllRawHeaders()}
