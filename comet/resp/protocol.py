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

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITCPTransport, IUNIXTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from comet.errors import CometError, TooSlow, Unauthorized
from comet.metrics import TCP
from comet.resp.admission import Admission, peer_of, too_many
from comet.resp.answering import Answering
from comet.resp.arriving import Arriving, ends_waiting
from comet.resp.guard import LockedOut
from comet.resp.outbox import Outbox
from comet.resp.replies import error
from comet.resp.runs import Run
from comet.resp.session import Ending, Intake, Session
from comet.resp.wire import MOST_UNKNOWN, Request
from comet.sockets import bound

QUIET_LOOKS = 5
"""Looks during which a publisher that was told of the end sends nothing, so that its connection may be closed."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class RespProtocol(Protocol):
    """One connection. It is the producer of its own replies: who does not read them is not read from."""

    transport: Any
    announced = False
    """Whether a proxy says whose connection it is (the PROXY protocol)."""

    def __init__(self, intake: Intake, connections: set[RespProtocol]) -> None:
        self._intake = intake
        self._connections = connections
        self._admission = Admission(intake)
        self._arriving = Arriving(intake)
        self._unread_bytes = 0
        # Bytes that may wait to be executed, or for the store; then its socket is not read.
        self._most_waiting = intake.config.max_waiting
        # Requests that were parsed and wait for their turn, and those that came behind them.
        self._backlog: Iterator[Request] | None = None
        self._behind: list[Request] = []
        self._outbox = Outbox()
        self._answering = Answering()
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
        # What is said last.
        self._farewell = b""
        # For how many looks nothing has come from a publisher that was told of the end.
        self._quiet = 0

    # -- what Twisted calls ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._session = session = Session(self._intake, peer_of(self.transport.getPeer()))
        try:
            self._admission.admit(self.transport, session, self.announced)
        except CometError as refusal:
            self._intake.refused(refusal, "a connection", session.peer)
            self._intake.limits.partings.part(self.transport, too_many(refusal))
            return
        self._open = True
        self._connections.add(self)
        self._intake.metrics.tcp_connections += 1
        self.regard()
        # A UNIX transport claims to be a TCP transport too.
        if ITCPTransport.providedBy(self.transport) and not IUNIXTransport.providedBy(self.transport):
            # Replies are whole writes, which Nagle would only hold back; and a publisher that vanished is found out.
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._quiet = 0
        self._intake.metrics.received_bytes[TCP] += len(data)
        if self.announced:
            self._reveal()
        if self._session.ending is not Ending.NOT_YET or not self._open:
            return
        due = self._arriving.due
        requests = self._arriving.feed(data, self._session.guard)
        if self._arriving.due < due:
            self._intake.patience.expect(self, self._arriving.patience(self._session.guard))
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
        self._admission.leave()
        self._intake.patience.forget(self)
        self._backlog = None
        self._outbox.clear()
        self._arriving.leave()
        self._leave()

    def pauseProducing(self) -> None:
        """The transport holds more replies than the publisher takes."""
        self._stuck = True
        if self._open:
            self._intake.patience.begin(self)
            self._pace()

    def resumeProducing(self) -> None:
        """The publisher has taken its replies."""
        self._stuck = False
        self._intake.patience.end(self)
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
        """The subscription was ended by the router, and with it the connection ends. If that is because its token is
        over, an error says so: Redis clients know no better word, and AUTH anew when they connect again."""
        if self._leaving:
            self._pace_or_close()
            return
        try:
            self._session.check_current()
        except Unauthorized as refusal:
            self._end(error(refusal))
        else:
            self._session.ending = Ending.AFTER_REPLIES
            self._pace_or_close()

    def abort(self) -> None:
        """Drop the connection, and what was not sent yet."""
        self._open = False
        self._intake.patience.forget(self)
        self.transport.abortConnection()

    def regard(self) -> None:
        """Go by what the client may do, which has changed: who has to AUTH is given little room, and little time."""
        guard, config = self._session.guard, self._intake.config
        self._most_waiting = config.max_waiting
        self._arriving.bound(config.max_payload)
        if guard is not None and guard.is_unknown:
            self._most_waiting = min(config.max_waiting, MOST_UNKNOWN)
            self._arriving.restrict()
        self._intake.patience.expect(self, self._arriving.patience(guard))

    # -- what is called once a second (comet.resp.patience.Impatient) ------------------------------------------------

    def overdue(self) -> None:
        """It had to AUTH by now, or the rest of a command had to be here."""
        guard, now = self._session.guard, self._intake.router.time()
        if guard is None or not self._open:
            return
        guard.look(now)
        if self._arriving.due <= now:
            self._turn_out(TooSlow("a command did not arrive in time (body-timeout); connect again"))
        elif self._answering.late is not None:  # perhaps it is just about to
            self._intake.patience.expect(self, 0)
        elif guard.locked:
            self._turn_out(LockedOut(f"{guard.locked}; that did not come in time (auth-timeout)"))
        else:
            self.regard()

    def _turn_out(self, refusal: CometError) -> None:
        self._intake.refused(refusal, "a connection", self._session.peer)
        self._end(error(refusal))

    def stalled(self) -> None:
        """It does not read what it is sent."""
        self._intake.metrics.stalled += 1
        self.abort()

    def _reveal(self) -> None:
        """With the first bytes it is known whose connection it is."""
        self.announced = False
        try:
            self._admission.admit(self.transport, self._session, announced=True)
        except CometError as refusal:
            self._intake.refused(refusal, "a connection", self._session.peer)
            self._end(too_many(refusal))
        else:
            self.regard()

    def _end(self, farewell: bytes) -> None:
        """Execute nothing more, and close with ``farewell`` behind the replies."""
        self._farewell = farewell
        self._arriving.leave()
        self._session.ending = Ending.AFTER_REPLIES
        self._backlog, self._behind = None, []
        self._pace_or_close()

    # -- what the factory calls --------------------------------------------------------------------------------------

    def reconsider(self) -> None:
        """Go by new settings."""
        self._admission.look_again(self._session)
        self.regard()

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
        self._pace_or_close()

    def _pace_or_close(self) -> None:
        if self._open:
            self._pace()
            self._close_if_done()

    def _queue(self, requests: Sequence[Request]) -> None:
        """Have ``requests`` wait behind others: some transports deliver what they had read before they were paused, and
        while a command waits for messages the socket is read on."""
        self._behind += requests
        if self._unread_bytes >= self._most_waiting or any(map(ends_waiting, requests)):
            self._wait_no_longer()

    def _busy(self) -> bool:
        return self._answering.late is not None or self._full()

    def _full(self) -> bool:
        return self._stuck or self._outbox.is_full(self._most_waiting)

    def _execute(self, requests: Iterator[Request]) -> None:
        session = self._session
        if session.guard is not None:
            session.guard.look(self._intake.router.time())
        run = Run(self._unread_bytes)
        self._unread_bytes = 0
        complete = run.execute(session, requests)
        self._answering.late = run.late
        self._intake.metrics.commands += run.count()
        if complete or session.ending is not Ending.NOT_YET:
            behind, self._behind = self._behind, []
            self._backlog = iter(behind) if behind and session.ending is Ending.NOT_YET else None
        if session.ending is Ending.AT_ONCE:
            # Nothing before it came from a publisher either: nothing of this run is published.
            self.abort()
        else:
            self._outbox.publish(run, session, self._told)

    # -- replying ----------------------------------------------------------------------------------------------------

    def _told(self, is_known: bool) -> None:
        """A run was stored or refused; or the daemon is on its way out, and nothing behind it is executed."""
        if not is_known:
            self._answering.late = None
            self._leave_now()
        self._reply()
        self._proceed()

    def _reply(self) -> None:
        replies = self._outbox.known()
        if replies:
            self.transport.write(replies)
        if self._answering.is_due and not self._outbox:
            self._answering.begin(self._session, self, self._answered_late)

    def _answered_late(self, answer: bytes | None) -> None:
        if answer is None:
            self._leave_now()
        elif self._open:
            self.transport.write(answer)
        self._proceed()

    def _leave_now(self) -> None:
        """Execute nothing more: the daemon that comes next will."""
        self._leaving = True
        self._backlog = None

    def _wait_no_longer(self) -> None:
        self._session.may_wait = not (self._ended or self._leaving)
        self._answering.hurry(self._session, self._leaving)

    def _pace(self) -> None:
        """Read from the socket, or stop: what was not read, TCP holds back at the publisher."""
        ending = self._ended or self._leaving or self._session.ending is not Ending.NOT_YET
        if self._answering.late is not None:  # read on, or nobody would see the client go
            reading = not ending and not self._stuck and self._unread_bytes < self._most_waiting
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
            if self._farewell:
                self.transport.write(self._farewell)
            self._open = False
            self._leave()
            self.transport.unregisterProducer()
            self._intake.patience.begin(self)  # perhaps it never takes its last replies
            if self._leaving and not self._ended and not hasattr(self.transport, "wrappedProtocol"):
                # A socket that is closed with unread commands in it resets the connection, and with that takes replies
                # back that are under way: we end our direction, and ignore what still comes.
                self.transport.loseWriteConnection()
                self.transport.resumeProducing()
            else:
                self.transport.loseConnection()

    def _is_done(self) -> bool:
        """Whether the connection is to end, and nothing is left to say."""
        if self._backlog is not None or self._outbox or self._answering.late is not None:
            return False
        if self._ended or self._session.ending is Ending.AFTER_REPLIES:
            return True
        # On its way out the router still brings subscribers what was published; then it has this close.
        return self._leaving and not self._session.is_subscribed

    def _leave(self) -> None:
        """End whatever goes on for the connection."""
        if self._session.subscriber is not None:
            self._session.subscriber.leave()
        self._answering.cancel()
