"""The durable store: a file of SQLite, written by one thread and read by another.

What publishers bring while a transaction is under way is the next transaction: the busier it is, the more a commit
keeps. Answers come in the order of the calls. The traps: a reply that lies, so nobody is answered before the commit;
and a disk that is full, which must end in refusals and not in silence, and be over by itself when there is room again.
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.config import Config
from comet.errors import CannotOpen, StoreFailed
from comet.kept import Entry, Kept, Piece, Record
from comet.message import Message
from comet.store.disk import Disk, Group
from comet.store.reading import Reading
from comet.topics import Pattern

PAUSE = 0.5
"""Seconds between two looks whether something is to be trimmed."""

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""How much is written between two checkpoints."""

T = TypeVar("T")
_log = Logger()


class ToKeep(NamedTuple):
    """Something to write, and who is told when it is safe; without a group it is the end."""

    answer: Deferred[None]
    group: Group | None = None


class ToRead(NamedTuple):
    """Something to read, and who is told what it is; without work it is the end."""

    answer: Deferred[Any]
    work: Callable[[Reading], Any] | None = None


class SqliteStore:
    """Keeps everything in the file of ``config.store``."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self.trouble = ""
        self._config = config
        self._reactor = reactor
        self._path = Path(config.store.removeprefix("sqlite:")).absolute()
        self._disk = Disk(self._path, fsync=config.durability == "fsync")
        self._to_write: queue.SimpleQueue[ToKeep] = queue.SimpleQueue()
        self._to_read: queue.SimpleQueue[ToRead] = queue.SimpleQueue()
        self._lock = -1
        self._threads: list[Thread] = []
        self._open = False

    @property
    def archive(self) -> SqliteStore:
        return self

    @property
    def trimmed(self) -> int:
        return self._disk.trimmed

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._config = config

    # -- what the log asks ------------------------------------------------------------------------------------------

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:
        started: Deferred[Kept] = Deferred()
        self._spawn("comet-store", self._write, started, succeeding)
        return started

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:
        return self._keep(Group(list(messages), list(keys)))

    def put(self, record: Record) -> Deferred[None]:
        return self._keep(Group(records=[(record.kind, record.name, record.body)]))

    def remove(self, kind: str, name: str) -> Deferred[None]:
        return self._keep(Group(records=[(kind, name, None)]))

    def stop(self) -> Deferred[None]:
        stopped: Deferred[Any] = Deferred()
        if not self._open:
            stopped.callback(None)
        else:
            read: Deferred[None] = Deferred()
            written: Deferred[None] = Deferred()
            self._to_read.put(ToRead(read))
            self._to_write.put(ToKeep(written))
            DeferredList([read, written]).addCallback(lambda _: self._end()).chainDeferred(stopped)
        return stopped

    def _end(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _keep(self, group: Group) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self._to_write.put(ToKeep(answer, group))
        return answer

    # -- the archive ------------------------------------------------------------------------------------------------

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        return self._ask(lambda reading: reading.read(patterns, after, until, limit))

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        return self._ask(lambda reading: reading.newest(patterns, after, until, limit))

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> Deferred[int]:
        return self._ask(lambda reading: reading.before_newest(patterns, until, count))

    def count(self, topic: str) -> Deferred[int]:
        return self._ask(lambda reading: reading.count(topic))

    def _ask(self, work: Callable[[Reading], T]) -> Deferred[T]:
        answer: Deferred[T] = Deferred()
        self._to_read.put(ToRead(answer, work))
        return answer

    # -- the thread that writes -------------------------------------------------------------------------------------

    def _spawn(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=run, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write(self, started: Deferred[Kept], succeeding: bool) -> None:
        try:
            self._take_lock(succeeding)
            config = self._config
            kept, renewed = self._disk.open(
                retain_bytes=config.retain_bytes, keys_since=time.time() - config.key_window
            )
        except CannotOpen:
            self._tell(started.errback, Failure())
            return
        except (OSError, sqlite3.Error) as error:
            self._tell(started.errback, Failure(CannotOpen(f"cannot open {self._path}: {error}")))
            return
        if renewed:
            _log.warn("the machine was restarted: what was published last may be lost, so positions begin anew")
        self._open = True
        self._spawn("comet-archive", self._read_all)
        self._tell(started.callback, kept)
        written = 0
        next_look = 0.0
        while True:
            jobs = self._next_jobs()
            if self._commit(jobs):
                break
            written += sum(len(m.payload) + 64 for job in jobs if job.group for m in job.group.messages)
            if written > CHECKPOINT_BYTES:
                written = 0
                self._to_read.put(ToRead(Deferred(), Reading.checkpoint))
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + (0.0 if self._tidy() else PAUSE)
        self._release_lock()

    def _next_jobs(self) -> list[ToKeep]:
        """Everything that waits; empty if for a while nothing has come."""
        jobs: list[ToKeep] = []
        try:
            jobs.append(self._to_write.get(timeout=PAUSE))
            while True:
                jobs.append(self._to_write.get_nowait())
        except queue.Empty:
            return jobs

    def _commit(self, jobs: list[ToKeep]) -> bool:
        """Keep what ``jobs`` bring, and have them answered; returns whether one of them was the last."""
        last = [job for job in jobs if job.group is None]
        group = Group()
        for job in jobs:
            if job.group is not None:
                group.messages += job.group.messages
                group.keys += job.group.keys
                group.records += job.group.records
        trouble = ""
        try:
            if not group.is_empty():
                self._disk.commit(group)
            elif self.trouble and jobs:
                self._disk.probe()
        except sqlite3.Error as error:
            trouble = self._described(error)
        if last:
            try:
                self._disk.close()
            except sqlite3.Error as error:
                _log.warn("closing {path} failed: {error}", path=self._path, error=str(error))
        if jobs:
            self._tell(self._answer, jobs, trouble)
        return bool(last)

    def _answer(self, jobs: list[ToKeep], trouble: str) -> None:
        if trouble and not self.trouble:
            _log.error("messages cannot be stored: {trouble}", trouble=trouble)
        elif self.trouble and not trouble:
            _log.info("messages can be stored again")
        self.trouble = trouble
        for job in jobs:
            if trouble and job.group is not None:
                job.answer.errback(StoreFailed(f"{trouble}; nothing of this was stored"))
            else:
                job.answer.callback(None)

    def _tidy(self) -> bool:
        config, now = self._config, time.time()
        try:
            return self._disk.trim(now - config.keep_seconds, config.keep_bytes, now - config.key_window)
        except (sqlite3.Error, StoreFailed):
            return False

    def _described(self, error: sqlite3.Error) -> str:
        text = str(error)
        if "full" in text:
            return f"the disk of {self._path} is full"
        return f"{self._path} cannot be written: {text}"

    def _take_lock(self, succeeding: bool) -> None:
        path = f"{self._path}.lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if succeeding:
                return
            pid = os.read(self._lock, 20).decode("ascii", "replace").strip()
            raise CannotOpen(f"{self._path} is in use by another daemon (process {pid}); stop that one first") from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, b"%d\n" % os.getpid())

    def _release_lock(self) -> None:
        os.close(self._lock)

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        self._reactor.callFromThread(call, *arguments)

    # -- the thread that reads --------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        reading = Reading(self._path)
        while True:
            job = self._to_read.get()
            if job.work is None:
                break
            try:
                result = job.work(reading)
            except StoreFailed:
                self._tell(job.answer.errback, Failure())
            except sqlite3.Error as error:
                self._tell(job.answer.errback, Failure(StoreFailed(f"{self._path} cannot be read: {error}")))
            except BaseException:
                self._tell(job.answer.errback, Failure())
            else:
                self._tell(job.answer.callback, result)
        reading.close()
        self._tell(job.answer.callback, None)
