"""SIGHUP: the settings file is read again, and what can change while the daemon runs changes.

Each part of the daemon that keeps something of :class:`~comet.config.Config` has ``configure``; they are called here,
one after the other. What only reads the router's ``config`` when it needs it has nothing to do.

The traps: a file that is half written, or wrong, must leave everything as it is; a pipe that is named as the file would
block the reactor; and a terminal that is closed sends the same signal, which ends a program unless it is run by nohup.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from twisted.logger import Logger

from comet.config import BadSetting, Config, Setting, settings
from comet.listening import faces
from comet.sources import Sources

RESTART = "comet serve --replace"

_log = Logger()


def _nothing() -> None:
    """What is done before and after a reload unless somebody asks for something."""


class Part(Protocol):
    """What goes by settings of which some may change while it runs."""

    def configure(self, config: Config) -> None:
        """Go by ``config`` from now on. It was checked before, so that this does not fail."""


class Reloading:
    """Brings settings that have changed to the ``parts`` of a daemon that runs with ``config``; more may be added.

    ``sources`` are those that ``config`` came from: without them, or without a file among them, nothing can change.
    """

    sources: Sources | None = None

    def __init__(self, config: Config, parts: Sequence[Part]) -> None:
        self.config = config
        self.parts = list(parts)

    def install(
        self, reactor: Any, before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing
    ) -> None:
        """Reload at each SIGHUP from now on; ``before`` and ``after`` are called at the beginning and at the end."""

        def hung_up() -> None:
            if mortal and not _has_terminal():
                _log.info("the terminal is closed")
                reactor.stop()
                return
            before()
            try:
                self.reload(reactor)
            finally:
                after()

        mortal = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        # Python calls it between any two instructions; a turn of the reactor of its own is safe.
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(hung_up))

    def reload(self, reactor: Any) -> None:
        """Read the settings file again, apply what has changed, and log a line for each change, or on what is wrong."""
        if self._path is None and self.config.key:
            self._apply(self.config)
            _log.info("reloaded: the keys of tokens; there is no settings file to read again")
            return
        try:
            wanted = self._read(reactor)
        except BadSetting as error:
            _log.error("not reloaded, nothing has changed: {text}", text=str(error))
            return
        changed = [each for each in settings() if getattr(wanted, each.field) != getattr(self.config, each.field)]
        before, live = self.config, [each for each in changed if each.live]
        self._apply(replace(before, **{each.field: getattr(wanted, each.field) for each in live}))
        for line in _report(changed, before, wanted):
            _log.info("{line}", line=line)

    @property
    def _path(self) -> Path | None:
        return None if self.sources is None else self.sources.path

    def _apply(self, config: Config) -> None:
        self.config = config
        for part in self.parts:
            part.configure(config)

    def _read(self, reactor: Any) -> Config:
        path = self._path
        if self.sources is None or path is None:
            raise BadSetting("there is no settings file to read again; start with --config PATH")
        if path.exists() and not path.is_file():
            raise BadSetting(f"{path} is no regular file, and can be read only once")
        wanted = self.sources.settle().config
        if (wanted.http, wanted.tcp) != (self.config.http, self.config.tcp):
            list(faces(wanted, reactor))  # refuses now what would keep the next process from starting
        return wanted


def _report(changed: Sequence[Setting], before: Config, wanted: Config) -> Iterator[str]:
    """Yield what is to be said of ``changed``: a line for each setting that is in force now, and one for the others."""
    if not changed:
        yield "reloaded: no setting has changed"
    live = [each for each in changed if each.live]
    for each in live:
        new, old = (each.written(getattr(config, each.field)) or "none" for config in (wanted, before))
        yield f"reloaded: {each.name} = {new} (was {old})"
    others = [each.name for each in changed if not each.live]
    if others:
        have, need = ("has", "needs") if len(others) == 1 else ("have", "need")
        yield f"{' and '.join(others)} {have} changed{' too' * bool(live)}, but {need} a restart: {RESTART}"


def _has_terminal() -> bool:
    """Whether the process has a terminal that can still be used."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
