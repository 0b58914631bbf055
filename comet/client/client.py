"""A daemon, as a program on Twisted sees it over HTTP."""

from __future__ import annotations

import weakref
from base64 import b64encode
from collections.abc import Iterable, Mapping
from secrets import token_urlsafe
from types import TracebackType
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.web.client import Agent, HTTPConnectionPool

from comet.client.cursor import Cursor
from comet.client.errors import Closed, refused
from comet.client.following import Following, Told, Wish
from comet.client.reactors import chosen
from comet.client.reading import TRANSPORTS
from comet.client.requests import ABREAST, Requests, Said, decoded
from comet.client.subscription import Subscription
from comet.client.values import payload_of
from comet.drafts import JSON
from comet.errors import CometError
from comet.publish import Draft
from comet.sending.credentials import Token

IDLE = 30.0
"""Seconds for which a connection is kept for the next request: less than the daemon keeps it."""


Publishable = tuple[str, Any] | tuple[str, Any, str | None] | tuple[str, Any, str | None, str | None]
"""A message of a batch: topic, data, content type, key. A :class:`~comet.publish.Draft` is one."""


class _Published(Struct):
    """The answer to one message."""

    id: str


class _AllPublished(Struct):
    """The answer to a batch."""

    ids: list[str]


class Client:
    """Publishes and subscribes at the daemon whose HTTP port is ``url``.

    ``agent`` is an :class:`~twisted.web.iweb.IAgent`, for TLS with a certificate of one's own, proxies and the like; by
    default an :class:`~twisted.web.client.Agent` on ``reactor``, with connections that are kept. ``headers`` go out
    with every request, and ``token`` says who asks; it may be called for the current token. ``timeout`` is how many
    seconds one request may take, and one stream to open. Raises ValueError for a URL that is none. An asynchronous
    context manager, which closes it.
    """

    def __init__(  # noqa: PLR0913 (they are keywords)
        self,
        url: str = "http://127.0.0.1:7080/",
        *,
        agent: Any = None,
        reactor: Any = None,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        token: Token = None,
    ) -> None:
        reactor = chosen(reactor)
        self._pool = None
        if agent is None:
            self._pool = _pool(reactor)
            agent = Agent(reactor, connectTimeout=timeout, pool=self._pool)
        self._requests = Requests(url, agent, reactor, timeout, Said(headers or {}, token))
        self._followings: weakref.WeakSet[Following] = weakref.WeakSet()
        self._publishing: set[Deferred[Any]] = set()
        self._closed = False

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._requests.url

    # -- publish ----------------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        data: Any,
        *,
        content_type: str | None = None,
        key: str | None = None,
        patience: float | None = 30.0,
    ) -> Deferred[str]:
        """Publish one message; fires with its position once the daemon has stored it.

        Bytes and strings are published as they are, any other value as JSON. After a lost connection, or a refusal
        that passes, it is sent again under the same idempotency key (``key``, or one made for it), so that it is
        published once; for up to ``patience`` seconds, or for ever if that is None. Fails with
        :exc:`~comet.client.Refused`, :exc:`~comet.client.Unreachable`, or :exc:`~comet.client.Closed`; TypeError for
        data that is no JSON.
        """
        payload, own_type = payload_of(data)
        headers = {"Idempotency-Key": token_urlsafe(12) if key is None else key}
        if content_type or own_type:
            headers["Content-Type"] = content_type or own_type
        path = f"topics/{quote(topic)}"
        return self._posted(path, payload, headers, patience).addCallback(lambda body: decoded(body, _Published).id)

    def publish_many(self, messages: Iterable[Publishable], *, patience: float | None = 30.0) -> Deferred[list[str]]:
        """Publish ``messages`` in one request, all or none; fires with their positions, in order.

        Each is a :class:`~comet.client.Draft`, or a tuple that begins as one: topic, data, content type, key. One
        request takes at most 10,000 messages, and as many bytes as the daemon's ``max-body``. Fails as
        :meth:`publish` does; the detail of a refusal says which message it is about.
        """
        elements = [_element(Draft(*message)) for message in messages]
        if not elements:
            raise ValueError("there is nothing to publish")
        body = msgspec.json.encode(elements)
        posted = self._posted("topics", body, {"Content-Type": JSON}, patience)
        return posted.addCallback(lambda answer: decoded(answer, _AllPublished).ids)

    def _posted(self, path: str, body: bytes, headers: Mapping[str, str], patience: float | None) -> Deferred[bytes]:
        if self._closed:
            return fail(Closed("the client was closed"))
        posting = Deferred.fromCoroutine(self._requests.insist(path, body, headers, patience))
        self._publishing.add(posting)

        def done(result: Any) -> Any:
            self._publishing.discard(posting)
            return result

        return posting.addBoth(done)

    # -- subscribe --------------------------------------------------------------------------------------------------

    def subscribe(  # noqa: PLR0913 (they are keywords)
        self,
        *topics: str,
        since: str = "now",
        conflate: bool = False,
        pace: float = 0.0,
        transport: str = "stream",
        patience: float | None = 30.0,
        on_state: Told | None = None,
        consumer: str = "",
    ) -> Subscription:
        """Subscribe to ``topics``, which may be patterns; the connection is begun at once.

        ``since`` is ``now``, ``first`` (the oldest that is retained), ``last`` (the newest of each topic), ``-N`` (the
        newest N), or a position (everything after it). With ``conflate`` only the newest message of each topic
        matters, and ``pace`` is the least time in seconds between two writes of the daemon. ``transport`` is
        ``stream`` or ``sse``. For ``patience`` seconds, or for ever if that is None, a daemon that is not there is
        waited for to begin with. ``on_state`` is called with each change of state and, in words, with its cause.

        With the name of a ``consumer`` the daemon keeps the place: what was not acknowledged
        (:meth:`~comet.client.Subscription.ack`) comes again to whoever next subscribes for it. ``since`` counts when
        the daemon does not know it yet. It has those topics and no others, and one reader; the older one's iterator
        raises :exc:`~comet.client.Refused` with the code ``replaced``.

        Raises :exc:`~comet.client.Refused` for what is no pattern and no ``since``, and ValueError for another
        transport; whatever the daemon refuses, the subscription raises.
        """
        if self._closed:
            raise Closed("the client was closed")
        if transport not in TRANSPORTS:
            raise ValueError(f"there is no transport {transport!r} here; choose one of {', '.join(TRANSPORTS)}")
        try:
            cursor = Cursor(topics, since)
        except CometError as error:
            raise refused(error) from None
        wish = Wish(TRANSPORTS[transport], conflate, pace, patience, on_state, consumer)
        following = Following(self._requests, cursor, wish)
        self._followings.add(following)
        following.start()
        return Subscription(following)

    # -- end --------------------------------------------------------------------------------------------------------

    def close(self) -> Deferred[None]:
        """End all subscriptions, give up what is being published, and close the connections. Fires when they are
        closed."""
        self._closed = True
        for posting in tuple(self._publishing):
            posting.cancel()
        ending = [following.close() for following in tuple(self._followings)]
        if self._pool is not None:
            ending.append(self._pool.closeCachedConnections())
        return gatherResults(ending).addCallback(lambda _: None)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _pool(reactor: Any) -> Any:
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = ABREAST
    pool.cachedConnectionTimeout = IDLE
    return pool


def _element(draft: Draft) -> dict[str, Any]:
    """The message as an element of a batch."""
    element: dict[str, Any] = {"topic": draft.topic, "key": token_urlsafe(12) if draft.key is None else draft.key}
    payload, own_type = payload_of(draft.data)
    if isinstance(draft.data, str):
        element["data"] = draft.data
    elif not own_type or payload[:1] == b'"':
        # What is spelt as a string of JSON, such as a date, would be published as that text.
        element["data64"] = b64encode(payload).decode()
        element["type"] = own_type
    else:
        element["data"] = Raw(payload)
    if draft.content_type:
        element["type"] = draft.content_type
    return element
