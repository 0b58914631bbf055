"""One daemon for the attacks that need no settings of their own. Whatever was done to it, it has made no mistake, it
holds nothing of anybody, and it ends as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attacker import restored
from tests.daemons import Daemon, running


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon that is attacked all the time; shared, so each test takes topics of its own."""
    with running() as daemon:
        with restored(daemon):
            yield daemon
        assert daemon.end() == 0
        log = "".join(daemon.log)
        assert "Traceback" not in log, log
        assert "Unhandled" not in log, log


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"{Path(request.node.path).stem}/{name}"[:200]
