"""One daemon after another, at the same place and on the same file: each is killed, and the next one started.

The trap: while nobody listens at a port that the system gives to clients too (what port 0 gives), one of the many
clients that knock there gets this very port for its own end, and is connected with itself. The ports are below those.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from socket import create_server

from tests.daemons import TWISTD, Daemon, environment, running

PORTS = range(12_000, 32_000)
"""Below what Linux gives to clients."""

SIGNS = ("Traceback", "Unhandled", "mistake in Comet")
"""What the log of a daemon has in it that has made a mistake."""


class Lives:
    """The daemon that lives now, and how to end it. ``kills`` counts those that were killed."""

    def __init__(self, *options: str) -> None:
        self.kills = 0
        self.mistakes: list[str] = []
        http, tcp = (_free_port() for _ in range(2))
        self.http, self.tcp = f"127.0.0.1:{http}", f"127.0.0.1:{tcp}"
        places = (("--http", http), ("--tcp", tcp))
        self._options = (
            *(text for flag, port in places for text in (flag, f"tcp:{port}:interface=127.0.0.1")),
            *options,
        )
        self._stack = ExitStack()
        self._start_took = 0.0
        self.daemon: Daemon

    def __enter__(self) -> Lives:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start the next one; returns once it listens."""
        began = time.monotonic()
        self.daemon = self._stack.enter_context(running(*self._options, anywhere=()))
        self._start_took = time.monotonic() - began

    def try_start(self) -> str:
        """Start the next one; returns what it said if it ended at once, and nothing once it listens."""
        try:
            self.start()
        except AssertionError as error:
            return str(error)
        return ""

    def kill(self) -> None:
        """Kill it where it stands."""
        self.daemon.process.kill()

    def buried(self) -> None:
        """Wait until the one that was killed is gone; keep what it had to say of mistakes."""
        # One that was stopping may have come to its end first.
        assert self.daemon.process.wait() in (-signal.SIGKILL, 0), self.text()
        self.kills += 1
        self._close()

    def stop(self) -> None:
        """End it as an operator does."""
        code = self.daemon.end()
        assert code == 0, self.text()
        self._close()

    def kill_starting(self, share: float) -> None:
        """Start one, and kill it after ``share`` of the time that the last one took to listen."""
        command = [sys.executable, *TWISTD, "-n", "--pidfile=", "comet", *self._options]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        ) as process:
            time.sleep(share * self._start_took)
            process.kill()
            said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, said.decode()
        self.kills += 1
        self._look(said.decode())

    def text(self) -> str:
        """All that the one that lives has logged."""
        return "".join(self.daemon.log)

    def _close(self) -> None:
        self._stack.close()
        self._look(self.text())

    def _look(self, said: str) -> None:
        self.mistakes += [said for sign in SIGNS if sign in said][:1]


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)
        try:
            with create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
