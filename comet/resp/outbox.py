"""What a connection is owed: runs whose messages wait for the store, and whose replies wait for those before them.

The trap is a store that answers the second run first, or that answers within the call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.errors import CometError, Draining, Internal
from comet.resp.runs import Run
from comet.resp.session import Session

MOST_RUNS = 4
"""Runs of one connection that may wait for the store; then its socket is not read."""

_log = Logger()

Told = Callable[[bool], None]
"""Is told whether more replies are known; if not, the messages are left to the daemon that comes next."""


class Outbox:
    """The runs of one connection, in order, whose replies were not written yet."""

    __slots__ = ("_runs", "_size")

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._runs)

    def is_full(self, most: int) -> bool:
        """Whether no further run should come; ``most`` is how many bytes may wait."""
        return len(self._runs) >= MOST_RUNS or self._size >= most

    def publish(self, run: Run, session: Session, told: Told) -> None:
        """Have the messages of ``run`` stored. ``told`` is called when they are, perhaps at once."""
        self._runs.append(run)
        self._size += run.size
        if not run.drafts:
            run.stored(session.intake.router, ())
            told(True)
            return
        publishing = maybeDeferred(session.intake.router.publish, run.drafts)
        telling = publishing.addCallback(self._stored, run, session).addErrback(self._failed, run, session)
        telling.addCallback(told).addErrback(lambda failure: _log.failure("replying to a publisher failed", failure))

    def known(self) -> bytes:
        """Take the replies that are known, up to the first run that still waits."""
        outputs: list[bytes] = []
        while self._runs and (output := self._runs[0].output) is not None:
            self._size -= self._runs.popleft().size
            outputs.append(output)
        return b"".join(outputs)

    def clear(self) -> None:
        """Nobody takes the replies any more."""
        self._runs.clear()

    def _stored(self, offsets: Sequence[int], run: Run, session: Session) -> bool:
        run.stored(session.intake.router, offsets)
        return True

    def _failed(self, failure: Failure, run: Run, session: Session) -> bool:
        refusal = failure.value
        if isinstance(refusal, Draining):
            self._forsake(run)
            return False
        if not isinstance(refusal, CometError):
            _log.failure("publishing failed", failure)
            refusal = Internal("the message was not taken; the daemon's log says why")
        run.refused(session, refusal)
        return True

    def _forsake(self, run: Run) -> None:
        """Answer neither ``run`` nor what follows: a publisher whose connection ends without a reply tries again, with
        the daemon that comes next, while an error would be the end of it."""
        while run in self._runs:
            self._runs.pop()
