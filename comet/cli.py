"""The ``comet`` command. Each command is a module with a ``main``, imported when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from comet import __version__


class Command(NamedTuple):
    """A row of the table: ``module`` has a function ``main``, which takes the arguments and gives the exit code."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("serve", "comet.commands.serve", "run the daemon in the foreground"),
    Command("pub", "comet.commands.pub", "publish a message, or each line of a pipe"),
    Command("sub", "comet.commands.sub", "subscribe, and print what comes"),
    Command("demo", "comet.commands.demo.main", "feed the demos with something that moves"),
    Command("top", "comet.commands.top", "watch what the daemon does"),
    Command("bench", "comet.commands.bench.main", "load the daemon, check every message, and measure"),
    Command("log", "comet.commands.log.main", "look at a durable log, save it, fill another"),
    Command("token", "comet.commands.token", "sign a token, say what one allows, make a secret"),
    Command("health", "comet.commands.health", "say by the exit code whether the daemon is ready"),
    Command("doctor", "comet.commands.doctor.main", "say what is wrong between clients and the daemon"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, and return the exit code of the process."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"Comet {__version__}")
        return 0
    for command in COMMANDS:
        if command.name == name:
            return _run(command, arguments[1:])
    raise SystemExit(f"comet: there is no command {name!r}; see comet --help")


def usage() -> str:
    """Return what there is to be asked for."""
    rows = (f"  {command.name:<7} {command.help}" for command in COMMANDS)
    return "\n".join(("usage: comet COMMAND [--help] …", "", *rows))


def _run(command: Command, arguments: Sequence[str]) -> int:
    try:
        code: int = import_module(command.module).main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read the output has seen enough. What is still buffered must not complain once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
