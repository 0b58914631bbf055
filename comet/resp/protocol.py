"""The TCP port: a connection of a publisher, on Twisted.

What one read of the socket brings is one run: its commands are executed in order, its messages are one batch for the
store, and its replies are one write, when the store has answered and every earlier run has been replied to.

Three traps. A publisher may half-close after its last command, and still gets all replies (``printf … | nc -N``). It
may send without reading, or faster than the store takes: then its socket is not read, so TCP slows it down, and what
is kept for it stays bounded. And with a paused producer Twisted never ends a connection, so the producer goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from comet.errors import CometError, Draining, Internal, ProtocolViolation, shown
from comet.message import Draft
from comet.metrics import TCP, Metrics
from comet.resp.commands import BY_SPELLING, NEVER_QUEUED, Acknowledge, command_named
from comet.resp.replies import error
from comet.resp.session import Ending, Intake, Publisher, Refused, Session
from comet.resp.wire import LooksLikeHTTP, Request, RequestParser

MOST_RUNS = 4
"""Runs of one connection that may wait for the store; then its socket is not read."""

MOST_WAITING = 1_048_576
"""Bytes of one connection that may wait for the store; then its socket is not read."""

MOST_REPLIES = 262_144
"""Bytes of immediate replies that end a run: a short command may have a long reply, a thousand times over."""

QUIET_LOOKS = 5
"""Looks during which a publisher that was told of the end sends nothing, so that its connection may be closed."""

_log = Logger()


class Settings(Shape):
    """What this face wants to know of the configuration."""

    @property
    def max_payload(self) -> int:
        """The most bytes of a payload."""


class Run:
    """Replies in order, of which some wait for the store's word on the drafts, in order."""

    __slots__ = ("drafts", "immediate", "output", "replies", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.replies: list[bytes | Acknowledge] = []
        self.drafts: list[Draft] = []
        # Bytes of the replies that wait for nothing.
        self.immediate = 0
        self.output: bytes | None = None

    def execute(self, session: Session, requests: Iterator[Request]) -> bool:
        """Execute ``requests`` as far as is sensible, and return whether that was to their end.

        A command that is refused has its own reply, and the next is executed.
        """
        add = self.replies.append
        for request in requests:
            try:
                if isinstance(request, CometError):
                    raise request
                command = BY_SPELLING.get(request[0]) or command_named(request[0])
                if len(request) != command.arity:
                    command.check_arity(request)
                if session.transaction is None or command.name in NEVER_QUEUED:
                    answer = command.run(session, request)
                else:
                    answer = session.transaction.add(request, session.intake.max_payload)
            except CometError as refusal:
                answer = _refused(session, refusal, request)
            if isinstance(answer, Draft):
                assert command.acknowledge is not None
                add(command.acknowledge)
                self.drafts.append(answer)
                continue
            if isinstance(answer, list):
                self._execute_all(session, answer)
            else:
                add(answer)
                self.immediate += len(answer)
            if self.immediate > MOST_REPLIES or session.ending is not Ending.NOT_YET:
                return False
        return True

    def _execute_all(self, session: Session, commands: Sequence[Request]) -> None:
        """Execute the commands of a transaction. Replies that follow the head of an array are its items."""
        self.replies.append(b"*%d\r\n" % len(commands))
        requests = iter(commands)
        while not self.execute(session, requests):
            continue

    def stored(self, publisher: Publisher, offsets: Sequence[int]) -> None:
        """Fill the holes in the replies, now that the drafts have these offsets."""
        drafts = zip(self.drafts, offsets, strict=True)
        self.output = b"".join(
            [reply if isinstance(reply, bytes) else reply(publisher, *next(drafts)) for reply in self.replies]
        )

    def refused(self, refusal: CometError) -> None:
        """Fill the holes in the replies with one and the same refusal."""
        instead = error(refusal)
        self.output = b"".join([reply if isinstance(reply, bytes) else instead for reply in self.replies])


def _refused(session: Session, refusal: CometError, request: Request) -> bytes:
    metrics = session.intake.metrics
    what = "a command" if isinstance(request, CometError) else shown(request[0], 32)
    session.intake.refused(refusal, what, session.peer)
    if session.transaction is not None:
        session.transaction.spoilt = True
    if isinstance(refusal, ProtocolViolation):
        metrics.protocol_errors += 1
        session.ending = Ending.AT_ONCE if isinstance(refusal, LooksLikeHTTP) else Ending.AFTER_REPLIES
    return error(refusal)


def _peer(address: IAddress) -> str:
    """Return where the publisher is, for people; a UNIX socket has no address worth showing."""
    host = getattr(address, "host", None)
    return "local" if host is None else f"{host}:{address.port}"


@implementer(IHalfCloseableProtocol, IPushProducer)
class RespProtocol(Protocol):
    """One connection. It is the producer of its own replies: who does not read them is not read from."""

    transport: Any

    def __init__(self, intake: Intake, connections: set[RespProtocol]) -> None:
        self._intake = intake
        self._connections = connections
        self._parser = RequestParser(intake.max_payload)
        self._unread_bytes = 0
        # Requests that were parsed and wait for their turn.
        self._backlog: Iterator[Request] | None = None
        # Runs whose replies were not written yet.
        self._runs: deque[Run] = deque()
        self._waiting = 0
        self._proceeding = False
        self._reading = True
        # The publisher does not take its replies.
        self._stuck = False
        # The publisher has sent all that it will.
        self._ended = False
        # The daemon is on its way out: no further command is executed.
        self._leaving = False
        # Neither lost nor being closed.
        self._open = False
        # For how many looks nothing has come from a publisher that was told of the end.
        self._quiet = 0

    # -- what Twisted calls ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._open = True
        self._connections.add(self)
        self._intake.metrics.tcp_connections += 1
        self._session = Session(self._intake, _peer(self.transport.getPeer()))
        # A UNIX transport claims to be a TCP transport too.
        if ITCPTransport.providedBy(self.transport) and not IUNIXTransport.providedBy(self.transport):
            # Replies are whole writes, which Nagle would only hold back; and a publisher that vanished is found out.
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._quiet = 0
        self._intake.metrics.received_bytes[TCP] += len(data)
        if self._session.ending is not Ending.NOT_YET or not self._open:
            return
        requests = self._parser.feed(data)
        self._unread_bytes += len(data)
        if requests:
            # Some transports deliver what they had read before they were paused.
            self._backlog = iter(requests) if self._backlog is None else chain(self._backlog, requests)
            self._proceed()

    def readConnectionLost(self) -> None:
        """The publisher has half-closed: no more commands, but it waits for the replies."""
        self._ended = True
        if self._leaving and not self._open:
            self.transport.loseConnection()
        else:
            self._proceed()

    def writeConnectionLost(self) -> None:
        """Nothing can be replied any more."""
        if self._open:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._open = False
        self._connections.discard(self)
        self._intake.metrics.tcp_connections -= 1
        self._backlog = None
        self._runs.clear()

    def pauseProducing(self) -> None:
        """The transport holds more replies than the publisher takes."""
        self._stuck = True
        if self._open:
            self._pace()

    def resumeProducing(self) -> None:
        """The publisher has taken its replies."""
        self._stuck = False
        self._proceed()

    def stopProducing(self) -> None:
        """The connection is gone: ``connectionLost`` follows."""

    # -- what the factory calls --------------------------------------------------------------------------------------

    def bound(self, max_payload: int) -> None:
        """Take payloads of that size from now on."""
        self._parser.bound(max_payload)

    def finish(self) -> None:
        """Execute no more than what was read, and close after the replies to that."""
        self._leaving = True
        self._proceed()

    def look(self) -> None:
        """Close, if the publisher has heard of the end and sent nothing since the last looks."""
        if self._leaving and not self._open:
            self._quiet += 1
            if self._quiet == QUIET_LOOKS:
                self.transport.loseConnection()

    # -- executing ---------------------------------------------------------------------------------------------------

    def _proceed(self) -> None:
        """Execute what waits, as far as the store and the publisher keep up. Not entered twice at a time: the store
        often answers within the call."""
        if self._proceeding or not self._open:
            return
        self._proceeding = True
        try:
            while self._open and self._backlog is not None and not self._busy():
                self._execute(self._backlog)
        finally:
            self._proceeding = False
        if self._open:
            self._pace()
            self._close_if_done()

    def _busy(self) -> bool:
        return self._stuck or len(self._runs) >= MOST_RUNS or self._waiting >= MOST_WAITING

    def _execute(self, requests: Iterator[Request]) -> None:
        session = self._session
        run = Run(self._unread_bytes)
        self._unread_bytes = 0
        complete = run.execute(session, requests)
        self._intake.metrics.commands += len(run.replies)
        if complete or session.ending is not Ending.NOT_YET:
            self._backlog = None
        if session.ending is Ending.AT_ONCE:
            # Nothing before it came from a publisher either: nothing of this run is published.
            self._abort()
        else:
            self._publish(run)

    def _publish(self, run: Run) -> None:
        self._runs.append(run)
        self._waiting += run.size
        if not run.drafts:
            run.stored(self._intake.publisher, ())
            self._reply()
            return
        publishing = maybeDeferred(self._intake.publisher.publish, run.drafts)
        replying = publishing.addCallback(self._stored, run).addErrback(self._failed, run).addCallback(self._answered)
        replying.addErrback(lambda failure: _log.failure("replying to a publisher failed", failure))

    def _stored(self, offsets: Sequence[int], run: Run) -> None:
        run.stored(self._intake.publisher, offsets)

    def _failed(self, failure: Failure, run: Run) -> None:
        refusal = failure.value
        if isinstance(refusal, Draining):
            self._forsake(run)
            return
        if not isinstance(refusal, CometError):
            _log.failure("publishing failed", failure)
            refusal = Internal("the message was not taken; the daemon's log says why")
        for _ in run.drafts:
            self._intake.refused(refusal, "a message", self._session.peer)
        run.refused(refusal)

    def _forsake(self, run: Run) -> None:
        """Answer neither ``run`` nor what follows: a publisher whose connection ends without a reply tries again, with
        the daemon that comes next, while an error would be the end of it."""
        while run in self._runs:
            self._runs.pop()
        self._backlog = None
        self._leaving = True

    def _answered(self, _: None) -> None:
        self._reply()
        self._proceed()

    # -- replying ----------------------------------------------------------------------------------------------------

    def _reply(self) -> None:
        """Write the replies that are known, up to the first run that still waits."""
        outputs: list[bytes] = []
        while self._runs and (output := self._runs[0].output) is not None:
            self._waiting -= self._runs.popleft().size
            outputs.append(output)
        if outputs:
            self.transport.write(b"".join(outputs))

    def _pace(self) -> None:
        """Read from the socket, or stop: what was not read, TCP holds back at the publisher."""
        ending = self._ended or self._leaving or self._session.ending is not Ending.NOT_YET
        reading = not ending and self._backlog is None and not self._busy()
        if reading == self._reading:
            return
        self._reading = reading
        if reading:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def _close_if_done(self) -> None:
        ending = self._ended or self._leaving or self._session.ending is Ending.AFTER_REPLIES
        if ending and self._backlog is None and not self._runs:
            self._open = False
            self.transport.unregisterProducer()
            if self._leaving and not self._ended and not hasattr(self.transport, "wrappedProtocol"):
                # A socket that is closed with unread commands in it resets the connection, and with that takes replies
                # back that are under way: we end our direction, and ignore what still comes.
                self.transport.loseWriteConnection()
                self.transport.resumeProducing()
            else:
                self.transport.loseConnection()

    def _abort(self) -> None:
        self._open = False
        self.transport.abortConnection()


class RespFactory(Factory[RespProtocol]):
    """Makes a connection's protocol. ``publisher`` is the router, or what stands in for it."""

    noisy = False

    def __init__(
        self, publisher: Publisher, settings: Settings, metrics: Metrics, refused: Refused | None = None
    ) -> None:
        self._intake = Intake(publisher, settings.max_payload, metrics, refused)
        self.connections: set[RespProtocol] = set()

    def configure(self, settings: Settings) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._intake.max_payload = settings.max_payload
        for protocol in self.connections:
            protocol.bound(settings.max_payload)

    def buildProtocol(self, addr: IAddress | None) -> RespProtocol:  # noqa: ARG002
        """Return the protocol of one connection."""
        protocol = RespProtocol(self._intake, self.connections)
        protocol.factory = self
        return protocol

    def finish(self) -> None:
        """Close each connection after the replies to what it has sent so far. New ones are the port's affair."""
        for protocol in tuple(self.connections):
            protocol.finish()

    def look(self) -> bool:
        """To be called some times a second after :meth:`finish`; returns whether connections are left."""
        for protocol in tuple(self.connections):
            protocol.look()
        return bool(self.connections)
