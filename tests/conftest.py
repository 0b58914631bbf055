"""What every test is held to, and the daemon that some of them talk to."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from twisted.internet import reactor
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.daemons import Daemon, running

pytest_plugins = ["tests.browsers.fixtures"]

# The gate must come to the same result each time; HYPOTHESIS_PROFILE=search looks for what it does not know yet.
hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


# A shell has what it starts in the background ignore SIGINT, and nohup SIGHUP, which every process below would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Take what was imported out of the collector's sight, so that the collection after each test is quick."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def failures() -> Iterator[list[Failure]]:
    """Fail the test for a failure that was only logged, or for a delayed call left behind."""
    seen: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            seen.append(event["log_failure"])

    before = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield seen
    gc.collect()
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    left = set(reactor.getDelayedCalls()) - before
    for call in left:
        call.cancel()
    assert not seen, f"logged failures: {seen}"
    assert not left, f"delayed calls left behind: {left}"


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon on its defaults, on ports of its own; shared, so each test takes topics of its own."""
    with running() as daemon:
        yield daemon
