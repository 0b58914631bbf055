"""The processes of a bench: begun by forking, spoken to over a pipe each, and ended whatever happens.

The traps: ctrl-C reaches every process of a terminal, so only the first one minds it; a process whose parent was killed
must find that out by itself; and one that dies closes its pipe, which is how the others learn of it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from comet.commands.bench.reports import Failed, Finished, Outcome

LONGEST_END = 2.0
"""Seconds that a process has to end when it is told to, before it is killed."""


class Link:
    """The pipe of a process to the one that began it."""

    def __init__(self, connection: Connection, parent: int) -> None:
        self._connection = connection
        self._parent = parent

    def tell(self, message: Any) -> None:
        """Say ``message``."""
        self._connection.send(message)

    def heard(self, patience: float = 0.0) -> Iterator[Any]:
        """Yield what was said, after waiting ``patience`` seconds for it; ends this process if nobody is there."""
        if os.getppid() != self._parent:
            raise SystemExit(1)
        while self._connection.poll(patience):
            patience = 0.0
            yield self._connection.recv()


class Member(NamedTuple):
    """A process, as the one that began it sees it; they are numbered from 0."""

    number: int
    process: BaseProcess
    connection: Connection


class Crew:
    """The processes that were begun and have not said their last word."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._members: dict[Connection, Member] = {}
        self._begun: list[Member] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, work: Callable[..., None], *arguments: Any) -> None:
        """Begin a process that does ``work(*arguments, link)``."""
        ours, theirs = self._context.Pipe()
        with _without_interrupts():
            process = self._context.Process(target=_work, args=(work, arguments, theirs, os.getpid()), daemon=True)
            process.start()
        theirs.close()
        self._members[ours] = Member(len(self._begun), process, ours)
        self._begun.append(self._members[ours])

    def tell(self, message: Any) -> None:
        """Say ``message`` to all; who has ended is noticed by :meth:`heard`."""
        for connection in self._members:
            try:
                connection.send(message)
            except OSError:
                pass

    def heard(self, patience: float) -> list[tuple[int, Any]]:
        """Return who said what, after waiting ``patience`` seconds for it. Raises SystemExit if a process ended."""
        said = []
        for ready in wait(list(self._members), patience):
            assert isinstance(ready, Connection)
            said.append((self._members[ready].number, self._hear(ready)))
        return said

    def end(self) -> None:
        """End them all, and wait until they have."""
        for member in self._begun:
            member.process.terminate()
        for member in self._begun:
            member.process.join(LONGEST_END)
            member.process.kill()
            member.process.join()
            member.connection.close()
        self._begun, self._members = [], {}

    def _hear(self, connection: Connection) -> Any:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            process = self._members[connection].process
            process.join(LONGEST_END)
            raise SystemExit(
                f"comet bench: one of its own processes has ended ({_cause(process.exitcode)}); "
                "try again, with fewer subscribers if memory is short"
            ) from None
        if isinstance(message, Failed):
            raise SystemExit(f"comet bench: {message.text}")
        if isinstance(message, Outcome | Finished):
            del self._members[connection]
        return message


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _work(work: Callable[..., None], arguments: tuple[Any, ...], connection: Connection, parent: int) -> None:
    try:
        work(*arguments, Link(connection, parent))
    except (BrokenPipeError, ConnectionResetError, EOFError):
        pass  # nobody is there to hear it


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is begun within does not mind ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
