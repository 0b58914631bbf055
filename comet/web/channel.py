"""The HTTP channel: one connection, its requests one after the other.

It takes the place of twisted.web's reading half. A head is read whole, by the strict reader; a body has a bound and a
least rate; deadlines are absolute, so that a byte now and then does not win time, and one sweep of the site finds them.
What ``Request`` and the resources see is twisted.web's channel as ever.

A response that is held has the connection for itself. For a stream :meth:`Channel.hand_over` gives the transport to a
writer and the channel is no more; for a poll it waits in :meth:`Channel.hold`, and a client that sends more than one
request ahead is dropped.
"""

from __future__ import annotations

import io
import re
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder, _IdentityTransferDecoder, _MalformedChunkedDataError

from comet.errors import BadRequest, CometError, HeadTooLarge, PayloadTooLarge, TooSlow, UrlTooLong
from comet.metrics import HTTP
from comet.web.answers import raw_problem
from comet.web.head import Head, check_trailers, early_fault, parse_head
from comet.web.writer import descriptor_of, peer_of, send

BODY_RATE = 1_024
"""Bytes a second that a body must bring, beyond the time that every body has."""

AHEAD = 16_384
"""Bytes that a client may send ahead while an answer is prepared or a poll is held."""

WRAPPING = 65_536
"""Bytes that the chunks of a body may have around their content, beside half as many as the content: a body in chunks
of one byte takes a thousand times as long to read as the same in one."""


_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")


class Held(Protocol):
    """Who waits for the client of a held poll to leave."""

    def lost(self) -> None:
        """The client has gone."""


class Channel(HTTPChannel):
    """Reads requests strictly, and has them answered in order."""

    requests: list[Any]
    announced = False
    """Whether a proxy says whose connection it is (the PROXY protocol)."""
    address = ""
    """The address under which the connection is counted."""
    _buffer = b""
    _body: Any = None
    _body_bytes = 0
    _body_due = 0.0
    _wire_bytes = 0
    _held: Held | None = None
    _idle = False
    _broken = False

    def connectionMade(self) -> None:
        try:
            self.address = self.site.limits.admit(self.transport)
        except CometError as error:
            self.site.access.refused(error, "a connection", peer_of(self.transport))
            self.site.limits.partings.part(self.transport, raw_problem(error))
            return
        self.transport.setTcpNoDelay(True)
        self._networkProducer = self.transport
        self._networkProducer.registerProducer(self, True)
        self.site.channels.add(self)
        self.site.metrics.http_connections += 1
        self.site.expect(self, self.site.config.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        self.site.metrics.received_bytes[HTTP] += len(data)
        if self.announced and not self.address:
            self._count_anew()
        if self._broken:
            return
        if self._handlingRequest:
            self._buffer += data
            if len(self._buffer) > AHEAD:
                self._pause_or_drop()
        elif self._body is not None:
            self._receive_body(data)
        else:
            self._buffer += data
            self._receive_head()

    def _count_anew(self) -> None:
        """Now that a proxy has said whose the connection is."""
        try:
            self.address = self.site.limits.admit_anew(self.address, self.transport)
        except CometError as error:
            self.refuse(error)

    def connectionLost(self, reason: Failure) -> None:
        self.site.metrics.http_connections -= 1
        self.site.limits.disconnected(self.address)
        self.site.expect_nothing(self)
        self.site.channels.discard(self)
        self._broken = True  # what was pipelined is not answered any more
        self._forget_body()
        self._buffer = b""
        held, self._held = self._held, None
        if held is not None:
            held.lost()
        for request in self.requests:
            self.site.requests.abandoned(request, self.transport)
            request.connectionLost(reason)
        self.requests = []

    # -- the head ---------------------------------------------------------------------------------------------------

    def _receive_head(self) -> None:
        if self._buffer[:2] == b"\r\n":  # RFC 9112, section 2.2: some clients end a body with an empty line
            self._buffer = _EMPTY_LINES.sub(b"", self._buffer)
        end = self._buffer.find(b"\r\n\r\n")
        most = self.site.config.max_head
        if end > most or (end < 0 and len(self._buffer) > most):
            self.refuse(self._too_large(most))
            return
        if end < 0:
            fault = early_fault(self._buffer)
            if fault is not None:
                self.refuse(BadRequest(fault))
            elif self._idle and self._buffer:
                self._idle = False
                self.site.expect(self, self.site.config.head_timeout)
            return
        data, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        try:
            head = parse_head(data)
            self._begin(head)
        except CometError as error:
            self.refuse(error)

    def _too_large(self, most: int) -> CometError:
        if self._buffer.find(b"\r\n", 0, most) < 0:
            return UrlTooLong(f"the request line has more than {most} bytes (max-head)")
        return HeadTooLarge(f"the request line and headers have more than {most} bytes (max-head)")

    def _begin(self, head: Head) -> None:
        """Make a request of ``head``, and have it answered once its body is there."""
        longest = self.site.config.max_url
        if len(head.target) > longest:
            raise UrlTooLong(f"the path with its query has {len(head.target)} bytes; at most {longest} (max-url)")
        most = self.site.largest_body
        if head.length is not None and head.length > most:
            raise PayloadTooLarge(f"the body has {head.length} bytes; at most {most} are allowed")
        request = self.requestFactory(self, False)
        self.requests.append(request)
        self.persistent = head.persistent and not self.site.leaving
        request.head = head
        request.content = io.BytesIO()
        if head.length == 0:
            self._answer()
            return
        if head.expects_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._body_due = self.site.clock.seconds() + self.site.config.body_timeout
        self._wire_bytes = 0
        if head.length is None:
            self._body = _ChunkedTransferDecoder(self._take_body, self._chunks_done)
        else:
            self._body = _IdentityTransferDecoder(head.length, self._take_body, self._body_done)
        ahead, self._buffer = self._buffer, b""
        self.site.expect(self, self.site.config.body_timeout)
        if ahead:
            self._receive_body(ahead)

    # -- the body ---------------------------------------------------------------------------------------------------

    def _receive_body(self, data: bytes) -> None:
        self._wire_bytes += len(data)
        try:
            self._body.dataReceived(data)
            if self._body is not None and self._wire_bytes > WRAPPING + self._body_bytes * 3 // 2:
                raise BadRequest("the chunks of the body are too small for what is around them; send larger ones")
        except (_MalformedChunkedDataError, CometError) as error:
            self.refuse(error if isinstance(error, CometError) else BadRequest("the chunks of the body are malformed"))

    def _take_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        self.site.limits.bodies.take(len(data), self._body_bytes)
        if self._body_bytes > self.site.largest_body:
            raise PayloadTooLarge(f"the body has more than {self.site.largest_body} bytes")
        self.requests[0].content.write(data)
        now = self.site.clock.seconds()
        # What comes quickly wins no more time than every body has: megabytes that came at once could be held for hours.
        self._body_due = min(now + self.site.config.body_timeout, self._body_due + len(data) / BODY_RATE)
        self.site.expect(self, self._body_due - now)

    def _forget_body(self) -> None:
        """The body is no longer in memory, or is about to be so."""
        if self._body_bytes:
            self.site.limits.bodies.give_back(self._body_bytes)
            self._body_bytes = 0
        self._body = None

    def _chunks_done(self, rest: bytes) -> None:
        check_trailers(self._body._trailerHeaders)
        self._body_done(rest)

    def _body_done(self, rest: bytes) -> None:
        self._body = None
        self._buffer = rest
        self._answer()

    # -- the answer -------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        self._handlingRequest = True
        self.site.expect_nothing(self)
        request = self.requests[0]
        head = request.head
        self.site.requests.begin(request)
        request.requestReceived(head.method, head.target, head.version)

    def requestDone(self, request: Any) -> None:  # noqa: ARG002
        self.answer_done()

    def answer_done(self) -> None:
        """The response is written: go on with the connection, in a later turn if there is more already."""
        if self.site.access.all:
            for request in self.requests:
                self.site.requests.answered(request, self.transport, "" if self._held is None else "poll")
        self._held = None
        self._forget_body()
        self.requests.clear()
        if not self.persistent or self.site.leaving:
            self._broken = True
            self.site.expect(self, self.site.config.stall)
            if self._buffer:
                self._close_slowly()
            else:
                self.loseConnection()
            return
        self._handlingRequest = False
        self._idle = True
        self.site.expect(self, self.site.config.idle_timeout)
        if self._waitingForTransport:
            self.transport.pauseProducing()  # a client that does not read its answers gets no further ones
        if self._buffer or self._waitingForTransport:
            self.site.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self.connected and not self._broken and not self._handlingRequest and not self._waitingForTransport:
            self.transport.resumeProducing()
            if self._buffer:
                self._receive_head()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._go_on()

    def refuse(self, error: CometError) -> None:
        """Answer a request that never became one, and close."""
        self.site.access.refused(error, "a request", peer_of(self.transport))
        self._broken = True
        self._forget_body()
        self._buffer = b""
        self.requests.clear()
        send(self.transport, descriptor_of(self.transport), raw_problem(error))
        self.site.expect(self, self.site.config.head_timeout)
        self._close_slowly()

    def _close_slowly(self) -> None:
        """End our direction of the connection and ignore what still comes, until the client leaves or its time is
        over: a socket that is closed with unread bytes in it resets the connection, and the answer may be lost."""
        self._networkProducer.unregisterProducer()
        if hasattr(self.transport, "wrappedProtocol"):
            self.transport.loseConnection()  # TLS waits for the client's own goodbye
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()

    @property
    def is_busy(self) -> bool:
        """Whether a request is here, in whole or in part, that has no answer yet."""
        return not self._broken and bool(self._handlingRequest or self._body or self._buffer)

    @property
    def is_new(self) -> bool:
        """Whether nothing was asked yet, but probably is about to be."""
        return not (self._idle or self._broken)

    def leave(self) -> None:
        """Close, if there is nothing to answer."""
        if not (self.is_busy or self._broken):
            self._broken = True
            self.loseConnection()

    def overdue(self) -> None:
        """The deadline is over."""
        if self._broken or self._handlingRequest:
            self.transport.abortConnection()
        elif self._body is not None or self._buffer:
            self.refuse(TooSlow("the request did not arrive in time"))
        else:
            self._broken = True
            self.site.expect(self, self.site.config.head_timeout)
            self.loseConnection()

    # -- held responses ---------------------------------------------------------------------------------------------

    def hold(self, held: Held) -> None:
        """The request is a poll that will be answered by ``answer_done``; tell ``held`` if the client leaves first."""
        self._held = held

    @property
    def ahead(self) -> bytes:
        """What was received behind the request that is being answered."""
        return self._buffer

    def hand_over(self) -> tuple[Any, bytes]:
        """Give up the transport, and return it and what was received behind the request. Whoever takes it calls
        :func:`~comet.sockets.take_over`, and tells the limits when it is disconnected."""
        self._networkProducer.unregisterProducer()
        self.site.expect_nothing(self)
        self.site.channels.discard(self)
        self._forget_body()
        self.requests.clear()
        return self.transport, self._buffer

    def _pause_or_drop(self) -> None:
        if self._held is not None:
            self.site.metrics.intruded += 1
            self.transport.abortConnection()
        else:
            self.transport.pauseProducing()


assert not IHalfCloseableProtocol.implementedBy(Channel)  # a FIN from the client is its leaving
