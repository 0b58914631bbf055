"""What ``twistd comet`` takes, derived from :class:`~comet.config.Config`, and the service that it runs.

The trap: twistd answers a ``UsageError`` with its own whole help, in which the one line that matters is lost. What
cannot be used therefore ends the process here, with that line alone and exit code 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from twisted.python import usage

from comet import __version__
from comet.config import BadSetting, Config, Setting, settings
from comet.service import Daemon, make_daemon


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

    synopsis = "[options]"
    longdesc = (
        "A push daemon: programs publish messages on topics over TCP or HTTP, browsers that hold an HTTP response open "
        "receive them at once. Each setting is also an environment variable: --max-wait is COMET_MAX_WAIT."
    )
    # Without defaults here, what was not given stays None, and the environment is asked.
    optParameters = [[each.name, None, None, _help(each)] for each in settings() if not each.repeats]  # noqa: RUF012

    config: Config

    def opt_version(self) -> None:
        """Display the version and exit."""
        sys.stdout.write(f"Comet {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse ``options``, or end the process with one line that says what is wrong with them."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            _refuse(f"{error}; see twistd comet --help")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no flag."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is not an option")

    def postOptions(self) -> None:
        """Derive the settings from flags and environment, or end the process with what is wrong with them."""
        try:
            self.config = Config.from_sources(self, os.environ)
        except BadSetting as error:
            _refuse(str(error))


for _each in settings():
    if _each.repeats:
        setattr(Options, f"opt_{_each.field}", _repeating(_each))


def makeService(options: Options) -> Daemon:
    """Return the service of a daemon with these options, for twistd to start."""
    from twisted.internet import reactor  # noqa: PLC0415 (twistd --reactor chooses which, before this is called)

    try:
        return make_daemon(options.config, reactor)
    except BadSetting as error:
        _refuse(str(error))


def _refuse(line: str) -> NoReturn:
    raise SystemExit(f"comet: {line}")
