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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from comet import __version__
from comet.config import Config
from comet.errors import CometError
from comet.interfaces import Store
from comet.listening import CannotListen, Face, Opened, faces, open_face
from comet.metrics import Metrics
from comet.resp.protocol import RespFactory
from comet.router import Router
from comet.store.memory import MemoryStore
from comet.web.site import make_site

LOOK = 0.05
"""Seconds between two looks whether everything is sent, on the way out."""

_log = Logger()


class CannotStart(SystemExit, Exception):
    """Ends the process with exit code 1. Its text, one line, was written to stderr before.

    Being an ``Exception``, it makes twistd tell the process that waits for the daemon, and remove the pid file; being
    a ``SystemExit`` too, it then passes without a traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = 1


def make_daemon(config: Config, reactor: Any) -> Daemon:
    """Wire a whole daemon. Raises :exc:`~comet.config.BadSetting` for an endpoint that is none."""
    metrics = Metrics()
    router = Router(config, open_store(config), metrics, reactor)
    site = make_site(router, config, metrics, reactor)
    publishers = RespFactory(router, config, metrics)
    return Daemon(router, site, publishers, tuple(faces(config, reactor)), reactor)


def open_store(config: Config) -> Store:
    """Return the store that the settings name, not started yet."""
    assert config.store == "memory:", config.store  # the one that Config lets pass
    return MemoryStore()


class Daemon(Service):
    """A running daemon: first the router with its store, then the endpoints; and back."""

    def __init__(
        self, router: Router, site: Site, publishers: RespFactory, faces: Sequence[Face], reactor: Any
    ) -> None:
        self._router = router
        self._site = site
        self._publishers = publishers
        self._faces = faces
        self._reactor = reactor
        self._opened: list[Opened] = []

    def startService(self) -> None:
        """Start everything. What cannot be started ends the process with one line and exit code 1."""
        end_cleanly(self._reactor)
        raise_descriptor_limit()
        failures: list[Failure] = []
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(failures.append)
        if failures:
            raise _told(failures[0])
        super().startService()  # type: ignore[no-untyped-call]
        # A store that takes its time, or an endpoint, may still fail once the reactor runs.
        starting.addCallback(lambda _: self._end_with_failures(failures))

    def stopService(self) -> Deferred[None]:
        """Stop listening, end the held responses, close the store. Fires once what was written has been sent, or
        after the seconds of ``drain``."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        await self._router.start()
        for face in self._faces:
            factory = self._site if face.setting == "http" else self._publishers
            self._opened.append(await open_face(face, factory))
        for line in welcome(self._opened):
            _log.info("{line}", line=line)

    async def _stop(self) -> None:
        opened, self._opened = self._opened, []
        await DeferredList([maybeDeferred(each.port.stopListening) for each in opened])
        self._publishers.finish()
        await self._router.stop()
        await self._sent()

    def _sent(self) -> Deferred[LoopingCall]:
        """Fire when nothing waits to be sent any more: then no transport asks the reactor to write."""
        looks_left = round(self._router.config.drain / LOOK)

        def look() -> None:
            nonlocal looks_left
            looks_left -= 1
            if not self._reactor.getWriters() or looks_left < 0:
                looking.stop()

        looking = LoopingCall(look)
        looking.clock = self._reactor
        done: Deferred[LoopingCall] = looking.start(LOOK)
        return done

    def _end_with_failures(self, failures: Sequence[Failure]) -> None:
        for failure in failures:
            _told(failure)
            # After the reactor has run, twistd knows no other way to an exit code.
            atexit.register(_exit_with_failure)
            self._reactor.stop()


def welcome(opened: Iterable[Opened]) -> Iterator[str]:
    """Yield what a person who starts a daemon wants to know: where it is and what to type."""
    yield f"Comet {__version__}"
    for each in opened:
        address = each.address()
        unix = address.startswith("/")
        if each.face.setting == "http":
            scheme = "https" if each.face.text.startswith(("tls:", "ssl:")) else "http"
            where, socket = ("http://localhost", f" --unix-socket {address}") if unix else (f"{scheme}://{address}", "")
            yield f"  console    {where}/{f' on {address}' if unix else ''}"
            yield f"  subscribe  curl -N{socket} '{where}/topics/news?transport=sse'"
        else:
            yield f"  publish    comet pub news hello --server {address}"


def raise_descriptor_limit() -> None:
    """Let the process hold as many open sockets as the system grants it: each held response is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_cleanly(reactor: Any) -> None:
    """See to it that SIGTERM and SIGINT end the process with exit code 0, and a second one ends it at once.

    twistd would end it by that signal, as if it had not been handled.
    """

    def leave() -> None:
        if getattr(reactor, "_exitSignal", None) is not None:
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
        text = f"cannot start: {failure.value!r}; this is a mistake in Comet, and its log says more"
        _log.failure("cannot start", failure)
    if sys.__stderr__ is not None:  # sys.stderr leads to the log by now
        sys.__stderr__.write(f"comet: {text}\n")
        sys.__stderr__.flush()
    return CannotStart(text)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    os._exit(1)
