"""The commands with which a shell publishes, and what they answer, as the documentation shows both."""

from __future__ import annotations

import re
from pathlib import Path

from tests.daemons import running
from tests.e2e.held import publish
from tests.e2e.tools import path_of
from tests.recipes.documented import Command, commands, shell

PAGE = "docs/recipes/applications.rst"
FIRST = "redis-cli -p 7081 PUBLISH"
"""With this the commands for a shell begin; those above start servers."""


def for_a_shell() -> list[Command]:
    """The commands of the section."""
    found = commands(PAGE)
    (start,) = (number for number, command in enumerate(found) if command.text.startswith(FIRST))
    return found[start:]


def plain(output: str) -> str:
    """``output`` as it looks, without what is another each time: the epoch of the log."""
    return re.sub(r"\b[0-9a-f]{8}-", "EPOCH-", output.replace("\r", "")).strip("\n")


def test_publishing(tmp_path: Path) -> None:
    """Each command publishes, and answers as it is shown."""
    for tool in ("redis-cli", "nc", "curl"):
        path_of(tool)
    with running() as daemon:
        at_home = shell(daemon, tmp_path)
        for command in for_a_shell():
            assert plain(at_home.run(command.text)) == plain(command.output), command.text


def test_position(tmp_path: Path) -> None:
    """The position at which the log stands is had before the state is read."""
    (command,) = (command for command in commands(PAGE) if "since=now&wait=0" in command.text)
    with running() as daemon:
        for _ in range(4):
            publish(daemon.http, "auction/7", "x")
        assert plain(shell(daemon, tmp_path).run(command.text)) == plain(command.output)
