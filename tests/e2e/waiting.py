"""Waiting for what is to become true, and no longer than is reasonable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 20.0
"""Seconds after which something that does not come is given up: much more than it takes on a slow machine."""

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Return what ``condition`` gives once it is true; fail, naming ``what``, if it does not become so."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {patience:g} seconds: {what}"
        time.sleep(0.01)
    return found
