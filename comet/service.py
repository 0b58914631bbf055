"""Config to running services: what is built of what, in which order it starts, and in which it stops.

The traps: twistd answers an exception in ``startService`` with a traceback, ends with exit code 0 whatever fails once
the reactor runs, and otherwise by the very signal that stopped it. See :class:`CannotStart` and :func:`end_cleanly`.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, gatherResults, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet import __version__
from comet.config import Config
from comet.errors import CometError
from comet.interfaces import Store
from comet.listening import CannotListen, Face, Opened, faces, open_face
from comet.message import Message

_log = Logger()


class CannotStart(SystemExit, Exception):
    """Ends the process with exit code 1. Its text, one line, was written to stderr before.

    Being an ``Exception``, it makes twistd tell the process that waits for the daemon, and remove the pid file; being
    a ``SystemExit`` too, it then passes without a traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = 1


class Parts(NamedTuple):
    """What is built on an open store. ``drain`` ends the held responses and fires once they are gone."""

    http: IProtocolFactory
    tcp: IProtocolFactory
    drain: Callable[[], Deferred[None]]


Assemble = Callable[[Config, Any, Store, Sequence[Message]], Parts]


def make_daemon(config: Config, reactor: Any) -> Daemon:
    """Return the service of a whole daemon. Raises :exc:`~comet.config.BadSetting` for an endpoint that is none."""
    return Daemon(config, reactor, open_store(config), assemble, tuple(faces(config, reactor)))


def open_store(config: Config) -> Store:
    """Return the store that the settings name, not started yet."""
    assert config.store == "memory:"  # the one that Config lets pass
    from twisted.internet.defer import succeed

    class MemoryStore:
        epoch = "00000000"

        def start(self):
            return succeed([])

        def stop(self):
            return succeed(None)

        def append(self, m):
            return succeed(None)

    return MemoryStore()


def assemble(config: Config, reactor: Any, store: Store, kept: Sequence[Message]) -> Parts:
    """Build what stands between the store and the network: the wiring of the daemon, whole."""
    from twisted.internet.defer import succeed
    from twisted.internet.protocol import Factory
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    return Parts(Site(Resource()), Factory(), lambda: succeed(None))


class Daemon(Service):
    """A running daemon: the store is opened, then the endpoints are, one after the other; and back."""

    def __init__(self, config: Config, reactor: Any, store: Store, assemble: Assemble, faces: Sequence[Face]) -> None:
        self._config = config
        self._reactor = reactor
        self._store = store
        self._assemble = assemble
        self._faces = faces
        self._parts: Parts | None = None
        self._opened: list[Opened] = []

    def startService(self) -> None:
        """Start everything. What cannot be started ends the process with one line."""
        end_cleanly(self._reactor)
        failures: list[Failure] = []
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(failures.append)
        if failures:
            raise _told(failures[0])
        super().startService()
        # A store that takes its time, or an endpoint, may still fail when the reactor runs.
        starting.addCallback(lambda _: failures and self._end_late(failures[0]))

    def stopService(self) -> Deferred[None]:
        """Stop listening, end the held responses, and close the store."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        raise_descriptor_limit()
        kept = await self._store.start()
        self._parts = self._assemble(self._config, self._reactor, self._store, kept)
        for face in self._faces:
            factory = self._parts.http if face.setting == "http" else self._parts.tcp
            self._opened.append(await open_face(face, factory))
        for line in welcome(self._opened):
            _log.info("{line}", line=line)

    async def _stop(self) -> None:
        opened, self._opened = self._opened, []
        await gatherResults([Deferred.fromCoroutine(_closed(each)) for each in opened], consumeErrors=True)
        if self._parts is not None:
            try:
                await self._parts.drain().addTimeout(self._config.drain, self._reactor)
            except TimeoutError:
                _log.warn("not all held responses have ended within {drain} seconds", drain=self._config.drain)
        await self._store.stop()

    def _end_late(self, failure: Failure) -> None:
        _told(failure)
        # After a run of the reactor twistd has no other way to an exit code.
        atexit.register(_exit_with_failure)
        self._reactor.stop()


async def _closed(opened: Opened) -> None:
    await maybeDeferred(opened.port.stopListening)


def welcome(opened: Iterable[Opened]) -> Iterator[str]:
    """Yield what a person who starts a daemon wants to know: where it is and what to type."""
    yield f"Comet {__version__}"
    for each in opened:
        address = each.address()
        unix = address.startswith("/")
        if each.face.setting == "http":
            where, socket = ("http://localhost", f" --unix-socket {address}") if unix else (f"http://{address}", "")
            yield f"  console    {where}/{socket and f' on {address}'}"
            yield f"  subscribe  curl -N{socket} '{where}/topics/news?transport=sse'"
        elif unix:
            yield f"  publish    redis-cli -s {address} PUBLISH news hello"
        else:
            yield f"  publish    comet pub news hello --server {address}"


def raise_descriptor_limit() -> None:
    """Let the process hold as many open sockets as the system grants it: each held response is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_cleanly(reactor: Any) -> None:
    """See to it that SIGTERM and SIGINT end the process with exit code 0, and a second one at once.

    twistd would end it by that signal, as if it had not been handled.
    """

    def leave() -> None:
        reactor._exitSignal = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    reactor.addSystemEventTrigger("before", "shutdown", leave)


def _told(failure: Failure) -> CannotStart:
    """Write what went wrong where a person sees it, and return what ends the process."""
    if failure.check(CannotListen, CometError, OSError):
        text = " ".join(str(failure.value).split())
        _log.error("{text}", text=text)
    else:
        text = f"cannot start, by a mistake of its own: {failure.value!r}; the log has the traceback"
        _log.failure("cannot start", failure)
    if sys.__stderr__ is not None:  # sys.stderr goes to the log by now
        sys.__stderr__.write(f"comet: {text}\n")
        sys.__stderr__.flush()
    return CannotStart(text)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    os._exit(1)
