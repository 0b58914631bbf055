"""WebKitGTK, driven over WebDriver by selenium, in windows on a display that nobody sees (Xvfb).

A browser process per profile: an automated WebKit keeps nothing. The browser is ``webkit_window.py``, beside this,
which also writes down what it sees of its pages. It sees neither WebSockets, asked for or failed, nor errors in frames.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    WebDriverException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

from tests.browsers.driver import HERE, LONGEST, BrowserError, installed
from tests.e2e.waiting import until

PYTHON = "/usr/bin/python3"
BINDINGS = "import gi; gi.require_version('WebKit2', '4.1')"
"""Debian's Python, and what has to work in it."""

NOT_YET = (ElementClickInterceptedException, ElementNotInteractableException, NoSuchElementException)
"""What is said of an element that cannot be clicked."""

AWAITED = """
    const done = arguments[arguments.length - 1];
    %s.then((value) => done({ value }), (error) => done({ error: `${error}\\n${error?.stack ?? ""}` }));
"""


@dataclass(slots=True)
class Profile:
    """A running browser, and the file of what it sees. Its first view stays empty: without any, it would end."""

    service: Service
    driver: WebDriver
    seen: Path
    views: int = 1

    def end(self) -> None:
        """End it, and what drives it."""
        self.driver.quit()
        self.service.stop()


@dataclass(frozen=True, slots=True)
class Tab:
    """A page: its handle for WebDriver, and its number for the browser."""

    profile: Profile
    handle: str
    view: int
    mouse: Any = field(default_factory=partial(PointerInput, "mouse", "mouse"))

    def focused(self) -> WebDriver:
        """The driver, at this tab: it is at one at a time."""
        driver = self.profile.driver
        driver.switch_to.window(self.handle)
        return driver


class WebKit:
    """See :class:`~tests.browsers.driver.Driver`."""

    name = "webkit"

    def __init__(self) -> None:
        self._numbers = count(1)
        self._profiles: dict[int, Profile] = {}
        self._tabs: dict[int, Tab] = {}
        self._directory = TemporaryDirectory(prefix="webkit-")
        self._program = installed("WebKitWebDriver")
        if subprocess.run([PYTHON, "-c", BINDINGS], stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.fail("gir1.2-webkit2-4.1 is not installed; 'make browsers' installs it")
        command = [installed("Xvfb"), "-displayfd", "1", "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]
        self._display = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._display.stdout is not None
        display = self._display.stdout.readline().strip()
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self._environment = {**kept, "DISPLAY": f":{display}", "HOME": self._directory.name, "NO_AT_BRIDGE": "1"}

    def ask(self, what: str, **question: Any) -> Any:
        """See :class:`~tests.browsers.driver.Driver`."""
        try:
            return getattr(self, what)(**question)
        except WebDriverException as error:
            raise BrowserError(f"{what}: {error.msg}") from error

    def end(self) -> None:
        """See :class:`~tests.browsers.driver.Driver`."""
        for profile in self._profiles.values():
            profile.end()
        self._display.terminate()
        self._display.wait(LONGEST)
        assert self._display.stdout is not None
        self._display.stdout.close()
        self._directory.cleanup()

    # -- the questions ------------------------------------------------------------------------------------------------

    def profile(self, dark: bool) -> int:
        """Start a browser."""
        number = next(self._numbers)
        seen = Path(self._directory.name, f"{number}.seen")
        seen.touch()
        options = Options()
        options.binary_location = PYTHON
        options.page_load_strategy = "eager"
        for argument in (str(HERE / "webkit_window.py"), str(seen), "dark" if dark else "light"):
            options.add_argument(argument)
        service = Service(self._program, env=self._environment)
        service.start()
        driver = WebDriver(RemoteConnection(client_config=ClientConfig(service.service_url)), options=options)
        driver.set_script_timeout(LONGEST)
        self._profiles[number] = Profile(service, driver, seen)
        return number

    def leave(self, profile: int) -> None:
        """End it."""
        self._profiles.pop(profile).end()

    def open(self, profile: int, width: int, height: int, type: str) -> int:  # noqa: A002
        """Open a window or a tab."""
        found = self._profiles[profile]
        found.driver.switch_to.new_window(type)
        found.driver.set_window_rect(0, 0, width, height)
        number = next(self._numbers)
        self._tabs[number] = Tab(found, found.driver.current_window_handle, found.views)
        found.views += 1
        return number

    def close(self, page: int) -> None:
        """Close it."""
        self._tabs.pop(page).focused().close()

    def go(self, page: int, url: str) -> None:
        """Load a page."""
        self._tabs[page].focused().get(url)

    def reload(self, page: int) -> None:
        """Load it again."""
        self._tabs[page].focused().refresh()

    def evaluate(self, page: int, expression: str) -> Any:
        """What a promise comes to."""
        answer = self._tabs[page].focused().execute_async_script(AWAITED % expression)
        if "error" in answer:
            raise BrowserError(f"evaluate: {answer['error']}")
        return answer.get("value")

    def click(self, page: int, selector: str) -> None:
        """Click as soon as that can be done."""
        driver = self._tabs[page].focused()
        until(lambda: _clicked(driver, selector), f"{selector} can be clicked")

    def type(self, page: int, text: str) -> None:
        """Type."""
        ActionChains(self._tabs[page].focused(), duration=0).send_keys(text).perform()

    def press(self, page: int, keys: list[str]) -> None:
        """Press keys together."""
        chain = ActionChains(self._tabs[page].focused(), duration=0)
        for key in keys:
            chain.key_down(_key(key))
        for key in reversed(keys):
            chain.key_up(_key(key))
        chain.perform()

    def mouse(self, page: int, act: str, x: float, y: float) -> None:
        """Move the mouse, or its button."""
        tab = self._tabs[page]
        tab.mouse.actions.clear()
        actions = ActionBuilder(tab.focused(), mouse=tab.mouse, duration=0)
        pointer: Any = actions.pointer_action
        if act == "move":
            pointer.move_to_location(round(x), round(y))
        elif act == "down":
            pointer.pointer_down()
        else:
            pointer.pointer_up()
        actions.perform()

    def show(self, page: int) -> None:
        """Show the tab: WebDriver has no command for it, but the browser listens to the page."""
        self._tabs[page].focused().execute_script("webkit.messageHandlers.show.postMessage('')")

    def screenshot(self, page: int, path: str) -> None:
        """Save a picture."""
        assert self._tabs[page].focused().save_screenshot(path)

    def seen(self, page: int) -> dict[str, list[str]]:
        """What the browser has written down since the page was loaded."""
        tab = self._tabs[page]
        found: dict[str, list[str]] = defaultdict(list)
        for line in tab.profile.seen.read_text().splitlines():
            told = json.loads(line)
            if told["view"] == tab.view and told["kind"] == "began":
                found.clear()
            elif told["view"] == tab.view:
                found[told["kind"]].append(told["text"])
        return {"errors": found["error"], "failures": found["failure"], "requests": found["request"]}

    def offline(self, page: int, offline: bool) -> None:
        """Not to be had."""
        raise BrowserError("WebDriver cannot take the network away")

    def freeze(self, page: int, frozen: bool) -> None:
        """Not to be had."""
        raise BrowserError("WebKit cannot freeze a page")


def _clicked(driver: WebDriver, selector: str) -> bool:
    try:
        driver.find_element(By.CSS_SELECTOR, selector).click()
    except NOT_YET:
        return False
    return True


def _key(name: str) -> str:
    """What WebDriver has for a key: ``ArrowLeft`` is ``Keys.ARROW_LEFT``."""
    if len(name) == 1:
        return name
    key: str = getattr(Keys, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper())
    return key
