"""The thread that writes: what comes while a transaction is under way is the next transaction.

So the busier it is, the more a commit keeps, and nobody is answered before the commit that keeps theirs. When a commit
fails all who were in it are refused, and the next tries anew, with ballast: a disk that has room for the next message
only is still full. The queue is not bounded here; it is by those who ask, each of whom waits for an answer.
"""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.store.blocks import Damaged
from comet.store.disk import Disk, Group
from comet.store.faults import Displaced, fault
from comet.store.opening import regain
from comet.store.trimming import Trimming

PAUSE = 0.5
"""Seconds between two looks at what is to be trimmed, as long as there is nothing."""

CHECKPOINT_PAGES = 1_000
"""About how many pages are written between two checkpoints."""

LONG_WAL = 4_000
"""Pages of SQLite's log from which on commits wait for it to be brought to an end."""


_log = Logger()


class Job(NamedTuple):
    """What is to be kept, and who is told; ``is_last`` if the file is to be closed then."""

    group: Group
    answer: Deferred[None]
    is_last: bool = False


class Done(NamedTuple):
    """What the reactor hears of a commit: those who are to be answered, why it failed (or nothing), how long it took,
    and what the file has now."""

    jobs: list[Job]
    trouble: str
    seconds: float
    bytes: int
    oldest: float


class Writer:
    """Writes to ``disk``. ``done`` is called in the reactor's thread for each commit, ``checkpoint`` when it is time
    for one: it is to call :meth:`checkpointed`."""

    def __init__(
        self, disk: Disk, trimming: Trimming, reactor: Any, done: Callable[[Done], None], checkpoint: Callable[[], None]
    ) -> None:
        self._disk = disk
        self._trimming = trimming
        self._reactor = reactor
        self._done = done
        self._checkpoint = checkpoint
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._trouble = ""
        self._wal = 0
        self._checkpointing = False
        self._thread = Thread(target=self._run, name="comet-writer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Keep what ``job`` has, after all earlier ones."""
        self._jobs.put(job)

    def checkpointed(self, pages: int) -> None:
        """A checkpoint is over, and left so many pages of SQLite's log."""
        self._wal = pages
        self._checkpointing = False

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_look = 0.0
        is_last = False
        while not is_last:
            jobs = self._next(max(0.0, next_look - time.monotonic()))
            if jobs:
                is_last = self._commit(jobs)
            if not is_last:
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + (0.0 if self._tend(idle=not jobs) else PAUSE)
                self._ask_for_checkpoint()

    def _next(self, patience: float) -> list[Job]:
        """All that wait, up to the last one; none if nobody comes for ``patience`` seconds."""
        jobs: list[Job] = []
        try:
            jobs.append(self._jobs.get(timeout=patience))
            while not jobs[-1].is_last:
                jobs.append(self._jobs.get_nowait())
        except queue.Empty:
            pass
        return jobs

    def _commit(self, jobs: list[Job]) -> bool:
        """Keep what ``jobs`` have, and have them answered; return whether the file is closed now."""
        begun = time.perf_counter()
        group = jobs[0].group if len(jobs) == 1 else _together(jobs)
        try:
            self._write(group)
            self._trouble = ""
        except (sqlite3.Error, OSError, Damaged) as error:
            self._trouble = fault(self._disk.path, error)
        except Exception:  # who waits must be answered, whatever it is
            self._note_mistake()
            self._trouble = f"{self._disk.path} was not written, by a mistake in Comet; its log says more"
        seconds = time.perf_counter() - begun
        if jobs[-1].is_last:
            self._close()
        done = Done(jobs, self._trouble, seconds, self._trimming.bytes, self._trimming.oldest)
        self._reactor.callFromThread(self._done, done)
        return jobs[-1].is_last

    def _write(self, group: Group) -> None:
        if not (group.messages or group.keys or group.records or self._trouble):
            return
        try:
            self._disk.write(group, careful=bool(self._trouble))
        except Displaced:
            regain(self._disk)
            self._disk.write(group, careful=bool(self._trouble))

    def _tend(self, *, idle: bool) -> bool:
        """Do a little of what is to be done beside the commits; return whether there is more."""
        try:
            if not self._disk.lock.is_held:
                self._disk.lock.try_to_take()
            return self._trimming.step(time.time(), idle=idle) and not self._trouble
        except (sqlite3.Error, OSError):
            return False  # the next commit meets the same, and tells it
        except Exception:
            self._note_mistake()
            return False

    def _note_mistake(self) -> None:
        self._reactor.callFromThread(_log.failure, "the store has made a mistake", Failure())

    def _ask_for_checkpoint(self) -> None:
        disk = self._disk
        if self._wal > LONG_WAL and not self._checkpointing:
            # Commits go on during a checkpoint, so under load none ever ends the log. Only what came meanwhile is left.
            self._wal = 0
            try:
                disk.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error:
                pass
        if disk.unchecked >= CHECKPOINT_PAGES and not self._checkpointing:
            disk.unchecked = 0
            self._checkpointing = True
            self._checkpoint()

    def _close(self) -> None:
        try:
            self._disk.close()
        except sqlite3.Error:
            pass  # then it was not closed cleanly, and the next start goes by that


def _together(jobs: list[Job]) -> Group:
    """What all ``jobs`` have."""
    whole = Group()
    for group, _, _ in jobs:
        whole.messages += group.messages
        whole.keys += group.keys
        whole.records |= group.records
    return whole
