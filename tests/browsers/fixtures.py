"""The fixture ``browser``, for every test, and the option that says which browsers it stands for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from tests.browsers.browser import Browser
from tests.browsers.driver import Bridge, Driver, installed


def _chromium() -> Driver:
    return Bridge("chromium", installed(os.environ.get("CHROMIUM", "chromium"), "make tools"))


def _firefox() -> Driver:
    return Bridge("firefox", installed("firefox-esr"))


def _webkit() -> Driver:
    if find_spec("selenium") is None:
        pytest.fail("selenium is not installed; 'make browsers' installs it")
    from tests.browsers.webkit import WebKit  # noqa: PLC0415 - nothing else needs selenium

    return WebKit()


DRIVERS: dict[str, Callable[[], Driver]] = {"chromium": _chromium, "firefox": _firefox, "webkit": _webkit}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what says where browsers are driven."""
    parser.addoption("--browser", action="append", choices=[*DRIVERS], help="try the pages in this browser; repeatable")
    parser.addoption("--screenshots", metavar="DIR", help="save what the pages look like in this directory")


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark means."""
    config.addinivalue_line("markers", "cannot(browser, why): this cannot be tried in that browser.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test that wants a browser in each that was asked for; report what cannot be tried in one, and why."""
    if "driver" not in metafunc.fixturenames:
        return
    cannot = {mark.args[0]: mark.args[1] for mark in metafunc.definition.iter_markers("cannot")}
    wanted = metafunc.config.getoption("--browser") or ["chromium"]
    metafunc.parametrize("driver", [_row(name, cannot.get(name)) for name in wanted], indirect=True, scope="session")


def _row(name: str, why_not: str | None) -> object:
    marks = [pytest.mark.xfail(run=False, reason=why_not)] if why_not else []
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The browser that runs for all tests."""
    driver = DRIVERS[request.param]()
    yield driver
    driver.end()


@pytest.fixture
def browser(driver: Driver) -> Iterator[Browser]:
    """A browser that remembers nothing of another test."""
    browser = Browser(driver)
    yield browser
    browser.close()
