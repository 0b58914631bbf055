"""The back ends of the documentation listen, and lose nothing when they are killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemons import ROOT, Daemon, running
from tests.e2e.held import asked_json, publish
from tests.e2e.tools import redis_cli
from tests.e2e.waiting import until
from tests.minting import SECRET, minted

EXAMPLES = ROOT / "examples/back-ends"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The examples, beside the packages that those for Node import."""
    shutil.copytree(EXAMPLES, tmp_path / "back-ends")
    (tmp_path / "node_modules").symlink_to(ROOT / "browser/node_modules")
    return tmp_path / "back-ends"


class Program:
    """A running example, and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self._out = out

    def until(self, *lines: str) -> None:
        """Wait until it has written these."""
        wanted = "".join(f"{line}\n" for line in lines)
        until(lambda: self._out.read_text() == wanted or self.process.poll() is not None, f"{lines} of {self._out}")
        assert self._out.read_text() == wanted


@contextmanager
def program(daemon: Daemon, place: Path, name: str, *arguments: str, token: str = "") -> Iterator[Program]:
    """Run an example, which AUTHs with ``token`` if there is one; in the end it is killed."""
    interpreter = sys.executable if name.endswith(".py") else "node"
    out = place / "written"
    environment = {**os.environ, "COMET_TCP": f"redis://:{token}@{daemon.tcp}" if token else f"redis://{daemon.tcp}"}
    with out.open("wb") as file:
        process = subprocess.Popen([interpreter, name, *arguments], cwd=place, stdout=file, env=environment)
        try:
            yield Program(process, out)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", ["follow.py", "follow.mjs"])
def test_follow(daemon: Daemon, place: Path, topic: str, name: str) -> None:
    """Who keeps its place goes on there, with what was published meanwhile."""
    publish(daemon.http, topic, "one")
    with program(daemon, place, name, topic, "place") as running:
        running.until("one")
        publish(daemon.http, topic, "two")
        running.until("one", "two")
        until(lambda: (place / "place").read_text().endswith(positions(daemon, topic)[-1]), "the place is kept")
    publish(daemon.http, topic, "three")
    with program(daemon, place, name, topic, "place") as running:
        running.until("three")


@pytest.mark.parametrize("name", ["work.py", "work.mjs"])
def test_work(daemon: Daemon, place: Path, topic: str, name: str) -> None:
    """The daemon keeps the place of a group, which is given what it has not acknowledged."""
    group = topic.replace("/", "-")
    publish(daemon.http, topic, "one")
    with program(daemon, place, name, topic, group) as running:
        running.until("one")
        publish(daemon.http, topic, "two")
        running.until("one", "two")
        until(lambda: acked(daemon, group) == positions(daemon, topic)[-1], "both are acknowledged")
    publish(daemon.http, topic, "three")
    with program(daemon, place, name, topic, group) as running:
        running.until("three")


def test_listen(daemon: Daemon, place: Path, topic: str) -> None:
    """Who subscribes hears what is published from then on."""
    with program(daemon, place, "listen.py", f"{topic}/*") as running:
        heard = ("PUBLISH", f"{topic}/x", "hello")
        until(lambda: redis_cli(daemon.tcp, *heard).out == "1\n", "it has subscribed")
        running.until(f"{topic}/x hello")


@pytest.mark.parametrize("name", ["follow.py", "follow.mjs", "work.py", "work.mjs", "listen.py"])
def test_with_a_token(place: Path, tmp_path: Path, name: str) -> None:
    """The password in their URL is a token, and that is all they need where one is asked for."""
    key = tmp_path / "comet.key"
    key.write_text(SECRET)
    allowed = {"publish": ["news"], "subscribe": ["news"], "consumers": ["mine"]}
    token = minted(sub="back-end", comet=allowed)
    arguments = {"follow": ("news", "place"), "work": ("news", "mine"), "listen": ("news",)}[name.partition(".")[0]]
    said = ("--no-auth-warning", "--pass", token, "PUBLISH", "news", "hello")
    with (
        running("--local", "anonymous", "--key", str(key)) as daemon,
        program(daemon, place, name, *arguments, token=token) as example,
    ):
        until(lambda: redis_cli(daemon.tcp, *said).out == "1\n" or name != "listen.py", "it listens")
        example.until("news hello" if name == "listen.py" else "hello")


def positions(daemon: Daemon, topic: str) -> list[str]:
    """The positions of what is kept of ``topic``."""
    answer = asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0")
    return [message["id"] for message in answer["messages"]]


def acked(daemon: Daemon, group: str) -> str:
    """How far a group has acknowledged."""
    found = asked_json(daemon.http, "/consumers?limit=1000")["consumers"]
    return next(str(each["acked"]) for each in found if each["name"] == group)
