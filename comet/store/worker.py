"""A thread that does one thing after another for the reactor, and answers there."""

from __future__ import annotations

import queue
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from comet.errors import StoreFailed

T = TypeVar("T")


class _Job(NamedTuple):
    work: Callable[[], Any]
    answer: Deferred[Any]
    is_last: bool = False


class Worker:
    """Runs what it is asked for, in order. ``name`` is what the thread is called."""

    def __init__(self, name: str, reactor: Any) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._is_over = False
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. Not before the daemon has its final process."""
        self._thread.start()

    def ask(self, work: Callable[[], T]) -> Deferred[T]:
        """Fire with what ``work`` returns or raises in the thread; after the end only fail with
        :exc:`~comet.errors.StoreFailed`."""
        if self._is_over:
            return fail(StoreFailed("the store is closed"))
        answer: Deferred[T] = Deferred()
        self._jobs.put(_Job(work, answer))
        return answer

    def stop(self, work: Callable[[], T]) -> Deferred[T]:
        """End, after all that was asked for before, with ``work``."""
        self._is_over = True
        answer: Deferred[T] = Deferred()
        self._jobs.put(_Job(work, answer, is_last=True))
        return answer

    def _run(self) -> None:
        is_last = False
        while not is_last:
            work, answer, is_last = self._jobs.get()
            try:
                result = work()
            except Exception:
                self._reactor.callFromThread(answer.errback, Failure())
            else:
                self._reactor.callFromThread(answer.callback, result)
