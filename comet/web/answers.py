"""Answers that every part of the HTTP face gives in one way: JSON, and refusals as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from twisted.web.http import Request

from comet.errors import CometError

_encode = msgspec.json.Encoder().encode

JSON = b"application/json"
PROBLEM = b"application/problem+json"

RETRY_AFTER = b"2"
"""Seconds after which a refusal that may pass is worth another try."""


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
    if error.retry:
        request.setHeader(b"retry-after", RETRY_AFTER)
    request.channel.site.requests.refused(request, error)
    return problem_document(error)


def json_answer(request: Request, value: object, status: int = 200) -> bytes:
    """Make ``request``'s answer ``value`` as JSON; returns the body, for ``render`` to return."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", JSON)
    request.setHeader(b"cache-control", b"no-store")
    return _encode(value)


def raw_problem(error: CometError) -> bytes:
    """A whole response for a request that never became one: head and problem document. The connection is closed."""
    status = HTTPStatus(error.status)
    body = problem_document(error)
    head = (
        f"HTTP/1.1 {error.status} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
