"""Requests to the daemon: one at a time, or again and again until it is done.

The traps: treq's timeout ends with the headers, ours with the body; and treq asks for gzip, for which a proxy may
gather a stream until there is enough to pack. So streams are asked for without treq.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, succeed  # noqa: A004
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import (
    PotentialDataLoss,
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from comet.client.backoff import Backoff
from comet.client.errors import NOT_COMET, ClientError, Refused, Unreachable, refusal
from comet.sending.credentials import Token, authorization

ABREAST = 16
"""Requests that are under way at the same time, each on a connection of its own."""

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer, beyond which it is not Comet's."""

LOST = (
    *(ConnectError, ConnectionClosed, DNSLookupError, OSError, SSL.Error, TimeoutError),
    *(RequestGenerationFailed, RequestNotSent, RequestTransmissionFailed, ResponseFailed),
)
"""What says that there was no answer, or only a part of one."""

T = TypeVar("T")


class Said(NamedTuple):
    """What every request says."""

    headers: Mapping[str, str]
    token: Token = None

    def fields(self) -> dict[str, str]:
        """The header fields, with the current token. Raises ValueError for what cannot be one."""
        return {**self.headers, **authorization(self.token)}


class Requests:
    """Makes requests below one URL, each of which ``said`` something. ``timeout`` is in seconds, for each request."""

    def __init__(self, url: str, agent: Any, reactor: Any, timeout: float, said: Said) -> None:
        self.url = checked_url(url)
        self.reactor = reactor
        self.timeout = timeout
        self._agent = agent
        self._said = said
        self._abreast = DeferredSemaphore(ABREAST)

    def pause(self, seconds: float) -> Deferred[None]:
        """Fires after ``seconds``."""
        pause: Deferred[None] = deferLater(self.reactor, seconds)
        return pause

    def deadline(self, patience: float | None) -> float:
        """The time at which ``patience`` is over."""
        return float("inf") if patience is None else self.reactor.seconds() + patience

    async def insist(self, path: str, body: bytes, headers: Mapping[str, str], patience: float | None) -> bytes:
        """POST ``body`` until it is done; returns the body of the answer.

        After lost connections and refusals that pass it is tried again, for ``patience`` seconds, or for ever if that
        is None. Raises :exc:`~comet.client.errors.Refused` and :exc:`~comet.client.errors.Unreachable`.
        """
        until = self.deadline(patience)
        backoff = Backoff(random.random)
        last: ClientError
        while True:
            try:
                return await self._post(path, body, headers)
            except Unreachable as error:
                pause, last = backoff.pause(), error
            except Refused as refused:
                if not refused.passing:
                    raise
                pause, last = backoff.pause() + (refused.retry_after or 0.0), refused
            if self.reactor.seconds() + pause > until:
                raise last
            await self.pause(pause)

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        from treq.client import HTTPClient  # noqa: PLC0415 (18 MB that a publisher over TCP does not need)

        async def exchange() -> bytes:
            response = await HTTPClient(self._agent, data_to_body_producer=Payload).request(
                "POST",
                self.url + path,
                data=body,
                headers={**self._said.fields(), **headers},
                allow_redirects=False,
                unbuffered=True,
                reactor=self.reactor,
            )
            return await answer_of(response)

        async with self._abreast:
            try:
                return await Deferred.fromCoroutine(exchange()).addTimeout(self.timeout, self.reactor)
            except LOST as error:
                raise Unreachable(f"no answer from {self.url}: {reason(error)}") from None

    async def open(self, path: str, content_type: str) -> Any:
        """GET a response of that content type whose body has not been read. Raises as :meth:`insist` does."""
        headers = Headers({"Accept": [content_type], "User-Agent": ["comet-client"]})
        for name, value in self._said.fields().items():
            headers.setRawHeaders(name, [value])
        asking = self._agent.request(b"GET", (self.url + path).encode("ascii"), headers, None)
        try:
            response = await asking.addTimeout(self.timeout, self.reactor)
            if response.code == 200 and _header(response, "content-type").startswith(content_type):
                return response
            await Deferred.fromCoroutine(answer_of(response)).addTimeout(self.timeout, self.reactor)
        except LOST as error:
            raise Unreachable(f"no answer from {self.url}: {reason(error)}") from None
        raise not_comet(response.code)


@implementer(IBodyProducer)
class Payload:
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


class Whole(Protocol):
    """Collects a body. It is the answer of a program, so it is not large."""

    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        self._pieces.append(data)
        if self._size > LARGEST:
            self._pieces.clear()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(b"".join(self._pieces))
        else:
            self.ended.errback(reason)


async def answer_of(response: Any) -> bytes:
    """Return the body of a response, or raise :exc:`~comet.client.errors.Refused`."""
    whole = Whole()
    response.deliverBody(whole)
    body = await whole.ended
    if not 200 <= response.code < 300:
        if 300 <= response.code < 400:
            raise not_comet(response.code, f"the URL has moved to {_header(response, 'location')!r}; use that")
        raise refusal(response.code, body, _header(response, "retry-after"))
    return body


def decoded(body: bytes, kind: type[T]) -> T:
    """Return the answer that ``body`` is, or raise :exc:`~comet.client.errors.Refused` if it is not Comet's."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise not_comet(200) from None


def not_comet(status: int, detail: str = "") -> Refused:
    """Return what an answer comes to that Comet does not give."""
    return Refused(NOT_COMET, status, detail or "the answer is not from Comet; the URL is that of its HTTP port")


def reason(error: BaseException | None) -> str:
    """Return in one line what is wrong with a connection."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return reason(reasons[0].value)
    if isinstance(error, TimeoutError):
        return "it took too long"
    text = str(error) or type(error).__name__
    return text.splitlines()[0].removesuffix(".")


def checked_url(url: str) -> str:
    """Return ``url`` with a slash at its end. Raises ValueError."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("the URL cannot have a user and a password in it; give them as a header")
    if not url.isascii():
        raise ValueError(f"{url!r} cannot be used: a URL is ASCII, with % and xn-- for all else")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} cannot be used: write the URL of Comet's HTTP port, such as http://127.0.0.1:7080/")
    return url.rstrip("/") + "/"


def _header(response: Any, name: str) -> str:
    values = response.headers.getRawHeaders(name)
    return values[0] if values else ""
