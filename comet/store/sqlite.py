"""The durable store: a file of SQLite, written by one thread (``writing.py``) and read by another.

This is the side of the reactor: Deferreds in, Deferreds out.
"""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.python.failure import Failure

from comet.config import Config
from comet.errors import CannotOpen, StoreFailed
from comet.kept import Entry, Kept, Piece, Record
from comet.message import Message
from comet.store.disk import Disk, Group
from comet.store.reading import Reading
from comet.store.writing import ToKeep, Writing
from comet.topics import Pattern

T = TypeVar("T")


class ToRead(NamedTuple):
    """Something to read, and who is told what it is; without work it is the end."""

    answer: Deferred[Any]
    work: Callable[[Reading], Any] | None = None


class SqliteStore:
    """Keeps everything in the file of ``config.store``. ``reactor`` is the one in whose thread all calls are made."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._tell = reactor.callFromThread
        self._path = Path(config.store.removeprefix("sqlite:")).absolute()
        self._disk = Disk(self._path, fsync=config.durability == "fsync")
        self._writing = Writing(self._disk, config, self._tell, self._checkpoint)
        self._to_read: queue.SimpleQueue[ToRead] = queue.SimpleQueue()
        self._threads: list[Thread] = []

    @property
    def archive(self) -> SqliteStore:
        return self

    @property
    def trouble(self) -> str:
        return self._writing.trouble

    @property
    def trimmed(self) -> int:
        return self._disk.trimmed

    def configure(self, config: Config) -> None:
        self._writing.config = config

    # -- its life ---------------------------------------------------------------------------------------------------

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:
        started: Deferred[Kept] = Deferred()
        self._spawn("comet-store", self._write, started, succeeding)
        return started

    def stop(self) -> Deferred[None]:
        if not self._threads:
            return succeed(None)
        read: Deferred[None] = Deferred()
        written: Deferred[None] = Deferred()
        self._to_read.put(ToRead(read))
        self._writing.jobs.put(ToKeep(written))
        return gatherResults([read, written]).addCallback(self._join)

    def _spawn(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=run, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self, _: object) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:
        return self._keep(Group(list(messages), list(keys)))

    def put(self, record: Record) -> Deferred[None]:
        return self._keep(Group(records=[(record.kind, record.name, record.body)]))

    def remove(self, kind: str, name: str) -> Deferred[None]:
        return self._keep(Group(records=[(kind, name, None)]))

    def _keep(self, group: Group) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self._writing.jobs.put(ToKeep(answer, group))
        return answer

    def _write(self, started: Deferred[Kept], succeeding: bool) -> None:
        """The thread that writes."""
        try:
            kept = self._writing.open(succeeding=succeeding)
        except CannotOpen:
            self._tell(self._not_started, started, Failure())
            return
        except BaseException:
            self._tell(started.errback, Failure())
            return
        self._tell(self._started, started, kept)
        self._writing.run()

    def _started(self, started: Deferred[Kept], kept: Kept) -> None:
        self._spawn("comet-archive", self._read_all)
        started.callback(kept)

    def _not_started(self, started: Deferred[Kept], failure: Failure) -> None:
        self._join(None)
        started.errback(failure)

    # -- reading ----------------------------------------------------------------------------------------------------

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

    def _checkpoint(self) -> None:
        """Have the other thread do it, so that nobody who publishes waits for it. One that fails is not missed: SQLite
        makes one itself if the log becomes too long."""
        self._ask(Reading.checkpoint).addErrback(lambda failure: failure.trap(StoreFailed) and None)

    def _read_all(self) -> None:
        """The thread that reads."""
        reading: Reading | None = None
        while (job := self._to_read.get()).work is not None:
            try:
                reading = reading or Reading(self._path)
                result = job.work(reading)
            except (sqlite3.Error, StoreFailed) as error:
                self._tell(job.answer.errback, Failure(StoreFailed(f"{self._path} cannot be read: {error}")))
            except BaseException:
                self._tell(job.answer.errback, Failure())
            else:
                self._tell(job.answer.callback, result)
        if reading is not None:
            reading.close()
        self._tell(job.answer.callback, None)
