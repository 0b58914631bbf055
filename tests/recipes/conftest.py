"""A proxy of each recipe with its daemon, shared by the tests of what every one of them has to carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.recipes.clients import Client
from tests.recipes.faces import Face, tried
from tests.recipes.proxies import Front


@dataclass(frozen=True, slots=True)
class Served:
    """A recipe at work."""

    face: Face
    front: Front

    @property
    def direct(self) -> str:
        """Where the daemon is reached past the proxy."""
        return self.face.direct

    def client(self, protocol: str) -> Client:
        """A new connection to the proxy."""
        return self.face.client(self.front, protocol)


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[[str], Served]]:
    """What starts the recipe at a path, if it is not running yet."""
    with ExitStack() as stack:

        @cache
        def start(path: str) -> Served:
            face = stack.enter_context(tried(path))
            stack.enter_context(face.daemon())
            return Served(face, stack.enter_context(face.proxy()))

        yield start


@pytest.fixture
def served(serving: Callable[[str], Served], request: pytest.FixtureRequest) -> Served:
    """The recipe at the path that the test names; shared, so each test takes topics of its own."""
    return serving(request.param)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"{Path(request.node.path).stem}/{name}"
