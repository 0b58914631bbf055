"""One connection to the TCP port. It is the producer of what it writes, so it knows when the daemon takes no more.

The trap: with a producer registered Twisted never ends a connection, so the producer goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, ITCPTransport, IUNIXTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from comet.client.requests import reason as reason_of
from comet.sending.wire import NotRESP, Replies, Reply, auth


@implementer(IPushProducer)
class Link(Protocol):
    """Sends bytes and reads replies. ``take`` is given those that have come, ``proceed`` is called when more can be
    sent, and after ``patience`` seconds in which a reply is due and none comes the connection is given up."""

    transport: Any

    def __init__(
        self,
        take: Callable[[list[Reply]], None],
        proceed: Callable[[], None],
        reactor: Any,
        patience: float,
        token: str = "",
    ) -> None:
        self.ended: Deferred[str] = Deferred()
        """Fires with why, once the connection is gone."""
        self.writable = True
        self.is_resp = True
        self.denied = ""
        """Why the daemon does not take the token, if it does not."""
        self._token = token
        self._is_introduced = not token
        self._take = take
        self._proceed = proceed
        self._reactor = reactor
        self._patience = patience
        self._replies = Replies()
        self._watch: Any = None
        self._why = ""

    # -- what Twisted calls ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        # A UNIX transport claims to be a TCP transport too.
        if ITCPTransport.providedBy(self.transport) and not IUNIXTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        if self._token:
            self.send(auth(self._token))

    def dataReceived(self, data: bytes) -> None:
        if self._why:
            return
        try:
            replies = self._replies.feed(data)
        except NotRESP:
            self.is_resp = False
            self.abort("the port does not speak RESP")
            return
        if replies and not self._is_introduced:
            self._introduced(replies.pop(0))
        if self._token and any(reply.code == "NOAUTH" for reply in replies):
            self._expired(replies)
        elif replies:
            self._take(replies)

    def _introduced(self, reply: Reply) -> None:
        self._is_introduced = True
        self.await_reply(False)
        if reply.code:
            self.denied = f"{reply.code} {reply.detail}"
            self.abort(self.denied)
        else:
            self._proceed()

    def _expired(self, replies: list[Reply]) -> None:
        """A token that is over is no refusal of the messages: the next connection says another one."""
        before = [reply.code for reply in replies].index("NOAUTH")
        if before:
            self._take(replies[:before])
        self.abort("the token is over")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.await_reply(False)
        self.writable = False
        self._why = self._why or reason_of(reason.value)
        self.ended.callback(self._why)

    def pauseProducing(self) -> None:
        """More is written than the daemon takes."""
        self.writable = False

    def resumeProducing(self) -> None:
        """The daemon has taken what was written."""
        self.writable = not self._why
        if self.writable:
            self._proceed()

    def stopProducing(self) -> None:
        """The connection is gone: ``connectionLost`` follows."""

    # -- what the publisher calls ------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether messages can be sent."""
        return self.writable and self._is_introduced

    def send(self, data: bytes) -> None:
        """Send ``data``, to which replies are due."""
        self.transport.write(data)
        if self._watch is None:
            self.await_reply(True)

    def await_reply(self, due: bool) -> None:
        """Begin anew to wait for a reply, or end it."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._reactor.callLater(self._patience, self._silent) if due else None

    def finish(self, why: str) -> None:
        """Close the connection."""
        if not self._why:
            self._why = why
            self.writable = False
            self.await_reply(False)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self, why: str) -> None:
        """Let go of the connection, whatever is under way."""
        if not self._why:
            self._why = why
            self.writable = False
            self.await_reply(False)
            self.transport.abortConnection()

    def _silent(self) -> None:
        self._watch = None
        self.abort(f"no reply came for {self._patience:g} seconds")
