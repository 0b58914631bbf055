"""A command that is late: everything behind it waits for its answer, and nothing before it does.

The traps are its ends. A client that leaves, or says that it does, waits for messages no longer; a daemon that is on
its way out leaves the command without an answer, so that the client tries again with the one that comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.errors import CometError, Draining, Internal
from comet.resp.replies import NULL_ARRAY
from comet.resp.runs import Late, refused
from comet.resp.session import Session
from comet.resp.subscribing import Connection
from comet.resp.wire import Request

_log = Logger()

Reply = Callable[[bytes | None], None]
"""Takes the answer; None if there is to be none, because the daemon is on its way out."""


class Answering:
    """The ``late`` command of a connection, if there is one, and its answer that is under way."""

    __slots__ = ("_answer", "_is_leaving", "late")

    def __init__(self) -> None:
        self.late: Late | None = None
        self._answer: Deferred[Any] | None = None
        self._is_leaving = False

    @property
    def is_due(self) -> bool:
        """Whether there is a command that was not begun."""
        return self.late is not None and self._answer is None

    def begin(self, session: Session, connection: Connection, reply: Reply) -> None:
        """Do what was to wait until now."""
        assert self.late is not None
        answer: Deferred[Any] = maybeDeferred(self.late.do, connection)
        self._answer = answer
        answer.addErrback(self._failed, session, self.late.request)
        answer.addCallback(self._over, reply)
        answer.addErrback(lambda failure: _log.failure("answering a command failed", failure))

    def hurry(self, session: Session, is_leaving: bool) -> None:
        """Have a command that waits for messages be answered as if its time were over; or not at all, if the daemon
        ``is_leaving``."""
        self._is_leaving = is_leaving
        if session.is_waiting:
            self.cancel()

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        if self._answer is not None:
            self._answer.cancel()

    def _over(self, answer: bytes | None, reply: Reply) -> None:
        self.late = self._answer = None
        reply(answer)

    def _failed(self, failure: Failure, session: Session, request: Request) -> bytes | None:
        refusal = failure.value
        if isinstance(refusal, CancelledError) and not self._is_leaving:
            return NULL_ARRAY[session.version]
        if isinstance(refusal, (Draining, CancelledError)):
            return None
        if not isinstance(refusal, CometError):
            _log.failure("a command failed", failure)
            refusal = Internal("the command failed; the daemon's log says why")
        return refused(session, refusal, request)
