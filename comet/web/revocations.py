"""The resource ``/revocations``: tokens that are not to count any longer, and what ends with them.

    POST   /revocations                    {"token":"4f2a…","until":1790003600}
                                           {"subject":"alice"}
    GET    /revocations                    ?limit=10
    DELETE /revocations/tokens/<id>
    DELETE /revocations/subjects/<name>

A token is named by its id (``jti``). Revoking a subject (``sub``) revokes the tokens that it has, not those that it
is given later. ``until`` is when they would be over anyway, in seconds since 1970: the revocation is forgotten then.
The streams that were opened with them end at once, and the answer says how many these were.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, Encoder
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

from comet.access.grant import Grant
from comet.access.revoked import SUBJECT, TOKEN, Revocation, Revocations
from comet.errors import BadRequest, NotFound, shown
from comet.web.batch import decode
from comet.web.query import limit_of, parameters
from comet.web.resources import Leaf, refuse

End = Callable[[Callable[[Grant], bool]], int]
"""Ends the streams whose grants are those that it is given, and returns how many these were."""

PLURALS = {"tokens": TOKEN, "subjects": SUBJECT}


class Ask(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the body of a POST says."""

    token: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    until: float | None = None


_ask = Decoder(Ask)
_encode = Encoder().encode


class RevocationsResource(Leaf):
    """``/revocations``, and everything below it."""

    def __init__(self, revocations: Revocations, end: End) -> None:
        super().__init__()
        self._revocations = revocations
        self._end = end

    def render_POST(self, request: Any) -> int:
        """Revoke a token, or all that a subject has."""
        _check_root(request)
        kind, name, until = _wanted(decode(_ask, request.content.getvalue()))
        revoking = self._revocations.revoke(kind, name, until)
        return _done(request, revoking.addCallback(self._answer_revoked, request))

    def render_GET(self, request: Any) -> int:
        """List what is revoked."""
        _check_root(request)
        limit = limit_of(parameters(request, ("limit",)))
        listed = [each.described() for each in islice(self._revocations, limit)]
        request.answer(HTTPStatus.OK, _encode({"revocations": listed, "more": len(self._revocations) > limit}))
        return _NOT_YET

    def render_DELETE(self, request: Any) -> int:
        """Have what was revoked count again."""
        kind, name = _named(request)
        taking = self._revocations.take_back(kind, name)
        return _done(request, taking.addCallback(lambda _: request.answer(HTTPStatus.NO_CONTENT, b"")))

    def _answer_revoked(self, revocation: Revocation, request: Any) -> None:
        ended = self._end(self._revocations.covers)
        request.answer(HTTPStatus.CREATED, _encode({**revocation.described(), "ended": ended}))


_NOT_YET: int = NOT_DONE_YET


def _done(request: Any, work: Deferred[None]) -> int:
    work.addErrback(refuse, request)
    return _NOT_YET


def _wanted(ask: Ask) -> tuple[str, str, float | None]:
    """The kind and the name of what is to be revoked, and until when it matters."""
    if isinstance(ask.token, str) and ask.subject is UNSET:
        return TOKEN, ask.token, ask.until
    if isinstance(ask.subject, str) and ask.token is UNSET:
        return SUBJECT, ask.subject, ask.until
    raise BadRequest("a revocation has either the member token, the id of one, or the member subject")


def _segments(request: Any) -> list[str]:
    """What stands in the path behind ``/revocations``."""
    try:
        return [unquote_to_bytes(segment).decode() for segment in request.path[1:].split(b"/")[1:]]
    except UnicodeDecodeError:
        raise NotFound(f"there is nothing at {shown(request.path)}") from None


def _check_root(request: Any) -> None:
    if any(_segments(request)):
        raise NotFound(f"there is nothing at {shown(request.path)}; GET /revocations lists what is revoked")


def _named(request: Any) -> tuple[str, str]:
    """The kind and the name in the path."""
    segments = _segments(request)
    if len(segments) != 2 or segments[0] not in PLURALS:
        raise NotFound("what is revoked is at /revocations/tokens/<id> and /revocations/subjects/<name>")
    return PLURALS[segments[0]], segments[1]
