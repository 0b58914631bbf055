"""Real browsers for tests: the same words for Chromium, Firefox and WebKit. README.rst, beside this, shows how."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.browsers.driver import BrowserError, Driver
from tests.e2e.waiting import until

LEFT = re.compile(
    r"navigat|context was destroyed|Cannot find context|Promise was collected|discarded|no such frame|unload"
)
"""What drivers say if the page was left while it was asked something."""


class Browser:
    """What one visitor has: tabs that share storage, locks and broadcasts, and nothing with anybody else's.

    Light pages and dark pages are of two profiles, which share nothing either: a running Firefox or WebKit is not told
    to change its colours.
    """

    def __init__(self, driver: Driver) -> None:
        self.name = driver.name
        self._driver = driver
        self._profiles: dict[bool, int] = {}
        self._others: list[Browser] = []

    def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False, tab: bool = False) -> Page:
        """The page at ``url``, in a window of its own, or as a ``tab`` that hides what its window showed before.

        Its document was read and its scripts ran; pictures may still load.
        """
        if dark not in self._profiles:
            self._profiles[dark] = self._driver.ask("profile", dark=dark)
        kind = "tab" if tab else "window"
        number = self._driver.ask("open", profile=self._profiles[dark], width=width, height=height, type=kind)
        page = Page(self._driver, number)
        page.go(url)
        return page

    def another(self) -> Browser:
        """Somebody else's, which shares nothing with this one."""
        other = Browser(self._driver)
        self._others.append(other)
        return other

    def close(self) -> None:
        """Close all tabs, and forget what was stored."""
        for other in self._others:
            other.close()
        for profile in self._profiles.values():
            self._driver.ask("leave", profile=profile)
        self._others, self._profiles = [], {}


class Page:
    """A tab; closed with the block, or else with its browser."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, what: str, **question: object) -> Any:
        return self._driver.ask(what, page=self._number, **question)

    def close(self) -> None:
        """Close the tab."""
        self._ask("close")

    def go(self, url: str) -> None:
        """Load the page at ``url``; see :meth:`Browser.open`."""
        self._ask("go", url=url)

    def reload(self) -> None:
        """Load the page again."""
        self._ask("reload")

    def run(self, expression: str) -> Any:
        """Have the page compute an expression, which may ``await``; returns its value, as JSON carries it."""
        return self._evaluated(f"({expression}\n)")

    def do(self, statements: str) -> Any:
        """Have the page execute statements, which may ``await``; returns what they ``return``."""
        return self._evaluated(f"{{ {statements}\n }}")

    def _evaluated(self, body: str) -> Any:
        value = self._ask("evaluate", expression=f"(async () => {body})().then((value) => JSON.stringify(value))")
        return None if value is None else json.loads(value)

    def until(self, expression: str) -> Any:
        """Wait until ``expression`` is true in the page, or in the one that it is left for; returns its value."""
        return until(lambda: self._if_there(expression), f"{expression}; errors: {self.errors()}")

    def _if_there(self, expression: str) -> Any:
        try:
            return self.run(expression)
        except BrowserError as error:
            if LEFT.search(str(error)):
                return None
            raise

    def click(self, selector: str) -> None:
        """Click the middle of the first element that matches, with the mouse."""
        self._ask("click", selector=selector)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self._ask("type", text=text)

    def press(self, key: str) -> None:
        """Press a key, by the name that ``KeyboardEvent.key`` has for it, with others held: ``Tab``, ``Shift+Tab``."""
        self._ask("press", keys=key.split("+"))

    def fill(self, selector: str, text: str) -> None:
        """Click a field, and type ``text`` in place of what it has."""
        self.click(selector)
        self.press("Control+a")
        self.press("Delete")
        self.type(text)

    def drag(self, selector: str, right: int, down: int) -> None:
        """Drag the first element that matches by its middle, in three steps, so many pixels."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.do(f"const box = {box}; return [box.left + box.width / 2, box.top + box.height / 2]")
        self.mouse("move", x, y)
        self.mouse("down", x, y)
        for step in (1, 2, 3):
            self.mouse("move", x + right * step / 3, y + down * step / 3)
        self.mouse("up", x + right, y + down)

    def mouse(self, act: str, x: float, y: float) -> None:
        """``move`` the mouse to a place in the window, or have its button go ``down`` or ``up`` there."""
        self._ask("mouse", act=act, x=x, y=y)

    def show(self) -> None:
        """Bring the page to the front."""
        self._ask("show")

    def offline(self, offline: bool) -> None:
        """Take the network away from the page, or give it back. A response or a WebSocket that is open may go on."""
        self._ask("offline", offline=offline)

    def freeze(self, frozen: bool) -> None:
        """Freeze the page, as a browser does to tabs in the background, or have it go on, hidden until :meth:`show`.

        The clocks of a frozen page stand still.
        """
        self._ask("freeze", frozen=frozen)

    def screenshot(self, path: Path) -> Path:
        """Save what the window shows as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._ask("screenshot", path=str(path))
        return path

    def errors(self) -> list[str]:
        """What went wrong in the page since it was loaded.

        Console errors, uncaught exceptions, violations of its policy, answers that are errors.
        """
        found: list[str] = self._ask("seen")["errors"]
        return found

    def failures(self) -> list[str]:
        """The requests since the page was loaded that no server answered: there are some when a daemon restarts."""
        found: list[str] = self._ask("seen")["failures"]
        return found

    def requests(self) -> list[str]:
        """The addresses of all requests since the page was loaded."""
        found: list[str] = self._ask("seen")["requests"]
        return found

    def hosts(self) -> set[str]:
        """Whom the page asked, as ``host:port``."""
        return {urlsplit(url).netloc for url in self.requests()} - {""}
