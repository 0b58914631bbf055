"""The resource ``/hooks``: hooks are made, looked at, ended, and told to go on.

    POST   /hooks                 {"topic":"orders/*","url":"https://shop.example/comet"}
    GET    /hooks                 ?state=parked&limit=10
    GET    /hooks/<name>
    POST   /hooks/<name>/resume
    DELETE /hooks/<name>

The secret of a hook is in the answer to the first of these, if the daemon made it, and in no other.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, Encoder
from twisted.internet.defer import Deferred, succeed
from twisted.web.server import NOT_DONE_YET

from comet.errors import BadHook, NotFound, shown
from comet.hooks.courier import State
from comet.hooks.hooks import Hooks, Wanted
from comet.interfaces import Clock
from comet.log import parse_since
from comet.router import Router
from comet.stats.piecemeal import Piecemeal
from comet.topics import patterns_of
from comet.web.batch import decode
from comet.web.query import choice, limit_of, parameters
from comet.web.resources import Leaf, refuse

STATES = tuple(state.value for state in State)

RESUME = "resume"


class Ask(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the body of a POST says."""

    url: str
    topic: str | UnsetType = UNSET
    topics: list[str] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    since: str = "now"


_ask = Decoder(Ask)
_encode = Encoder().encode


class HooksResource(Leaf):
    """``/hooks``, and everything below it."""

    def __init__(self, hooks: Hooks, router: Router, clock: Clock) -> None:
        super().__init__()
        self._hooks = hooks
        self._router = router
        self._piecemeal = Piecemeal(clock)

    def render_POST(self, request: Any) -> int:
        """Make a hook, or have one go on."""
        name, action = _path(request)
        if not name:
            wanted = _wanted(decode(_ask, request.content.getvalue()), self._router.config.max_patterns)
            return _answer(request, self._hooks.make(wanted), HTTPStatus.CREATED)
        if action != RESUME:
            raise NotFound(f"there is nothing to post to at {shown(request.path)}; there is /hooks/<name>/{RESUME}")
        return _answer(request, self._hooks.resume(name))

    def render_GET(self, request: Any) -> int:
        """Show one, or list them."""
        name, action = _path(request)
        if action:
            raise NotFound(f"there is nothing at {shown(request.path)}")
        if name:
            parameters(request, ())
            return _answer(request, succeed(self._hooks.look_at(name)))
        values = parameters(request, ("limit", "state"))
        return _answer(request, self._list(limit_of(values), choice(values, "state", STATES)))

    def render_DELETE(self, request: Any) -> int:
        """End one."""
        name, action = _path(request)
        if not name or action:
            raise NotFound("the path of a hook is /hooks/ and its name")
        return _answer(request, self._hooks.remove(name), HTTPStatus.NO_CONTENT)

    def _list(self, limit: int, state: str) -> Deferred[Any]:
        listing = self._piecemeal.each(self._hooks.described, list(self._hooks.every(state)), limit + 1)
        return listing.addCallback(lambda found: {"hooks": found[:limit], "more": len(found) > limit})


def _answer(request: Any, answer: Deferred[Any], status: HTTPStatus = HTTPStatus.OK) -> int:
    """Answer ``request`` with what ``answer`` fires with."""
    answer.addCallback(lambda value: request.answer(status, b"" if value is None else _encode(value)))
    answer.addErrback(refuse, request)
    not_yet: int = NOT_DONE_YET
    return not_yet


def _wanted(ask: Ask, most: int) -> Wanted:
    """What is wanted, as far as it can be seen without the hooks that there are; at most ``most`` patterns."""
    if (ask.topic is UNSET) is (ask.topics is UNSET):
        raise BadHook("a hook has either the member topic or the member topics")
    topics = [ask.topic] if isinstance(ask.topic, str) else ask.topics
    assert not isinstance(topics, UnsetType)
    name, secret = (None if isinstance(value, UnsetType) else value for value in (ask.name, ask.secret))
    return Wanted(ask.url, patterns_of(topics, most), name, secret, parse_since(ask.since))


def _path(request: Any) -> tuple[str, str]:
    """The name in the path, and what stands behind it; either may be empty."""
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in request.path[1:].split(b"/")[1:]]
    except UnicodeDecodeError:
        raise NotFound(f"there is nothing at {shown(request.path)}") from None
    if len(segments) > 2 or "" in segments[:-1]:
        raise NotFound(f"there is nothing at {shown(request.path)}")
    name, action = (*segments, "", "")[:2]
    return name, action
