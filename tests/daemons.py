"""Real daemons in processes of their own, started by twistd as anybody would start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 30.0
"""Seconds after which a process that a test waits for is killed, so that the test fails and does not hang."""

ANYWHERE = ("--http", "tcp:0:interface=127.0.0.1", "--tcp", "tcp:0:interface=127.0.0.1")
"""Ports that are free, whichever they are."""

TWISTD = ("-c", "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()")


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended by itself."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon: ``http`` and ``tcp`` are where it listens, as ``host:port``."""

    process: subprocess.Popen[str]
    http: str
    tcp: str
    log: list[str]

    def http_port(self) -> int:
        """The number of the HTTP port."""
        return int(self.http.rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; returns its exit code once it has gone."""
        self.process.send_signal(number)
        return self.process.wait(LONGEST)


def environment(**further: str) -> dict[str, str]:
    """The environment of a process of ours, with nothing in it that would set the daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    return {**kept, "PYTHONPATH": str(ROOT), **further}


def twistd(*arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run ``twistd`` until it ends by itself."""
    return command(*TWISTD, *arguments, environ=environ)


def command(*arguments: str, stdin: str | None = None, environ: Mapping[str, str] | None = None) -> Ended:
    """Run Python with ``arguments`` until it ends by itself."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        env=environment(**(environ or {})),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*options: str, anywhere: Sequence[str] = ANYWHERE, before: Sequence[str] = ()) -> Iterator[Daemon]:
    """A daemon that listens, ``anywhere`` unless the options name other ports; it is ended with the block if it has not
    been before. ``before`` is what its command is put behind, such as what limits it and then becomes it."""
    with subprocess.Popen(
        [*before, sys.executable, *TWISTD, "-n", "--pidfile=", "comet", *anywhere, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as process:
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.start()
        try:
            daemon = _listening(process)
            watchdog.cancel()
            with _read_on(process, daemon.log):
                yield daemon
        finally:
            watchdog.cancel()
            process.kill()


def _listening(process: subprocess.Popen[str]) -> Daemon:
    """Read the log until it says where the daemon listens."""
    assert process.stdout is not None
    log: list[str] = []
    where: dict[str, str] = {}
    while len(where) < 2:
        line = process.stdout.readline()
        assert line, f"the daemon ended: {''.join(log)}"
        log.append(line)
        words = line.split()
        for word, mark in (("console", "http://"), ("publish", "--server")):
            if word in words:
                where[word] = words[-1].removeprefix(mark).rstrip("/")
    return Daemon(process, where["console"], where["publish"], log)


@contextmanager
def _read_on(process: subprocess.Popen[str], log: list[str]) -> Iterator[None]:
    """Read the log, so that it never fills its pipe, until the block ends, and the process with it."""
    reading = threading.Thread(target=lambda: log.extend(process.stdout or ()), daemon=True)
    reading.start()
    try:
        yield
    finally:
        process.kill()
        reading.join(LONGEST)
