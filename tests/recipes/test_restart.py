"""The daemon goes and comes back behind a proxy that runs on."""

from __future__ import annotations

import pytest

from tests.e2e.held import publish
from tests.e2e.waiting import until
from tests.recipes.faces import HTTP_1, RECIPES, Face, tried
from tests.recipes.proxies import Front

ONE_OF_EACH = list({found.kind: path for path, found in reversed(list(RECIPES.items()))}.values())
"""The first recipe of each proxy."""


def health(face: Face, front: Front) -> int:
    """The status that the proxy answers now."""
    with face.client(front, HTTP_1) as client:
        return client.exchange("GET", "/readyz").status


def until_served(face: Face, front: Front) -> None:
    """Wait until the daemon is reached through the proxy."""
    until(lambda: health(face, front) == 200, "the daemon is reached again")


@pytest.mark.parametrize("path", ONE_OF_EACH)
def test_restart(path: str) -> None:
    """Without the daemon the proxy says 502 or 503; a held response ends with it; once it is back, all goes on."""
    with tried(path) as face, face.proxy() as front:
        assert health(face, front) in (502, 503)
        with face.daemon() as daemon:
            until_served(face, front)
            with face.client(front, HTTP_1) as client:
                client.ask("/topics/a?transport=sse", "sse").until_control("open")
                daemon.end()
                client.until_end()
            until(lambda: health(face, front) in (502, 503), "the proxy knows")
        with face.daemon():
            until_served(face, front)
            with face.client(front, HTTP_1) as client:
                client.ask("/topics/a?transport=sse", "sse").until_control("open")
                publish(face.direct, "a", "hello again")
                client.until_messages(1)
