"""One daemon for all tests that a daemon can be shared by; and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, running
from tests.e2e.browser import Browser
from tests.e2e.tools import path_of

SETTINGS = ("--retain-messages", "100000", "--send-buffer", "64KiB")
"""Enough is retained for a client that is slower than a publisher at full speed."""


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon on ports of its own, for as long as the tests take; shared, so each test takes topics of its own."""
    with running(*SETTINGS) as daemon:
        yield daemon
        assert daemon.end() == 0
        log = "".join(daemon.log)
        assert "Traceback" not in log, log
        assert "Unhandled" not in log, log


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a window."""
    with Browser(path_of(os.environ.get("CHROMIUM", "chromium")), tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"{Path(request.node.path).stem}/{name}"
