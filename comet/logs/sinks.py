"""Where the log goes: what twistd is told by its own flags, as far as it has not an observer of its own to go with.

twistd would make these itself, with its own formats. So the same files and signals are to be found here: without flags
the standard output in the foreground and ``twistd.log`` otherwise; SIGUSR1 begins a new file.
"""

from __future__ import annotations

import signal
import sys
import syslog
from collections.abc import Callable, Mapping
from typing import Any

from twisted.python.logfile import LogFile

from comet.config import Config
from comet.logs.observer import Observer, Sink, json_line, unstamped

PRIORITIES = {
    "debug": syslog.LOG_DEBUG,
    "info": syslog.LOG_INFO,
    "warn": syslog.LOG_WARNING,
    "error": syslog.LOG_ERR,
    "critical": syslog.LOG_CRIT,
}

SYSTEM_FORMATS = {"human": unstamped, "json": json_line}
"""The system's log adds the time by itself."""


def observer_for(config: Config, flags: Mapping[str, Any] | None, reactor: Any) -> Observer | None:
    """Return the observer for a daemon that twistd runs with ``flags``; None if twistd is to make its own, or not to
    start at all."""
    if flags is None or flags.get("logger"):
        return None
    if flags.get("syslog"):
        syslog.openlog(flags["prefix"])
        return Observer(config, to_syslog(syslog.syslog), SYSTEM_FORMATS)
    name, foreground = flags.get("logfile"), bool(flags.get("nodaemon") or flags.get("debug"))
    if foreground and name in (None, "", "-"):
        return Observer(config, to_file(getattr(sys.stdout, "buffer", sys.stdout)))
    return None if name == "-" else Observer(config, to_file(_opened(name or "twistd.log", reactor)))


def to_syslog(write: Callable[[int, str], object]) -> Sink:
    """What hands lines to ``write``, each with its priority, as ``syslog.syslog`` takes them."""

    def hand_over(level: str, text: str) -> None:
        for line in text.split("\n"):
            write(PRIORITIES[level], line)

    return hand_over


def to_file(file: Any) -> Sink:
    """What writes to ``file``, which takes bytes."""

    def write(_level: str, text: str) -> None:
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        file.flush()

    return write


def _opened(name: str, reactor: Any) -> LogFile:
    file: LogFile = LogFile.fromFullPath(name)
    if not signal.getsignal(signal.SIGUSR1):  # nobody has a use for it
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.rotate))
    return file
