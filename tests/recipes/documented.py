"""Single commands of the documentation, run as they stand there, for tests that look at what becomes of them (that each
runs, and prints what is shown, is the affair of ``tests/shown``).

The trap: the commands of Comet say no address, because they mean the default ports, which a test cannot count on. In
front of ``comet`` on the path there is one that names the test's daemon.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.daemons import ROOT, Daemon, environment
from tests.e2e.held import connected
from tests.e2e.tools import COMET, Running
from tests.e2e.waiting import PATIENCE
from tests.shown.blocks import blocks
from tests.shown.blocks import commands as commands_of

_WRAPPER = """#!/bin/sh
command=$1
shift
case $command in
pub) set -- --server {tcp} "$@" ;;
sub) set -- --url http://{http}/ "$@" ;;
esac
exec {comet} "$command" "$@"
"""


class Command(NamedTuple):
    """A command, and the output that the page shows for it."""

    text: str
    output: str


def commands(page: str) -> list[Command]:
    """The commands of ``page``, a path in the checkout, in order."""
    shown = (each for block in blocks(ROOT / page) for each in commands_of(block))
    return [Command(each.command, "".join(f"{line}\n" for line in each.output)) for each in shown]


@dataclass(frozen=True, slots=True)
class Shell:
    """Where the commands run: as if ``daemon`` listened on the default ports."""

    daemon: Daemon
    bin: Path

    def at_home(self, text: str) -> str:
        """``text`` with the addresses of the daemon in place of the default ones."""
        http, tcp = self.daemon.http, self.daemon.tcp
        text = text.replace("127.0.0.1:7080", http).replace("127.0.0.1:7081", tcp)
        for default, address in (("7080", http), ("7081", tcp)):
            text = re.sub(rf"\b{default}\b", address.rpartition(":")[2], text)
        return text

    def environment(self, **further: str) -> dict[str, str]:
        """The environment of a command: the applications of ``examples/`` find the daemon, too."""
        path = f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        where = {"PUSH_URL": f"http://{self.daemon.http}", "PUSH_SERVER": self.daemon.tcp, "no_proxy": "*"}
        # Without a terminal redis-cli and curl would write otherwise.
        shown = {"FAKETTY": "1", "CURL_HOME": str(self.bin)}
        return environment(PATH=path, **where, **shown, **further)

    def run(self, command: str, expected_code: int = 0) -> str:
        """Run ``command`` until it ends; returns its output."""
        with self.begun(command) as running:
            assert running.wait() == expected_code, (command, running.out)
            return running.out.decode()

    @contextmanager
    def begun(self, command: str, **further: str) -> Iterator[Running]:
        """``command`` in a shell at the top of the checkout, running; all of it is ended with the block."""
        with subprocess.Popen(
            ["sh", "-c", self.at_home(command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=self.environment(**further),
            start_new_session=True,
        ) as process:
            try:
                yield Running(process)
            finally:
                _end_session(process)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(PATIENCE)


def shell(daemon: Daemon, directory: Path) -> Shell:
    """A shell in which ``comet`` means ``daemon``; ``directory`` is for what that takes."""
    wrapper = directory / "comet"
    wrapper.write_text(_WRAPPER.format(http=daemon.http, tcp=daemon.tcp, comet=shlex.join(COMET)))
    wrapper.chmod(0o755)
    (directory / ".curlrc").write_text("no-progress-meter\nmax-time = 20\n")
    return Shell(daemon, directory)


def listens(address: str) -> bool:
    """Whether somebody listens at ``address``."""
    try:
        connected(address).close()
    except ConnectionError:
        return False
    return True
