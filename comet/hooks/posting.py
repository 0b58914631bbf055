"""One post of a hook: to public addresses only, and judged by its status alone.

Importing this takes 18 MB (see :mod:`comet.exchange.requester`), so it is done when there is something to post.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from comet.exchange.requester import Requester
from comet.exchange.values import Asked, Bounds, NoReply
from comet.hooks.addresses import check_address
from comet.hooks.answers import Answer, PostFailed, Terms


class Poster:
    """Posts. ``trust`` is whom TLS trusts, the system's authorities if it is None."""

    def __init__(self, reactor: Any, trust: Any = None) -> None:
        self._requester = Requester(reactor, trust)

    def post(self, url: str, headers: Mapping[str, str], body: bytes, terms: Terms) -> Deferred[Answer]:
        """Post ``body``, which is JSON. Fires with the answer; fails with :exc:`~comet.hooks.answers.PostFailed` if
        there is none. Cancelling it drops the connection; it then fails with anything."""
        sent = {b"Content-Type": b"application/json"}
        sent |= {name.encode(): value.encode() for name, value in headers.items()}
        bounds = Bounds(terms.timeout, "hook-timeout", lambda host: check_address(host, terms.private))
        return Deferred.fromCoroutine(self._post(Asked(url, sent, body), bounds))

    async def _post(self, asked: Asked, bounds: Bounds) -> Answer:
        try:
            reply = await self._requester.request(asked, bounds)
        except NoReply as error:
            raise PostFailed(str(error)) from None
        return Answer(reply.status, reply.headers.get("retry-after", ""))
