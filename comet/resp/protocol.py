"""The TCP port: a connection of a back end, on Twisted.

What one read of the socket brings is one run: its commands are executed in order, its messages are one batch for the
store, and its replies are one write, when the store has answered and every earlier run has been replied to. A command
that is late (it subscribes, or has to wait for its answer) ends its run, and is done when everything before it has been
replied to; what comes behind it waits.

Three traps. A publisher may half-close after its last command, and still gets all replies (``printf … | nc -N``). It
may send without reading, or faster than the store takes: then its socket is not read, so TCP slows it down, and what
is kept for it stays bounded. And with a paused producer Twisted never ends a connection, so the producer goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from comet.errors import CometError, Draining, Internal
from comet.metrics import TCP
from comet.resp.replies import NULL_ARRAY
from comet.resp.runs import Late, Run, refused
from comet.resp.session import Ending, Intake, Session
from comet.resp.wire import Request, RequestParser
from comet.sockets import bound

MOST_RUNS = 4
"""Runs of one connection that may wait for the store; then its socket is not read."""

MOST_WAITING = 1_048_576
"""Bytes of one connection that may wait for the store; then its socket is not read."""

QUIET_LOOKS = 5
"""Looks during which a publisher that was told of the end sends nothing, so that its connection may be closed."""

_log = Logger()


def _peer(address: IAddress) -> str:
    """Return where the publisher is, for people; a UNIX socket has no address worth showing."""
    host = getattr(address, "host", None)
    return "local" if host is None else f"{host}:{address.port}"


def _ends_waiting(request: Request) -> bool:
    """Whether a client says with ``request`` that it does not wait for its answers any longer."""
    return not isinstance(request, CometError) and request[0].upper() in (b"RESET", b"QUIT")


@implementer(IHalfCloseableProtocol, IPushProducer)
class RespProtocol(Protocol):
    """One connection. It is the producer of its own replies: who does not read them is not read from."""

    transport: Any

    def __init__(self, intake: Intake, connections: set[RespProtocol]) -> None:
        self._intake = intake
        self._connections = connections
        self._parser = RequestParser(intake.max_payload)
        self._unread_bytes = 0
        # Requests that were parsed and wait for their turn, and those that came behind them.
        self._backlog: Iterator[Request] | None = None
        self._behind: list[Request] = []
        # Runs whose replies were not written yet.
        self._runs: deque[Run] = deque()
        self._waiting = 0
        # The command for whose answer everything behind it waits, and its answer once that is under way.
        self._late: Late | None = None
        self._answering: Deferred[Any] | None = None
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
            if self._backlog is None:
                self._backlog = iter(requests)
            else:
                self._queue(requests)
            self._proceed()

    def readConnectionLost(self) -> None:
        """The client has half-closed: no more commands, but it waits for the replies. One that waits for messages has
        gone, for all we know."""
        self._ended = True
        self._wait_no_longer()
        if self._leaving and not self._open:
            self.transport.loseConnection()
        else:
            self._proceed()

    def writeConnectionLost(self) -> None:
        """Nothing can be replied any more."""
        if self._open:
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._open = False
        self._connections.discard(self)
        self._intake.metrics.tcp_connections -= 1
        self._backlog = None
        self._runs.clear()
        self._leave()

    def pauseProducing(self) -> None:
        """The transport holds more replies than the publisher takes."""
        self._stuck = True
        if self._open:
            self._pace()

    def resumeProducing(self) -> None:
        """The publisher has taken its replies."""
        self._stuck = False
        if self._session.subscriber is not None:
            self._session.subscriber.drained()
        self._proceed()

    def stopProducing(self) -> None:
        """The connection is gone: ``connectionLost`` follows."""

    # -- what its subscription calls (comet.resp.subscribing.Connection) ---------------------------------------------

    def push(self, data: bytes) -> bool:
        """Write messages behind what was written; whether there is room for more."""
        self.transport.write(data)
        return not self._stuck

    def bound(self) -> None:
        """Have the kernel keep no more than it should for a subscriber."""
        bound(self.transport, self._intake.router.config)

    def close(self) -> None:
        """The subscription was ended by the router, and with it the connection ends."""
        if not self._leaving:
            self._session.ending = Ending.AFTER_REPLIES
        if self._open:
            self._pace()
            self._close_if_done()

    def abort(self) -> None:
        """Drop the connection, and what was not sent yet."""
        self._open = False
        self.transport.abortConnection()

    # -- what the factory calls --------------------------------------------------------------------------------------

    def take(self, max_payload: int) -> None:
        """Take payloads of that size from now on."""
        self._parser.bound(max_payload)

    def finish(self) -> None:
        """Execute no more than what was read, wait for nothing, and close after the replies."""
        self._leaving = True
        self._wait_no_longer()
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

    def _queue(self, requests: Sequence[Request]) -> None:
        """Have ``requests`` wait behind others: some transports deliver what they had read before they were paused, and
        while a command waits for messages the socket is read on."""
        self._behind += requests
        if self._unread_bytes >= MOST_WAITING or any(map(_ends_waiting, requests)):
            self._wait_no_longer()

    def _busy(self) -> bool:
        return self._late is not None or self._full()

    def _full(self) -> bool:
        return self._stuck or len(self._runs) >= MOST_RUNS or self._waiting >= MOST_WAITING

    def _execute(self, requests: Iterator[Request]) -> None:
        session = self._session
        run = Run(self._unread_bytes)
        self._unread_bytes = 0
        complete = run.execute(session, requests)
        self._late = run.late
        self._intake.metrics.commands += run.count()
        if complete or session.ending is not Ending.NOT_YET:
            behind, self._behind = self._behind, []
            self._backlog = iter(behind) if behind and session.ending is Ending.NOT_YET else None
        if session.ending is Ending.AT_ONCE:
            # Nothing before it came from a publisher either: nothing of this run is published.
            self.abort()
        else:
            self._publish(run)

    def _publish(self, run: Run) -> None:
        self._runs.append(run)
        self._waiting += run.size
        if not run.drafts:
            run.stored(self._intake.router, ())
            self._reply()
            return
        publishing = maybeDeferred(self._intake.router.publish, run.drafts)
        replying = publishing.addCallback(self._stored, run).addErrback(self._failed, run).addCallback(self._answered)
        replying.addErrback(lambda failure: _log.failure("replying to a publisher failed", failure))

    def _stored(self, offsets: Sequence[int], run: Run) -> None:
        run.stored(self._intake.router, offsets)

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
        self._backlog = self._late = None
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
        if self._late is not None and not self._runs and self._answering is None:
            self._answer(self._late)

    def _answer(self, late: Late) -> None:
        """Do what was to wait until now."""
        answering: Deferred[Any] = maybeDeferred(late.do, self)
        self._answering = answering
        answering.addErrback(self._answer_failed, late.request)
        answering.addCallback(self._answer_late)
        answering.addErrback(lambda failure: _log.failure("answering a command failed", failure))

    def _wait_no_longer(self) -> None:
        """Have a command that waits for messages be answered as if its time were over."""
        self._session.may_wait = not (self._ended or self._leaving)
        if self._session.is_waiting and self._answering is not None:
            self._answering.cancel()

    def _answer_failed(self, failure: Failure, request: Request) -> bytes | None:
        refusal = failure.value
        if not self._open:  # it was cancelled
            return None
        if isinstance(refusal, CancelledError) and not self._leaving:
            return NULL_ARRAY[self._session.version]
        if isinstance(refusal, (Draining, CancelledError)):  # not answered, so that it is tried again
            self._leaving = True
            self._backlog = None
            return None
        if not isinstance(refusal, CometError):
            _log.failure("a command failed", failure)
            refusal = Internal("the command failed; the daemon's log says why")
        return refused(self._session, refusal, request)

    def _answer_late(self, reply: bytes | None) -> None:
        self._late = self._answering = None
        if reply is not None and self._open:
            self.transport.write(reply)
        self._proceed()

    def _pace(self) -> None:
        """Read from the socket, or stop: what was not read, TCP holds back at the publisher."""
        ending = self._ended or self._leaving or self._session.ending is not Ending.NOT_YET
        if self._late is not None:  # read on, or nobody would see the client go
            reading = not ending and not self._stuck and self._unread_bytes < MOST_WAITING
        else:
            reading = not ending and self._backlog is None and not self._full()
        if reading == self._reading:
            return
        self._reading = reading
        if reading:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def _close_if_done(self) -> None:
        if self._is_done():
            self._open = False
            self._leave()
            self.transport.unregisterProducer()
            if self._leaving and not self._ended and not hasattr(self.transport, "wrappedProtocol"):
                # A socket that is closed with unread commands in it resets the connection, and with that takes replies
                # back that are under way: we end our direction, and ignore what still comes.
                self.transport.loseWriteConnection()
                self.transport.resumeProducing()
            else:
                self.transport.loseConnection()

    def _is_done(self) -> bool:
        """Whether the connection is to end, and nothing is left to say."""
        if self._backlog is not None or self._runs or self._late is not None:
            return False
        if self._ended or self._session.ending is Ending.AFTER_REPLIES:
            return True
        # On its way out the router still brings subscribers what was published; then it has this close.
        return self._leaving and not self._session.is_subscribed

    def _leave(self) -> None:
        """End whatever goes on for the connection."""
        if self._session.subscriber is not None:
            self._session.subscriber.leave()
        if self._answering is not None:
            self._answering.cancel()
