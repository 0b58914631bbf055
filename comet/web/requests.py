"""Requests as they are logged: one line each, once it is over.

A request is over when its answer is written, a held one when it is answered or its client has gone. Nothing is kept of
a request for this unless all are logged; then a stream's writer gets a :class:`Watched` around it, which keeps a line's
worth and not the request.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.errors import CometError
from comet.interfaces import Clock
from comet.logs.access import AccessLog
from comet.logs.masks import masked_target
from comet.web.writer import peer_of

LONGEST_TARGET = 1_000

CLIENT_LEFT = 499
"""The status of a request whose client did not wait for the answer, as nginx writes it."""

_log = Logger()


class Asked(NamedTuple):
    """What a line says of a request before it is over. ``target`` is without secrets; ``began`` is on the clock."""

    method: str
    target: str
    peer: str
    began: float


class Requests:
    """Tells of the requests of the HTTP face, as ``access`` wishes."""

    def __init__(self, access: AccessLog, clock: Clock) -> None:
        self.access = access
        self._clock = clock

    def begin(self, request: Any) -> None:
        """``request`` is whole, and about to be answered."""
        if self.access.all:
            request.began = self._clock.seconds()

    def refused(self, request: Any, error: CometError) -> None:
        """``request`` is about to be refused."""
        if request.began is None:
            asked = self._asked(request, request.channel.transport)
            self.access.refused(error, f"{asked.method} {asked.target}", asked.peer)
        else:
            self.access.count(error)
            request.refusal = error.code

    def answered(self, request: Any, connection: Any, transport: str) -> None:
        """The answer of ``request`` is written to ``connection``; ``transport`` is what it was held for, or empty."""
        if request.began is not None:
            further = {"transport": transport, "bytes": request.sentLength, "code": request.refusal}
            self._tell(self._asked(request, connection), int(request.code), further)

    def abandoned(self, request: Any, connection: Any) -> None:
        """The client of ``request`` has gone from ``connection`` before it was answered."""
        if request.began is not None:
            self._tell(self._asked(request, connection), CLIENT_LEFT, {})

    def watched(self, request: Any, writer: Any, transport: str, status: int = 200) -> Any:
        """What is to be the protocol of the connection that a stream of ``request`` takes: ``writer``, or something
        around it that tells of the stream's end."""
        if request.began is None:
            return writer
        asked = self._asked(request, writer.transport)
        return Watched(writer, lambda: self._tell(asked, status, {"transport": transport}))

    def _asked(self, request: Any, connection: Any) -> Asked:
        target = masked_target(request.uri.decode("utf-8", "backslashreplace"))
        if len(target) > LONGEST_TARGET:
            target = f"{target[:LONGEST_TARGET]}…"
        method = request.method.decode("latin-1")
        return Asked(method, target, request.client_address or peer_of(connection), request.began or 0.0)

    def _tell(self, asked: Asked, status: int, further: dict[str, object]) -> None:
        known = {name: value for name, value in further.items() if value}
        words = "".join(f" {{{name}}}" for name in known if name != "bytes")
        seconds = round(self._clock.seconds() - asked.began, 3)
        _log.info(
            f"{{method}} {{target}} {{status}}{words} {{seconds}} s {{peer}}",
            method=asked.method,
            target=asked.target,
            status=status,
            seconds=seconds,
            peer=asked.peer,
            **known,
        )


class Watched:
    """A stream's protocol, and what is called at its end."""

    __slots__ = ("_ended", "_writer", "dataReceived")

    def __init__(self, writer: Any, ended: Any) -> None:
        self._writer = writer
        self._ended = ended
        self.dataReceived = writer.dataReceived

    def connectionLost(self, reason: Failure) -> None:
        self._writer.connectionLost(reason)
        self._ended()
