"""A real terminal to look at: tmux, on a server of its own, without anybody's settings."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.daemons import environment
from tests.e2e.tools import path_of
from tests.e2e.waiting import PATIENCE, until


class Terminal:
    """A command on a terminal, whose tmux server listens at ``socket``."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *arguments: str) -> str:
        """Have tmux do something; returns what it says."""
        done = subprocess.run(
            [path_of("tmux"), "-S", str(self._socket), "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(TERM="xterm-256color", LC_ALL="C.UTF-8"),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self) -> list[str]:
        """The lines that are shown now."""
        return self.tmux("capture-pane", "-p").split("\n")[:-1]

    def until(self, *texts: str) -> list[str]:
        """Wait until all ``texts`` are on the screen; returns its lines."""
        seen: list[str] = []

        def shown() -> bool:
            seen[:] = self.screen()
            return all(any(text in line for line in seen) for text in texts)

        try:
            until(shown, f"{texts} on the screen")
        except AssertionError:
            raise AssertionError(f"{texts} are not on the screen:\n" + "\n".join(seen)) from None
        return seen

    def type(self, *keys: str) -> None:
        """Press keys, as tmux names them."""
        self.tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the window larger or smaller."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def cursor_is_shown(self) -> bool:
        """Whether the cursor is."""
        return self.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"


@contextmanager
def terminal(command: Sequence[str], columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """``command`` on a terminal of that size. When it has ended, ``[done 0]`` follows with its exit code, and
    ``icanon`` if the terminal waits for whole lines again, as a shell wants it."""
    after = "code=$?; echo; echo [done $code]; stty -a | grep -o -e '-*icanon'; read line"
    # The shell must outlive a ctrl-C, which the command is meant to get.
    shell = f"trap : INT; {shlex.join(command)}; {after}"
    with TemporaryDirectory() as folder:  # a path that is short enough for a socket
        shown = Terminal(Path(folder) / "tmux")
        shown.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-c", shell)
        try:
            yield shown
        finally:
            shown.tmux("kill-server")
