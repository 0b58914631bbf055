"""What a client raises: a refusal of the daemon's, no daemon to be reached, or a client that was closed."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import Struct

from comet.errors import CometError

PASSING = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses of answers after which the same request may succeed. Two of them only a proxy gives."""

NOT_COMET = "not_comet"
"""The code of an answer that no Comet gives: the URL is that of something else."""


REPLACED = "replaced"
"""The code when another reader has come for the same consumer."""


class ClientError(Exception):
    """What all errors of a client have in common."""


class Refused(ClientError):
    """The daemon does not do what was asked; nothing was published or subscribed.

    ``code`` is for programs (the reference has them all; ``not_comet`` if the answer is not from Comet), ``status`` is
    the HTTP status, ``detail`` is for people. ``passing`` says whether the same request may succeed later, and
    ``retry_after`` when, in seconds, if the daemon has said so.
    """

    def __init__(
        self, code: str, status: int, detail: str, *, passing: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(code, status, detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.passing = passing
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.detail} ({self.code}, {self.status})"


class Unreachable(ClientError):
    """There was no answer in time: no connection, or one that was lost. What was published may be stored or not;
    publishing it again with the same key is safe."""


class Closed(ClientError):
    """The client was closed."""


class Problem(Struct):
    """A problem document (RFC 9457)."""

    code: str
    detail: str


_problem = msgspec.json.Decoder(Problem)


def refusal(status: int, body: bytes, retry_after: str | None) -> Refused:
    """Return what an answer comes to that is not the wanted one."""
    passing = status in PASSING
    try:
        problem = _problem.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(NOT_COMET, f"the answer is {status}, and not from Comet; the URL is that of its HTTP port")
    # It may be a date too (RFC 9110, section 10.2.3), which a clock that is wrong would make anything of.
    after = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    return Refused(problem.code, status, problem.detail, passing=passing, retry_after=after)


def refused(error: CometError) -> Refused:
    """Return what the daemon would say, where the client finds out by itself."""
    return Refused(error.code, error.status, error.detail)
