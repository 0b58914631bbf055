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
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from comet import __version__
from comet.access.access import Access
from comet.access.revoked import Revocations
from comet.config import Config
from comet.consumers import Consumers
from comet.errors import CannotOpen, CometError
from comet.handover.adopting import Adopting
from comet.handover.giving import Estate, Listening
from comet.handover.late import LatecomersFactory
from comet.handover.places import Start, addresses_of, find_predecessor
from comet.handover.taking import CannotTakeOver, Inheritance, raw_address
from comet.hooks.hooks import Hooks
from comet.intake import bound_events
from comet.interfaces import Store
from comet.listening import CannotListen, Face, Opened, faces, open_face
from comet.logs.observer import Observer
from comet.metrics import Metrics
from comet.quiet import Quiet
from comet.reloading import Reloading
from comet.resp.factory import RespFactory
from comet.router import Router
from comet.store.memory import MemoryStore
from comet.store.sqlite import SqliteStore
from comet.systemd import ALIVE, READY, STOPPING, Notices, main_process, reloading
from comet.web.site import CometSite, make_site

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


class Parts(NamedTuple):
    """What a daemon is made of."""

    router: Router
    consumers: Consumers
    hooks: Hooks
    access: Access
    site: CometSite
    publishers: RespFactory
    faces: Sequence[Face]
    adopting: Adopting
    """The reactor on which the faces listen."""


def make_daemon(config: Config, reactor: Any, start: Start = Start.AFRESH) -> Daemon:
    """Wire a whole daemon. Raises :exc:`~comet.config.BadSetting` for an endpoint that is none."""
    metrics = Metrics()
    adopting = Adopting(reactor)
    router = Router(config, open_store(config, metrics, reactor), metrics, reactor)
    consumers = Consumers(router)
    router.each_second.append(Quiet(router, consumers).each_second)
    hooks = Hooks(router, consumers, reactor)
    revocations = Revocations(router.records, router.time)
    router.each_second.append(revocations.each_second)
    access = Access(config, reactor, metrics, revocations, router.time)
    site = make_site(router, consumers, hooks, access, reactor)
    publishers = RespFactory(router, config, metrics, site.access.refused, consumers, access)
    parts = Parts(router, consumers, hooks, access, site, publishers, tuple(faces(config, adopting)), adopting)
    return Daemon(parts, reactor, start)


def open_store(config: Config, metrics: Metrics, reactor: Any) -> Store:
    """Return the store that the settings name, not started yet."""
    return MemoryStore() if config.store == "memory:" else SqliteStore(config, metrics, reactor)


class Daemon(Service):
    """A running daemon: first the router with its store, then the endpoints; and back."""

    def __init__(self, parts: Parts, reactor: Any, start: Start) -> None:
        self._parts = parts
        self._router = parts.router
        self._reactor = reactor
        self._how = start
        self._observer: Observer | None = None
        self._opened: list[Opened] = []
        self._estate = Estate(parts.router, self._reactor, self._replaced)
        self._notices = Notices(os.environ)
        self._watchdog = LoopingCall(self._notices.tell, ALIVE)
        self._watchdog.clock = self._reactor
        self.reloading = Reloading(parts.router.config, (parts.router, parts.access, parts.site, parts.publishers))

    def log_to(self, observer: Observer) -> None:
        """Have twistd log to ``observer``."""
        self._observer = observer
        self._router.each_second.append(observer.each_second)
        self.reloading.parts.append(observer)

    def setServiceParent(self, parent: Any) -> None:
        """Become part of ``parent``. twistd starts its log once it has this service, and asks the application first."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start everything. What cannot be started ends the process with one line and exit code 1."""
        end_cleanly(self._reactor)
        raise_descriptor_limit()
        bound_events(self._reactor, self._router.is_flushing)
        tell = self._notices.tell
        self.reloading.install(self._reactor, before=lambda: tell(reloading()), after=lambda: tell(READY))
        failures: list[Failure] = []
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(failures.append)
        if failures:
            raise _told(failures[0])
        super().startService()  # type: ignore[no-untyped-call]
        # A store that takes its time, or an endpoint, may still fail once the reactor runs.
        starting.addCallback(lambda _: self._end_with_failures(failures))

    def stopService(self) -> Deferred[None]:
        """Stop listening, end the held responses, close the store. Fires once what was written has been sent and
        publishers have left, or after the seconds of ``drain``."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        predecessor = find_predecessor(self._router.config, self._how)
        if predecessor is None:
            await self._router.start()
            self._begin()
            await self._open(None)
            self._parts.hooks.start()
        else:
            with predecessor:
                inheritance = predecessor.inherit()
                await self._succeed(inheritance)
                self._begin()
                await self._open(inheritance)
                inheritance.close()
                late = predecessor.serve()
                self._reactor.adoptStreamConnection(late.fileno(), late.family, LatecomersFactory(self._router))
                self._parts.hooks.start()  # not before: the predecessor posts until it has given way
            _log.info("took over from the daemon that ran, with {count} messages", count=self._router.log.count)
        # Not before the reactor heeds signals: who reads this may send one.
        self._reactor.callWhenRunning(self._welcome)

    def _welcome(self) -> None:
        for line in welcome(self._opened):
            _log.info("{line}", line=line)
        self._notices.tell(READY, main_process())
        if self._notices.interval:
            self._watchdog.start(self._notices.interval)

    def _begin(self) -> None:
        """Go on with what is kept beside the messages."""
        self._parts.consumers.start()
        self._parts.access.start()

    async def _succeed(self, inheritance: Inheritance) -> None:
        """Go on where the predecessor stands, who keeps its messages in its memory, or where this daemon does."""
        store = self._router.config.store
        if inheritance.store != store:
            raise CannotTakeOver(f"the daemon that runs keeps its messages in {inheritance.store}, not {store}")
        await self._router.start(inheritance.kept)
        past = self._router.log.past()
        if (past.epoch, past.end) != (inheritance.kept.past.epoch, inheritance.kept.past.end):
            raise CannotTakeOver(f"{store} is not where the daemon that runs stands; stop that one first")

    async def _open(self, inheritance: Inheritance | None) -> None:
        """Listen, as far as they go on the sockets of ``inheritance``. Nobody is accepted before the next turn of the
        reactor."""
        take = _nothing if inheritance is None else inheritance.socket_for
        for face in self._parts.faces:
            self._parts.adopting.socket = take(face.setting, face.text)
            factory = self._parts.site if face.setting == "http" else self._parts.publishers
            opened = await open_face(face, factory, self._router.config)
            self._opened.append(opened)
            self._estate.ports.append(Listening(face.setting, face.text, opened.port))
        for address in addresses_of(self._router.config):
            self._parts.adopting.socket = take("handover", address)
            self._offer(address)

    def _offer(self, address: str) -> None:
        """Let a successor take over at ``address``."""
        named = not address.startswith("@")
        try:
            port = self._parts.adopting.listenUNIX(raw_address(address), self._estate, mode=0o600, wantPID=named)
        except (CannotListenError, OSError) as error:
            reason = " ".join(str(error).split())
            if self._router.config.handover != "auto":
                raise CannotListen(f"--handover: cannot listen on {address}: {reason}; choose another") from None
            _log.warn("nobody can take over from this daemon: {reason}", reason=reason)
        else:
            self._estate.ports.append(Listening("handover", address, port))

    def _replaced(self) -> None:
        """A successor serves, on the sockets that this process has too: closing one would close it for both."""
        _log.info("handed over to another process")
        self._opened.clear()
        self._estate.ports.clear()
        self._reactor.stop()

    async def _stop(self) -> None:
        ports = [each.port for each in self._estate.ports]
        if ports:
            self._notices.tell(STOPPING)
        self._estate.ports.clear()
        self._opened.clear()
        await DeferredList([maybeDeferred(port.stopListening) for port in ports])
        self._parts.publishers.finish()
        self._parts.site.finish()
        self._parts.access.stop()
        await self._parts.hooks.stop()
        await self._router.stop()
        await self._sent()
        if self._watchdog.running:
            self._watchdog.stop()
        self._parts.site.access.end()
        if self._observer is not None:
            self._observer.end()

    def _sent(self) -> Deferred[LoopingCall]:
        """Fire when nothing waits to be sent any more: then no transport asks the reactor to write."""
        looks_left = round(self._router.config.drain / LOOK)

        def look() -> None:
            nonlocal looks_left
            looks_left -= 1
            owed = [face.look() for face in (self._parts.publishers, self._parts.site)]
            if not (any(owed) or self._reactor.getWriters()) or looks_left < 0:
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
    if failure.check(CannotListen, CannotOpen, CannotTakeOver, CometError, OSError):
        text = " ".join(str(failure.value).split())
        _log.error("{text}", text=text)
    else:
        text = f"cannot start: {failure.value!r}; this is a mistake in Comet, and its log says more"
        _log.failure("cannot start", failure)
    if sys.__stderr__ is not None:  # sys.stderr leads to the log by now
        sys.__stderr__.write(f"comet: {text}\n")
        sys.__stderr__.flush()
    return CannotStart(text)


def _nothing(setting: str, text: str) -> None:
    """What was inherited from nobody."""


def _exit_with_failure() -> None:
    sys.stdout.flush()
    os._exit(1)
