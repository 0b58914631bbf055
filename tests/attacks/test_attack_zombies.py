"""Zombies: clients that send on behind a held response, until the daemon would stop reading and never see them go."""

from __future__ import annotations

import pytest

from tests.attacks.attacker import crowd, push, request, restored
from tests.daemons import running
from tests.e2e.held import streams
from tests.e2e.waiting import until


@pytest.mark.parametrize("transport", ["poll", "stream", "sse", "iframe", "multipart", "mixed"])
def test_pipelined_behind_a_held_response(transport: str) -> None:
    """Twenty clients that pile up requests behind a held one are dropped; nothing of them stays behind."""
    with running() as daemon, restored(daemon):
        asks = request("GET", f"/topics/quiet?transport={transport}")
        with crowd(daemon.http, 20) as clients:
            for client in clients:
                push(client, asks)
            until(lambda: len(streams(daemon.http, "quiet")) == 20, "all are held")
            for client in clients:
                push(client, asks * 400)
            until(lambda: not streams(daemon.http, "quiet"), "none is listed")
