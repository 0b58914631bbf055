"""The seam between the facade and the three browsers, and the driver whose browser Node drives."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import pytest

from tests.daemons import ROOT

LONGEST = 60.0
"""Seconds after which a browser that does not answer is given up."""

HERE = Path(__file__).parent


class BrowserError(AssertionError):
    """The browser could not do what it was asked; the text is the driver's."""


def installed(tool: str, install: str = "make browsers") -> str:
    """Where ``tool`` is; the test fails where it is not installed, and says what installs it."""
    found = shutil.which(tool)
    if found is None:
        pytest.fail(f"{tool} is not installed; '{install}' installs it")
    return found


class Driver(Protocol):
    """A running browser. All three know the same questions: they are the methods of ``puppet.mjs``."""

    name: str

    def ask(self, what: str, **question: object) -> Any:
        """Have it do something; returns the answer, or raises a :class:`BrowserError`."""

    def end(self) -> None:
        """End the browser."""


class Bridge:
    """Chromium or Firefox, driven by ``bridge.mjs``; it and the browser end with :meth:`end`, or with this process."""

    def __init__(self, name: str, program: str) -> None:
        self.name = name
        self._numbers = count(1)
        self._answers: SimpleQueue[Any] = SimpleQueue()
        if not (ROOT / "browser/node_modules/puppeteer-core").exists():
            pytest.fail("puppeteer-core is not installed; 'npm ci --prefix browser' installs it")
        command = [installed("node", "make tools"), str(HERE / "bridge.mjs"), name, program]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, what: str, **question: object) -> Any:
        """See :class:`Driver`."""
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "ask": what, **question}) + "\n")
        self._process.stdin.flush()
        while (answer := self._answer())["id"] != number:
            pass  # of a question that was given up
        if "error" in answer:
            raise BrowserError(f"{what}: {answer['error']}")
        return answer.get("value")

    def end(self) -> None:
        """See :class:`Driver`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(LONGEST)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def _answer(self) -> Any:
        try:
            answer = self._answers.get(timeout=LONGEST)
        except Empty:
            raise BrowserError(f"{self.name} has not answered for {LONGEST:g} seconds") from None
        if answer is None:
            raise BrowserError(f"{self.name} has ended, or did not start")
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)
