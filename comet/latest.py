"""A value that is kept elsewhere: what changes while it is being written is written once more, in its newest state.

So a thousand changes a second are as many writes as the store makes, and each is answered only when it, or what came
after it, is kept. The trap: to answer for a change whose write has failed, because it is not new any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


class Latest(Generic[T]):
    """``kept`` is what was written last, ``newest`` what is to be. ``write`` fires once a value is kept, or fails."""

    __slots__ = ("_is_writing", "_waiting", "_write", "kept", "newest")

    def __init__(self, kept: T, write: Callable[[T], Deferred[None]]) -> None:
        self.kept = self.newest = kept
        self._write = write
        self._waiting: list[Deferred[None]] = []
        self._is_writing = False

    def put(self, value: T) -> Deferred[None]:
        """Have ``value`` kept. Fires once it is, or one that came later; fails as ``write`` does, and then, unless one
        that came later is kept, nothing has changed."""
        if value == self.kept and not self._is_writing:
            return succeed(None)
        self.newest = value
        answer: Deferred[None] = Deferred()
        self._waiting.append(answer)
        if not self._is_writing:
            self._begin()
        return answer

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._is_writing = True
        self._write(self.newest).addBoth(self._written, self.newest, waiting)

    def _written(self, result: Failure | None, value: T, waiting: Sequence[Deferred[None]]) -> None:
        self._is_writing = False
        failed = isinstance(result, Failure)
        if not failed:
            self.kept = value
        if self._waiting:
            self._begin()
        elif failed:
            self.newest = self.kept
        for answer in waiting:
            if isinstance(result, Failure):
                answer.errback(result)
            else:
                answer.callback(None)
