"""A shell on a real terminal, in which the command ``comet`` is typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.terminals import Terminal, terminal
from tests.e2e.tools import COMET
from tests.e2e.waiting import until

PROMPT = re.compile(r"([0-9]+) ready, code ([0-9]+)>")
"""How many commands were typed, and the exit code of the last one."""


class Shell:
    """A shell that waits for commands. What the screen shows is given without the empty lines at its end."""

    def __init__(self, shown: Terminal) -> None:
        self._shown = shown
        self.press = shown.type
        self.resize = shown.resize
        self.shows_cursor = shown.cursor_is_shown
        self._typed = 1
        self.code = 0
        """The exit code of the last command."""

    def type(self, line: str) -> None:
        """Type ``line`` on a screen that is empty, and Enter."""
        self._shown.type("-l", f"clear; {line}")
        self._shown.type("Enter")
        self._typed += 1

    def until(self, condition: Callable[[list[str]], object], what: str) -> list[str]:
        """Wait until ``condition`` is true of the screen; returns what that shows."""
        found: list[str] = []

        def looked() -> bool:
            found[:] = "\n".join(self._shown.screen()).rstrip("\n").split("\n")
            return bool(condition(found))

        try:
            until(looked, what)
        except AssertionError:
            raise AssertionError(f"not on the screen: {what}:\n" + "\n".join(found)) from None
        return found

    def until_prompt(self) -> list[str]:
        """Wait until the shell waits for the next command; returns what the screen shows above that."""
        lines = self.until(lambda lines: lines[-1].startswith(f"{self._typed} ready"), "the prompt")
        found = PROMPT.fullmatch(lines.pop())
        assert found is not None
        self.code = int(found[2])
        while lines and not lines[-1]:
            lines.pop()
        return lines


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    """A shell that finds ``comet``; its settings are written into ``folder``."""
    settings = folder / "bashrc"
    settings.write_text(f"PS1='\\# ready, code $?> '\ncomet() {{\n{shlex.join(COMET)} \"$@\"\n}}\n")
    with terminal(("bash", "--noprofile", "--rcfile", str(settings), "-i")) as shown:
        typed = Shell(shown)
        typed.until_prompt()
        yield typed
