"""One daemon for all tests that a daemon can be shared by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, running

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


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"{Path(request.node.path).stem}/{name}"
