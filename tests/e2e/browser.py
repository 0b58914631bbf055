"""Chromium without a window, driven over its DevTools protocol.

Commands go out as JSON over one WebSocket, and their answers have the same ``id``; events are not needed and skipped.
See https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.e2e.waiting import PATIENCE, until

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


class Browser:
    """A running Chromium, ended with the block. ``directory`` is for its profile."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._numbers = count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Browser:
        command = [self._program, *FLAGS, f"--user-data-dir={self._directory}", "about:blank"]
        with (self._directory / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._connection = self._connected()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        try:
            self.command("Browser.close")
            self._stack.close()
            self._process.wait(PATIENCE)
        finally:
            self._end()

    def _connected(self) -> ClientConnection:
        # The file says the port in one line, then the path in another.
        announced = self._directory / "DevToolsActivePort"
        until(lambda: announced.exists() and "\n/" in announced.read_text(), "Chromium has started")
        lines = announced.read_text().split("\n")
        return self._stack.enter_context(connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, proxy=None))

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def command(self, method: str, session: str = "", **params: object) -> Any:
        """Have a command of the protocol executed; returns its result."""
        number = next(self._numbers)
        wanted = {"sessionId": session} if session else {}
        self._connection.send(json.dumps({"id": number, "method": method, "params": params, **wanted}))
        while True:
            answer = json.loads(self._connection.recv(PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, url: str) -> Page:
        """A new tab with the page at ``url``, loaded."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        page.go(url)
        return page


class Page:
    """A tab; closed with the block."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.command("Target.closeTarget", targetId=self._target)

    def go(self, url: str) -> None:
        """Load the page at ``url``."""
        done = self._browser.command("Page.navigate", self._session, url=url)
        assert "errorText" not in done, done
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Run ``script`` in the page; returns its value, or what its promise comes to."""
        done = self._browser.command(
            "Runtime.evaluate", self._session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until ``script`` has a true value in the page; returns it."""
        return until(lambda: self.run(script), script)

    def picture(self, path: Path) -> Path:
        """Save what the page looks like as a PNG."""
        data = self._browser.command("Page.captureScreenshot", self._session, format="png")["data"]
        path.write_bytes(b64decode(data))
        return path
