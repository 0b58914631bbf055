"""The durable store: a file of SQLite, with a thread that writes, one that reads, and one that makes checkpoints.

The traps: a reply that lies, so that nobody is answered before the commit (``writer.py``); and a disk that is full,
which must end in refusals and not in silence, and be over by itself once there is room again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.config import Config
from comet.errors import CannotOpen, StoreFailed
from comet.kept import Entry, Kept, Piece, Record
from comet.message import Message
from comet.metrics import Metrics
from comet.store import schema
from comet.store.blocks import Damaged
from comet.store.disk import Disk, Group
from comet.store.faults import fault, why_not_open
from comet.store.opening import open_disk
from comet.store.reading import Reading
from comet.store.trimming import Limits, Trimming
from comet.store.worker import Worker
from comet.store.writer import Done, Job, Writer
from comet.topics import Pattern

T = TypeVar("T")

_log = Logger()


class SqliteStore:
    """Keeps everything in the file that ``config.store`` names."""

    def __init__(self, config: Config, metrics: Metrics, reactor: Any) -> None:
        self.trouble = ""
        self._path = Path(config.store.removeprefix("sqlite:")).absolute()
        self._config = config
        self._metrics = metrics
        self._disk = Disk(self._path, config.durability)
        self._trimming = Trimming(self._disk, _limits(config))
        self._writer = Writer(self._disk, self._trimming, reactor, self._done, self._checkpoint)
        self.archive = FileArchive(self._disk, reactor)
        self._checkpoints = Worker("comet-checkpoints", reactor)
        self._is_open = False

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:
        """See :class:`~comet.interfaces.Store`. Nobody is served yet, so that this may block."""
        config = self._config
        try:
            found = open_disk(self._disk, config.retain_bytes, time.time() - config.key_window, succeeding=succeeding)
            self._checkpointing = schema.connect(self._path)
            self.archive.start()
        except CannotOpen as error:
            return fail(error)
        except (sqlite3.Error, OSError, Damaged) as error:
            return fail(CannotOpen(why_not_open(self._path, error)))
        if found.renewed:
            _log.warn(
                "{path} was not closed before the machine went down, and the messages that were stored last may be "
                "missing: the epoch is a new one, so that all who resume are told of a gap",
                path=self._path,
            )
        if found.damage:
            _log.error("{text}", text=fault(self._path, Damaged(found.damage)))
        self._writer.start()
        self._checkpoints.start()
        self._is_open = True
        return succeed(found.kept)

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:
        """See :class:`~comet.interfaces.Store`."""
        return self._keep(Group(list(messages), list(keys)))

    def put(self, record: Record) -> Deferred[None]:
        """See :class:`~comet.interfaces.Store`."""
        return self._keep(Group(records={(record.kind, record.name): record.body}))

    def remove(self, kind: str, name: str) -> Deferred[None]:
        """See :class:`~comet.interfaces.Store`."""
        return self._keep(Group(records={(kind, name): None}))

    def configure(self, config: Config) -> None:
        """See :class:`~comet.interfaces.Store`."""
        self._trimming.limits = _limits(config)

    def stop(self) -> Deferred[None]:
        """See :class:`~comet.interfaces.Store`."""
        if not self._is_open:
            return succeed(None)
        self._is_open = False
        # The connection that writes goes last: closing it brings all that SQLite has logged to its place.
        others = gatherResults([self.archive.stop(), self._checkpoints.stop(self._checkpointing.close)])
        return others.addCallback(lambda _: self._send(Group(), is_last=True))

    def _keep(self, group: Group) -> Deferred[None]:
        if not self._is_open:
            return fail(StoreFailed(f"{self._path} is closed; nothing was stored"))
        return self._send(group)

    def _send(self, group: Group, *, is_last: bool = False) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self._writer.put(Job(group, answer, is_last))
        return answer

    def _done(self, done: Done) -> None:
        metrics = self._metrics
        metrics.store_bytes, metrics.store_oldest_seconds = done.bytes, done.oldest
        metrics.store_trouble = int(bool(done.trouble))
        if done.trouble and not self.trouble:
            _log.error("nothing can be stored: {trouble}", trouble=done.trouble)
        if self.trouble and not done.trouble:
            _log.info("{path} can be written again", path=self._path)
        self.trouble = done.trouble
        if done.trouble:
            self._refuse(done)
            return
        metrics.store_commits += 1
        metrics.store_commit_seconds.observe(done.seconds)
        for job in done.jobs:
            job.answer.callback(None)

    def _refuse(self, done: Done) -> None:
        for job in done.jobs:
            if job.is_last:
                job.answer.callback(None)
            else:
                job.answer.errback(StoreFailed(f"{done.trouble}; nothing of this was stored"))

    def _checkpoint(self) -> None:
        """Called by the writer's thread."""
        self._checkpoints.ask(self._make_checkpoint)

    def _make_checkpoint(self) -> None:
        pages = done = 0
        try:
            _, pages, done = self._checkpointing.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            pass  # a disk that fails is told of by the next commit
        self._writer.checkpointed(pages if pages > done else 0)


class FileArchive:
    """What is in the file of ``disk``, read by a thread of its own."""

    def __init__(self, disk: Disk, reactor: Any) -> None:
        self._disk = disk
        self._reading = Reading(disk)
        self._worker = Worker("comet-reader", reactor)

    @property
    def trimmed(self) -> int:
        """See :class:`~comet.interfaces.Archive`."""
        return self._disk.trimmed

    def start(self) -> None:
        """Open the file, which is there."""
        self._reading.connect(self._disk.path)
        self._worker.start()

    def stop(self) -> Deferred[None]:
        """Close it, once everybody has got what they asked for."""
        return self._worker.stop(self._reading.close)

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        """See :class:`~comet.interfaces.Archive`."""
        return self._ask(lambda: self._reading.read(patterns, after, until, limit))

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        """See :class:`~comet.interfaces.Archive`."""
        return self._ask(lambda: self._reading.newest(patterns, after, until, limit))

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> Deferred[int]:
        """See :class:`~comet.interfaces.Archive`."""
        return self._ask(lambda: self._reading.before_newest(patterns, until, count))

    def count(self, topic: str) -> Deferred[int]:
        """See :class:`~comet.interfaces.Archive`."""
        return self._ask(lambda: self._reading.count(topic))

    def _ask(self, work: Callable[[], T]) -> Deferred[T]:
        return self._worker.ask(work).addErrback(self._cannot_read)

    def _cannot_read(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, sqlite3.Error | OSError | Damaged):
            return Failure(StoreFailed(fault(self._disk.path, error)))
        return failure


def _limits(config: Config) -> Limits:
    return Limits(config.keep_seconds, config.keep_bytes, config.key_window)
