"""A Dockerfile, carried out without Docker: its instructions in a directory that stands for the root of the image.

The interpreter of the base image is a virtual environment; ``COPY`` and ``WORKDIR`` go below the root, ``RUN`` is run
by a shell there, and what ``CMD`` and ``HEALTHCHECK`` name is started as the ``USER``, who can write nothing. What is
not done: a real root (an absolute path in a ``RUN`` is one of this machine), the base image, layers, and the network.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemons import environment

LONGEST_BUILD = 240.0
_INTERPRETERS = (Path(sys.executable).resolve(), Path("/usr/bin/python3"))
_WHERE = "import os, ssl, sys; assert sys.version_info >= (3, 11); print(os.__file__)"


class Instruction(NamedTuple):
    """A line of a Dockerfile, or several that a backslash joins."""

    name: str
    text: str

    def words(self) -> list[str]:
        """The words in exec form, which is a JSON array, without the options before it."""
        words: list[str] = json.loads(self.text[self.text.index("[") :])
        return words


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in order."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in lines.splitlines() if line.strip()]


@dataclass(slots=True)
class Image:
    """What the instructions come to. ``context`` is the directory that is built from."""

    root: Path
    context: Path
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Instruction] = field(default_factory=dict)
    directory: Path = Path("/")
    user: str = "0:0"

    def build(self, text: str) -> None:
        """Carry out every instruction."""
        for instruction in instructions(text):
            carry_out = getattr(self, f"_{instruction.name.lower()}", None)
            if carry_out is None:
                self.settings[instruction.name] = instruction
            else:
                carry_out(instruction.text)

    def begin(self, words: Sequence[str], **environ: str) -> subprocess.Popen[str]:
        """Start ``words`` as the user, in the working directory, with further variables; its output is a pipe."""
        return subprocess.Popen(
            [*as_user(self.user), *words],
            cwd=self._path("."),
            env=self._environment(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def plugins(self) -> Iterator[Path]:
        """The directories of plugins of Twisted."""
        return self.root.glob("usr/local/lib/python3*/site-packages/twisted/plugins")

    def as_layers(self) -> None:
        """Have the files as they come out of layers: their times in whole seconds, and nothing to be written."""
        for path in [self.root, *self.root.rglob("*")]:
            if not path.is_symlink():
                seconds = int(path.stat().st_mtime)
                os.utime(path, (seconds, seconds))
                path.chmod(path.stat().st_mode & 0o555)

    def writable(self) -> None:
        """Undo it, so that the directory can be removed."""
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)

    def _from(self, text: str) -> None:
        assert re.match(r"python:3\.\d+-slim\b", text), text
        python = interpreter()
        local = self.root / "usr/local"
        subprocess.run([python, "-m", "venv", "--without-pip", local], check=True, timeout=60)
        pip = local / "bin/pip"
        # The venv has no pip: Debian's Python may have none to give. Ours takes its place.
        pip.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pip --python {local}/bin/python "$@"\n')
        pip.chmod(0o755)

    def _workdir(self, text: str) -> None:
        self.directory /= text
        self._path(".").mkdir(parents=True, exist_ok=True)

    def _copy(self, text: str) -> None:
        *sources, target = text.split()
        ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
        for source in sources:
            path = self.context / source
            if path.is_dir():
                shutil.copytree(path, self._path(target), ignore=ignored)
            else:
                shutil.copy(path, self._path(target))

    def _env(self, text: str) -> None:
        for word in shlex.split(text):
            name, _, value = word.partition("=")
            self.environ[name] = value

    def _user(self, text: str) -> None:
        self.user = text

    def _run(self, text: str) -> None:
        done = subprocess.run(
            ["sh", "-c", text],
            cwd=self._path("."),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=LONGEST_BUILD,
            check=False,
        )
        assert done.returncode == 0, (text, done.stdout[-2000:], done.stderr[-2000:])

    def _path(self, path: str) -> Path:
        return self.root / (self.directory / path).relative_to("/")

    def _environment(self, **further: str) -> dict[str, str]:
        path = f"{self.root}/usr/local/bin:/usr/bin:/bin"
        kept = environment(**{"PATH": path, **self.environ, **further})
        del kept["PYTHONPATH"]  # what runs is what was installed
        return kept


def interpreter() -> Path:
    """One that another user can run, too: one below ``/root`` is not."""
    for found in _INTERPRETERS:
        if found.exists() and where(found, []) and where(found, []) == where(found, as_user("65532:65532")):
            return found
    pytest.fail("another user can run no Python here; install one with: apt-get install python3")


def where(python: Path, prefix: Sequence[str]) -> str:
    """Where ``python`` finds its library; empty if it cannot be used."""
    found = subprocess.run([*prefix, python, "-c", _WHERE], capture_output=True, text=True, timeout=30, check=False)
    return found.stdout


def as_user(user: str) -> list[str]:
    """What stands in front of a command that is to run as ``user`` (uid:gid) without any privilege. Who is not root
    has none, and can become nobody else."""
    if os.geteuid() != 0:
        return []
    uid, gid = user.split(":")
    reduced = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", *reduced]
