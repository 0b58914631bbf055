"""The thread that writes: what publishers bring while a transaction is under way is the next transaction.

So the busier it is, the more a commit keeps. Answers come in the order of the calls. The traps: a reply that lies, so
nobody is answered before the commit; a disk that is full, which must end in refusals, and be over by itself when there
is room again; and a file that somebody removes or replaces: SQLite would go on writing to what nobody finds again.
"""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.config import Config
from comet.errors import CannotOpen, StoreFailed
from comet.kept import Kept
from comet.store.disk import Disk, Group
from comet.store.lock import Lock
from comet.store.schema import why_not_open, why_not_written

PAUSE = 0.5
"""Seconds between two looks at the file, and whether something is to be trimmed."""

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""How much is written between two checkpoints."""

_log = Logger()


class ToKeep(NamedTuple):
    """Something to write, and who is told when it is safe; without a group it is the end."""

    answer: Deferred[None]
    group: Group | None = None


class Writing:
    """What the thread does with ``jobs``: :meth:`open`, then :meth:`run`. ``tell`` has the reactor's thread call
    something; ``checkpoint`` is called now and then."""

    def __init__(
        self, disk: Disk, config: Config, tell: Callable[..., object], checkpoint: Callable[[], object]
    ) -> None:
        self.jobs: queue.SimpleQueue[ToKeep] = queue.SimpleQueue()
        self.config = config
        self.trouble = ""
        """Why the last try failed; for the reactor's thread, which is told of it with the answers."""
        self._disk = disk
        self._tell = tell
        self._checkpoint = checkpoint
        self._lock = Lock(disk.path)
        self._failing = False
        self._identity: tuple[int, int] | None = None
        self._written = 0
        self._next_look = 0.0

    def open(self, *, succeeding: bool) -> Kept:
        """Take the file, and give what is in it. Raises :exc:`~comet.errors.CannotOpen`."""
        config = self.config
        try:
            self._lock.take(succeeding=succeeding)
            kept, renewed = self._disk.open(
                retain_bytes=config.retain_bytes, keys_since=time.time() - config.key_window
            )
            self._identity = self._look()
        except (OSError, sqlite3.Error, StoreFailed) as error:
            self._lock.release()
            raise CannotOpen(why_not_open(self._disk.path, error)) from None
        if renewed:
            self._tell(
                _log.warn,
                "the machine has been restarted since {path} was in use: what was published last may be gone, so all "
                "positions from before are told as gaps",
                path=str(self._disk.path),
            )
        return kept

    def run(self) -> None:
        """Work until a job says that it is the last."""
        while not self._do(self._next_jobs()):
            if time.monotonic() >= self._next_look:
                self._lock.insist()
                # More to trim is not put off, but what waits to be kept comes in between.
                self._next_look = time.monotonic() + (0.0 if self._trim() else PAUSE)
        self._lock.release()

    def _next_jobs(self) -> list[ToKeep]:
        """Everything that waits; nothing, if for a while nothing has come."""
        jobs: list[ToKeep] = []
        try:
            jobs.append(self.jobs.get(timeout=max(0.0, self._next_look - time.monotonic())))
            while True:
                jobs.append(self.jobs.get_nowait())
        except queue.Empty:
            return jobs

    def _do(self, jobs: list[ToKeep]) -> bool:
        """Keep what ``jobs`` bring, and have them answered; returns whether one of them was the last."""
        if not jobs:
            return False
        last = any(job.group is None for job in jobs)
        trouble = self._kept(_together(jobs))
        if last:
            self._close()
        self._failing = bool(trouble)
        self._tell(self._answer, jobs, trouble)
        return last

    def _kept(self, group: Group) -> str:
        """Keep ``group``; returns why that was not possible."""
        try:
            if self._is_gone():
                return f"{self._disk.path} was removed or replaced while the daemon had it open; restart the daemon"
            if not group.is_empty():
                self._disk.commit(group)
                self._written += sum(len(message.payload) + 64 for message in group.messages)
                if self._written > CHECKPOINT_BYTES:
                    self._written = 0
                    self._checkpoint()
            elif self._failing:
                self._disk.probe()
        except sqlite3.Error as error:
            return why_not_written(self._disk.path, error)
        except Exception:  # ours; but who publishes must be told, and the next may go well
            self._tell(_log.failure, "the store made a mistake", Failure())
            return f"{self._disk.path} was not written, by a mistake of Comet; its log says more"
        return ""

    def _answer(self, jobs: list[ToKeep], trouble: str) -> None:
        """In the reactor's thread: note how it went, and answer."""
        if trouble and not self.trouble:
            _log.error("nothing can be stored: {trouble}", trouble=trouble)
        elif self.trouble and not trouble:
            _log.info("the store is well again")
        self.trouble = trouble
        for answer, group in jobs:
            if trouble and group is not None:
                answer.errback(StoreFailed(f"{trouble}; nothing of this was stored"))
            else:
                answer.callback(None)

    def _trim(self) -> bool:
        """Let go of some of what is too old or too much; returns whether there is more."""
        config, now = self.config, time.time()
        try:
            return self._disk.trim(now - config.keep_seconds, config.keep_bytes, now - config.key_window)
        except (sqlite3.Error, StoreFailed) as error:
            _log.debug("trimming failed: {error}", error=str(error))
            return False

    def _is_gone(self) -> bool:
        """Whether the file is not the one that was opened, as of the last look."""
        now = time.monotonic()
        if self._failing or now >= self._next_look - PAUSE / 2:
            self._gone = self._look() != self._identity
        return self._gone

    _gone = False

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._disk.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _close(self) -> None:
        try:
            self._disk.close()
        except sqlite3.Error as error:
            self._tell(_log.warn, "closing {path} failed: {error}", path=str(self._disk.path), error=str(error))


def _together(jobs: list[ToKeep]) -> Group:
    """Return what all of ``jobs`` bring as one group."""
    group = Group()
    for _, each in jobs:
        if each is not None:
            group.messages += each.messages
            group.keys += each.keys
            group.records += each.records
    return group
