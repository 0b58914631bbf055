"""What ``twistd comet`` takes, derived from :class:`~comet.config.Config`, and the service that it runs.

The trap: twistd answers a ``UsageError`` with its own whole help, in which the one line that matters is lost. What
cannot be used therefore ends the process here, with that line alone and exit code 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from getopt import GetoptError
from pathlib import Path
from typing import NoReturn

from twisted.python import usage

from comet import __version__
from comet.config import BadSetting, Config, Setting, settings
from comet.handover.places import Start
from comet.logs.sinks import observer_for
from comet.service import Daemon, make_daemon
from comet.sources import FILE, Sources, printed, unknown


def _help(setting: Setting) -> str:
    repeats = " May be repeated." if setting.repeats else ""
    return f"{setting.help}{repeats} [default: {setting.written(setting.default) or 'none'}]"


def _repeating(setting: Setting) -> Callable[[usage.Options, str], None]:
    def option(self: usage.Options, value: str) -> None:
        self.setdefault(setting.name, []).append(value)

    option.__doc__ = _help(setting)
    return option


class Options(usage.Options):
    """The flags of ``twistd comet``: one for each setting. Once they are parsed, ``config`` has the settings."""

    program = "twistd comet"
    """What a person types to get here."""

    synopsis = "[options]"
    longdesc = (
        "A push daemon: programs publish messages on topics over TCP or HTTP, browsers that hold an HTTP response open "
        "receive them at once. Each setting is also an environment variable (--max-wait is COMET_MAX_WAIT), and a line "
        'of the settings file that --config names (max-wait = "60s"). SIGHUP makes the daemon read that file again.'
    )
    # Without defaults here, what was not given stays None, and the environment is asked.
    optParameters = [  # noqa: RUF012
        [FILE, None, None, "A TOML file with settings; flags and variables beat it. [default: none]"],
        *([each.name, None, None, _help(each)] for each in settings() if not each.repeats),
    ]
    optFlags = [  # noqa: RUF012
        ["replace", None, "Take the place of the daemon that runs, with its sockets and all that it has retained."],
        ["print-config", None, "Print every setting and where it comes from, as a settings file, and exit."],
    ]

    config: Config
    sources: Sources

    def opt_version(self) -> None:
        """Display the version and exit."""
        sys.stdout.write(f"Comet {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse ``options``, or end the process with one line that says what is wrong with them."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            _refuse(f"{self._explained(error)}; see {self.program} --help")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no flag."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is not an option")

    def postOptions(self) -> None:
        """Derive the settings from their sources, or end the process with what is wrong with them."""
        given = (FILE, *(setting.name for setting in settings()))
        flags = {name: self[name] for name in given if self.get(name) is not None}
        self.sources = Sources(flags, dict(os.environ), Path.cwd())
        try:
            settled = self.sources.settle()
        except BadSetting as error:
            _refuse(str(error))
        if self["print-config"]:
            sys.stdout.write(printed(settled))
            raise SystemExit(0)
        self.config = settled.config

    def _explained(self, error: usage.UsageError) -> str:
        """Return what ``error`` says; of a flag that is none also which is nearest."""
        cause = error.__context__
        if isinstance(cause, GetoptError) and len(cause.opt) > 1 and cause.msg.endswith("not recognized"):
            return unknown(f"--{cause.opt}", (f"--{name.rstrip('=')}" for name in self.longOpt))
        return str(error)


for _each in settings():
    if _each.repeats:
        setattr(Options, f"opt_{_each.field}", _repeating(_each))


def makeService(options: Options) -> Daemon:
    """Return the service of a daemon with these options, for twistd to start."""
    from twisted.internet import reactor  # noqa: PLC0415 (twistd --reactor chooses which, before this is called)

    try:
        daemon = make_daemon(options.config, reactor, Start.REPLACING if options["replace"] else Start.AFRESH)
    except BadSetting as error:
        _refuse(str(error))
    daemon.reloading.sources = options.sources
    observer = observer_for(options.config, options.parent, reactor)
    if observer is not None:
        daemon.log_to(observer)
    return daemon


def _refuse(line: str) -> NoReturn:
    raise SystemExit(f"comet: {line}")
