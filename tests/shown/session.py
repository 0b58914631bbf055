"""Runs what a page shows, as a reader would type it: in order, in a directory like a fresh checkout, on the default
ports. Those are free, because this process has a network of its own (``unshare --net``).

It is a program, ``python -m tests.shown.session PAGE``, and prints a line of JSON for each thing that went wrong.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.e2e.pictures import png
from tests.shown.blocks import Shown, agrees, blocks, commands

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0
ENDLESS = 1.0
"""Seconds after which a command without output that still runs is taken for one that goes on until it is ended."""

DAEMON = re.compile(r"^(twistd (-\S+ )*comet|comet serve)\b(?!.*(--help|--print-config|--version))")
APPLICATION = r"^(flask|uvicorn|python examples/(django|tokens)|python -m http.server)\b.*\b8000\b"
ELSEWHERE = {
    r"^comet doctor https?://(push|localhost:8080)": "tests/recipes/test_misconfigured.py, behind real proxies",
    r"^make (run|test|docs|bench)\b": "the gate itself, and tests/test_packaging.py",
    r"^pip install": "tests/test_packaging.py installs what is built",
    r"^npm (install|run)\b": "tests/browsers/test_example_pages.py",
    r"^node examples/tokens\b": "tests/recipes/test_token_recipes.py",
    r"^(sudo )?(systemctl|journalctl|systemd-\w+|loginctl)\b": "tests/recipes/test_systemd.py",
    r"^(sudo )?(docker|kubectl)\b": "tests/recipes/test_containers.py",
    r"^(sudo )?(nginx|haproxy|apache2|apachectl|varnishd|squid)\b": "tests/recipes/test_*.py of the proxies",
    r"^(sudo )?(apt-get|apt|cp|install|ln|mkdir|useradd)\b": "the operator's machine",
}
"""What is not run here, and where it is."""


class Session:
    """A page's commands; ``wrong`` is what did not go as shown."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wrong: list[str] = []
        self._going: list[Going] = []
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMET_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            "PYTHONUNBUFFERED": "1",
            "PAGER": "cat",
            "TERM": "xterm",
            "NO_COLOR": "1",
        }

    def run(self, shown: Shown) -> None:
        """Run one command, to its end or, if it has none, until the page's."""
        if any(re.search(pattern, shown.command) for pattern in ELSEWHERE):
            return
        refused = bool(shown.output) and shown.output[-1].startswith("comet: ")
        if DAEMON.match(shown.command) and not refused:
            self.start_daemon(shown.command, "--replace" in shown.command)
            return
        self.need_daemon()
        self._free_port(shown.command)
        going = Going(shown.command, self.directory, self._environ)
        self._going.append(going)
        began = time.monotonic()
        while not going.is_over() and time.monotonic() < began + PATIENCE:
            time.sleep(0.02)
            if shown.output:
                if agrees(shown.output, going.text()):
                    break
            elif time.monotonic() > began + ENDLESS:
                break
        if going.is_over() and bool(going.process.returncode) is not refused:
            self.wrong.append(f"line {shown.line}: exit code {going.process.returncode}: {going.text()!r}")
        if shown.output and not agrees(shown.output, going.text()):
            self.wrong.append(f"line {shown.line}: {shown.command!r} prints {going.text()!r} and not {shown.output}")

    def start_daemon(self, command: str, replaces: bool = False) -> None:
        """Start a daemon in the place of the one that runs."""
        if not replaces:
            self.end(daemons_only=True)
        going = Going(command, self.directory, self._environ)
        self._going.append(going)
        deadline = time.monotonic() + PATIENCE
        while not re.search(r"publish    comet pub .* --server ", going.text()):
            if time.monotonic() > deadline or (going.is_over() and going.process.returncode):
                self.wrong.append(f"{command!r} does not start: {going.text()}")
                break
            if going.is_over() and is_served():  # it has gone to the background
                break
            time.sleep(0.02)

    def need_daemon(self) -> None:
        """Have a daemon run, as the pages take for granted."""
        if not is_served():
            self.start_daemon("comet serve --origin http://127.0.0.1:8000")

    def end(self, daemons_only: bool = False) -> None:
        """End what still runs."""
        for going in [each for each in self._going if each.is_daemon or not daemons_only]:
            self._going.remove(going)
            going.end()
        for noted in self.directory.glob("*.pid"):  # who went to the background
            os.kill(int(noted.read_text()), signal.SIGTERM)
            wait_for(partial(_is_gone, noted))

    def _free_port(self, command: str) -> None:
        """End the application that ``command`` is an alternative to: both would listen on port 8000."""
        if re.search(APPLICATION, command):
            for going in self._going:
                if re.search(APPLICATION, going.command):
                    going.end()


class Going:
    """A command that runs, on a terminal of its own: what it prints there is what a reader sees."""

    def __init__(self, command: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.command = command
        self.is_daemon = DAEMON.match(command) is not None
        self._printed = b""
        self._terminal, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def is_over(self) -> bool:
        """Whether it has ended, and all that it has printed is here."""
        return self.process.poll() is not None and not self._reading.is_alive()

    def text(self) -> str:
        """What it has printed so far; each redrawing of a line is a line."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._printed.decode(errors="replace"))
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def end(self) -> None:
        """End it, and whatever it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL)[not self.is_daemon :]:
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(PATIENCE)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        self._reading.join(PATIENCE)

    def _read(self) -> None:
        try:
            while data := os.read(self._terminal, 65_536):
                self._printed += data
        except OSError:  # nobody has the other end any more
            pass
        os.close(self._terminal)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` is true, but not for ever."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_gone(file: Path) -> bool:
    return not file.exists()


def is_served() -> bool:
    """Whether a daemon answers on the default port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 7080)) == 0


@contextmanager
def checkout() -> Iterator[Path]:
    """A directory with the files of the project, and nothing that was made of them."""
    with tempfile.TemporaryDirectory() as directory:
        listed = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                target = Path(directory) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
        (Path(directory) / ".venv").symlink_to(Path(sys.executable).parent.parent)
        frames = Path(directory) / "frames"  # what command-line.rst plays
        frames.mkdir()
        for number in range(3):
            (frames / f"{number}.png").write_bytes(png(8 + number))
        yield Path(directory)


def raise_loopback() -> None:
    """Have 127.0.0.1 in this process's network, as ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def main(page: Path) -> int:
    """Run what ``page`` shows."""
    raise_loopback()
    with checkout() as directory:
        session = Session(directory)
        try:
            for block in blocks(page):
                if block.language in ("python",):
                    program = directory / f"shown-{block.line}.py"
                    program.write_text(block.text() + "\n")
                    session.run(Shown(f"python {program.name}", block.line))
                elif block.language in ("toml",):
                    (directory / "comet.toml").write_text(block.text() + "\n")
                for shown in commands(block):
                    session.run(shown)
        finally:
            session.end()
    for each in session.wrong:
        sys.stdout.write(f"{json.dumps(each)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
