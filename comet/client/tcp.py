"""Publishing over the TCP port, many messages in flight on one connection.

What to send, what was sent and what to send again is ``comet/sending``'s, as for the blocking publisher; here is the
connection. The traps: replies name no message, so one that is given up takes its connection with it; and a daemon that
takes no more must not make this process grow, so who publishes much waits for :meth:`TCPPublisher.drained`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from secrets import token_hex
from types import TracebackType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, clientFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.client.backoff import Backoff
from comet.client.errors import NOT_COMET, Closed, Refused, Unreachable
from comet.client.link import Link
from comet.client.reactors import chosen
from comet.client.requests import LOST, reason
from comet.client.values import payload_of
from comet.errors import every
from comet.sending.credentials import Denied, Token, current
from comet.sending.link import address_of
from comet.sending.outbox import Item, Outbox
from comet.sending.wire import Outgoing, Reply, command

WINDOW = 1_000
"""Messages that may be sent without a reply."""

BATCH_BYTES = 131_072
"""Bytes of payload that are written at once."""

MOST, MOST_BYTES = 2_000, 4 * 1024 * 1024
"""Messages and bytes of payload without a reply from which on ``drained`` waits."""

_STATUSES = {refusal.code: refusal.status for refusal in every()}
_log = Logger()


class TCPPublisher:
    """Publishes to the TCP port of the daemon at ``server``: ``host:port``, the path of a UNIX socket, an endpoint
    string of Twisted such as ``tls:push.example.org:7081``, or an endpoint; or a host, with ``port``.

    It connects when there is something to publish, and again when the connection is lost; what was not acknowledged is
    sent again under the same idempotency key, so that it is published once. After ``patience`` seconds without any
    acknowledgement, or never if that is None, what waits fails. A connection on which nothing is acknowledged for
    ``timeout`` seconds counts as lost. With ``keys=False`` messages have no keys but those that are given: a message
    that was under way when a connection was lost may then be published twice. ``token`` says who publishes; it may be
    called for the current token, for each connection. An asynchronous context manager.
    """

    def __init__(  # noqa: PLR0913 (they are keywords)
        self,
        server: Any = "127.0.0.1:7081",
        port: int | None = None,
        *,
        reactor: Any = None,
        timeout: float = 10.0,
        patience: float | None = 30.0,
        keys: bool = True,
        token: Token = None,
    ) -> None:
        self._reactor = chosen(reactor)
        self._server = str(server) if port is None else f"{server}:{port}"
        self._endpoint = _endpoint(self._reactor, server, port)
        self._timeout = timeout
        self._token = token
        self._patience = patience
        self._prefix = f"{token_hex(8)}-" if keys else ""
        self._numbers = itertools.count(1)
        self._outbox = Outbox()
        # By number: who waits for the reply, and how large the message is.
        self._waiting: dict[int, tuple[Deferred[str], int]] = {}
        self._bytes = 0
        self._draining: list[Deferred[None]] = []
        self._closing: list[Deferred[None]] = []
        self._closed = False
        self._keeping: Deferred[None] | None = None
        self._backoff = Backoff(random.random)
        self._attempt: Deferred[Any] | None = None
        self._link: Link | None = None
        self._giving_up: Any = None
        self._why = "no attempt has come to an end"

    # -- publish ----------------------------------------------------------------------------------------------------

    def publish(
        self, topic: str, data: Any, *, content_type: str | None = None, key: str | None = None
    ) -> Deferred[str]:
        """Publish one message, without waiting for those before it; fires with its position once it is stored.

        Bytes and strings are published as they are, any other value as JSON. Fails with :exc:`~comet.client.Refused`,
        :exc:`~comet.client.Unreachable` or :exc:`~comet.client.Closed`. Cancelling it ends the waiting; the message
        may be published all the same. Raises TypeError for data that is no JSON.
        """
        payload, own_type = payload_of(data)
        if self._closed:
            return fail(Closed("the publisher was closed"))
        number = next(self._numbers)
        if key is None:
            key = f"{self._prefix}{number}" if self._prefix else ""
        self._outbox.put(Item(number, Outgoing(topic, payload, content_type or own_type, key)))
        published: Deferred[str] = Deferred(partial(self._forget, number))
        self._waiting[number] = (published, len(payload))
        self._bytes += len(payload)
        if self._giving_up is None and self._patience is not None:
            self._giving_up = self._reactor.callLater(self._patience, self._give_up)
        if self._keeping is None:
            self._keep()
        self._send()
        return published

    def drained(self) -> Deferred[None]:
        """Fires once there are few messages without a reply: at once, unless the daemon is slower than the program."""
        if self._has_room():
            return succeed(None)
        drained: Deferred[None] = Deferred(self._draining.remove)
        self._draining.append(drained)
        return drained

    def close(self) -> Deferred[None]:
        """Take no more messages; fires when those that were taken are settled and the connection is closed. Cancelling
        it gives those up that are not."""
        self._closed = True
        closing: Deferred[None] = Deferred(self._close_at_once)
        self._closing.append(closing)
        self._settled()
        return closing

    async def __aenter__(self) -> TCPPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- the connection ---------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._keeping = Deferred.fromCoroutine(self._keep_connected())
        self._keeping.addBoth(self._kept)

    def _kept(self, result: Failure | None) -> None:
        self._keeping = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            _log.failure("keeping a connection failed", result)
        self._settled()

    async def _keep_connected(self) -> None:
        """Connect, and again, while there is something to publish; and stay connected."""
        factory = Factory.forProtocol(self._new_link)
        while self._waiting:
            try:
                link = await self._until(self._endpoint.connect(factory).addTimeout(self._timeout, self._reactor))
            except LOST as error:
                self._why = reason(error)
            else:
                self._link = link
                self._send()
                self._why = await link.ended
                self._link = None
                self._outbox.lost()
                self._outbox.resume()
                if link.denied:
                    self._fail(partial(Refused, Denied.code, HTTPStatus.UNAUTHORIZED, link.denied))
                if not link.is_resp:
                    said = f"{self._server} does not speak RESP; give the TCP port of Comet, by default 7081"
                    self._fail(partial(Refused, NOT_COMET, 0, said))
            if self._waiting:
                await self._until(deferLater(self._reactor, self._backoff.pause()))

    async def _until(self, attempt: Deferred[Any]) -> Any:
        """Wait for what giving up cancels."""
        self._attempt = attempt
        try:
            return await attempt
        finally:
            self._attempt = None

    def _new_link(self) -> Link:
        return Link(self._take, self._send, self._reactor, self._timeout, current(self._token))

    def _send(self) -> None:
        """Send what may be sent; what is refused for a while holds up what comes after it."""
        outbox, link = self._outbox, self._link
        while link is not None and link.is_ready and outbox.waiting and not outbox.postponed:
            room = WINDOW - outbox.outstanding
            if room <= 0:
                return
            link.send(b"".join(map(command, outbox.take(room, BATCH_BYTES))))

    def _take(self, replies: list[Reply]) -> None:
        outbox, link = self._outbox, self._link
        assert link is not None
        for reply in replies:
            if not outbox.outstanding:
                link.abort(f"more replies than messages: {reply.code} {reply.detail}".rstrip())
                return
            item = outbox.answer(reply)
            if reply.retry:
                self._why = f"{reply.code}: {reply.detail}"
            else:
                self._settle(item.number, reply)
        link.await_reply(bool(outbox.outstanding))
        if outbox.postponed and not outbox.outstanding:
            link.finish(self._why)
        else:
            self._send()

    # -- who waits --------------------------------------------------------------------------------------------------

    def _settle(self, number: int, reply: Reply) -> None:
        published = self._forgotten(number)
        self._backoff.reset()
        if published is not None and reply.code:
            published.errback(Refused(reply.code, _STATUSES.get(reply.code, 400), reply.detail))
        elif published is not None:
            published.callback(reply.position)
        if self._giving_up is not None:
            self._giving_up.reset(self._patience)
        self._settled()

    def _forget(self, number: int, _: Deferred[str]) -> None:
        self._forgotten(number)
        self._settled()

    def _forgotten(self, number: int) -> Deferred[str] | None:
        """Forget who waits for the message of that number, and return it; None if nobody does any longer."""
        published, size = self._waiting.pop(number, (None, 0))
        self._bytes -= size
        return published

    def _settled(self) -> None:
        """Somebody waits no longer."""
        if self._draining and self._has_room():
            draining, self._draining = self._draining, []
            for drained in draining:
                drained.callback(None)
        if self._waiting:
            return
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._closed:
            self._close()

    def _close(self) -> None:
        if self._link is not None:
            self._link.finish("the publisher was closed")
        elif self._attempt is not None:
            self._attempt.cancel()
        elif self._keeping is None:
            closing, self._closing = self._closing, []
            for closed in closing:
                closed.callback(None)

    def _close_at_once(self, closing: Deferred[None]) -> None:
        self._closing.remove(closing)
        self._give_up()

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST and self._bytes < MOST_BYTES

    def _give_up(self) -> None:
        """Patience is over."""
        self._giving_up = None
        count = len(self._waiting)
        said = f"{count} messages to {self._server} are not acknowledged; the last attempt: {self._why}"
        self._fail(partial(Unreachable, said))
        if self._attempt is not None:
            # What is published from now on does not wait for the end of a pause.
            self._attempt.cancel()

    def _fail(self, error: Callable[[], Exception]) -> None:
        waiting, self._waiting = self._waiting, {}
        self._bytes = 0
        self._outbox = Outbox()
        if self._link is not None:
            self._link.abort("patience is over")
        for published, _ in waiting.values():
            published.errback(error())
        self._settled()


def _endpoint(reactor: Any, server: Any, port: int | None) -> Any:
    """Where to connect to. Raises ValueError."""
    if not isinstance(server, str):
        return server
    if port is not None:
        return HostnameEndpoint(reactor, server, port)
    try:
        address = address_of(server)
    except ValueError:
        return clientFromString(reactor, server)
    if isinstance(address, str):
        return UNIXClientEndpoint(reactor, address)
    return HostnameEndpoint(reactor, *address)
