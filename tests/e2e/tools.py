"""The programs that people use with the daemon, as they would type them, in processes of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.daemons import Ended, environment
from tests.e2e.waiting import PATIENCE, until

COMET = (sys.executable, "-c", "import sys; from comet.cli import main; sys.argv[0] = 'comet'; sys.exit(main())")
"""The command ``comet``."""

CURL = ("curl", "-sS", "--noproxy", "*", "--max-time", "30")


def path_of(tool: str) -> str:
    """Where ``tool`` is. Where it is not installed the test fails: what was not tried is not known to work."""
    found = shutil.which(tool)
    if found is None:
        pytest.fail(f"{tool} is not installed; 'make tools' installs it")
    return found


def split(address: str) -> tuple[str, str]:
    """The host and the port of an address."""
    host, _, port = address.rpartition(":")
    return host, port


def run(*command: str, stdin: str = "") -> Ended:
    """Run ``command`` until it ends by itself."""
    path_of(command[0])
    done = subprocess.run(
        command, input=stdin.encode(), capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def redis_cli(tcp: str, *words: str, stdin: str = "") -> Ended:
    """Run ``redis-cli`` against the TCP port."""
    host, port = split(tcp)
    return run("redis-cli", "-h", host, "-p", port, *words, stdin=stdin)


class Running:
    """A program that goes on, and what it has written to its standard output so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := self.process.stdout.read1(65_536):  # type: ignore[attr-defined]
            self.out += data

    def until(self, text: bytes) -> bytes:
        """Wait for ``text`` in the output; returns all of it."""
        until(lambda: text in self.out, f"{text!r} in the output {self.out[-500:]!r}")
        return self.out

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return code

    def is_closed(self) -> bool:
        """Whether its output has ended: nobody is left who could write there."""
        return not self._reading.is_alive()

    def end(self) -> None:
        """End it if it has not ended."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)


@contextmanager
def begun(*command: str, stdin: int | None = subprocess.DEVNULL, errors: int | None = None) -> Iterator[Running]:
    """``command``, running; it is ended with the block."""
    path_of(command[0])
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, env=environment()) as process:
        running = Running(process)
        try:
            yield running
        finally:
            running.end()


@contextmanager
def piped(first: Sequence[str], second: Sequence[str]) -> Iterator[Running]:
    """``first | second``, running; both are ended with the block."""
    path_of(first[0])
    with subprocess.Popen(first, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()) as source:
        try:
            assert source.stdout is not None
            with begun(*second, stdin=source.stdout.fileno()) as sink:
                yield sink
        finally:
            source.kill()
