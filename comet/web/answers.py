"""Answers that every part of the HTTP face gives in one way: JSON, and refusals as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil

import msgspec
from twisted.web.http import Request

from comet.errors import CometError, Unauthorized

_encode = msgspec.json.Encoder().encode

JSON = b"application/json"
PROBLEM = b"application/problem+json"

FOR_NOW = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
"""Header lines of what is true now, and to be taken for what it says it is."""

RETRY_AFTER = 2.0
"""Seconds after which a refusal that may pass is worth another try, unless it says so itself."""


def refusal_lines(error: CometError) -> bytes:
    """The header lines of a refusal: ``Retry-After`` if it may pass (RFC 9110, section 10.2.3: whole seconds), and
    ``WWW-Authenticate`` if it is for want of a token that counts (RFC 6750, section 3)."""
    lines = b""
    if error.retry:
        lines += b"Retry-After: %d\r\n" % max(1, ceil(RETRY_AFTER if error.after is None else error.after))
    if error.status == HTTPStatus.UNAUTHORIZED:
        wrong = b"" if isinstance(error, Unauthorized) else b' error="invalid_token"'
        lines += b"WWW-Authenticate: Bearer%b\r\n" % wrong
    return lines


def problem_document(error: CometError) -> bytes:
    """The body of a refusal: ``code`` is for programs, ``detail`` for people."""
    status = HTTPStatus(error.status)
    members = {"type": "about:blank", "title": status.phrase, "status": error.status}
    return _encode({**members, "code": error.code, "detail": error.detail})


def problem(request: Request, error: CometError) -> bytes:
    """Make ``request``'s answer a refusal; returns the body, for ``render`` to return."""
    # Twisted does not know the phrase of each.
    request.setResponseCode(error.status, HTTPStatus(error.status).phrase.encode())
    request.setHeader(b"content-type", PROBLEM)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    for line in refusal_lines(error).splitlines():
        request.setHeader(*line.split(b": "))
    request.channel.site.requests.refused(request, error)
    return problem_document(error)


def json_answer(request: Request, value: object, status: int = 200) -> bytes:
    """Make ``request``'s answer ``value`` as JSON; returns the body, for ``render`` to return."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", JSON)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    return _encode(value)


def raw_problem(error: CometError) -> bytes:
    """A whole response for a request that never became one: head and problem document. The connection is closed."""
    status = HTTPStatus(error.status)
    body = problem_document(error)
    head = (
        f"HTTP/1.1 {error.status} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return b"%b%b%b\r\n%b" % (head.encode(), FOR_NOW, refusal_lines(error), body)
