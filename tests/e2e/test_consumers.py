"""Acknowledged consumers of a real daemon, on every transport, through restarts and crashes."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, publish, subscribe

TRANSPORTS = ("stream", "sse", "iframe", "mixed", "websocket")


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    """A daemon whose memory holds little of what its file does."""
    return ("--store", f"sqlite:{tmp_path / 'comet.db'}", "--retain-messages", "2", "--handover", str(tmp_path / "h"))


def ack(daemon: Daemon, name: str, position: str) -> str:
    """Acknowledge; returns how far the consumer is then."""
    status, _, body = asked(daemon.http, "POST", f"/consumers/{name}/ack", json.dumps({"id": position}).encode())
    assert status == 200, body
    acked: str = json.loads(body)["acked"]
    return acked


def poll(daemon: Daemon, name: str, query: str = "") -> list[dict[str, Any]]:
    """What is not acknowledged."""
    answer = asked_json(daemon.http, f"/consumers/{name}?wait=0{query}")
    assert "gap" not in answer
    messages: list[dict[str, Any]] = answer["messages"]
    return messages


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_cursor_survives(options: tuple[str, ...], how: signal.Signals) -> None:
    """What was acknowledged does not come again in the daemon's next life, and everything else does."""
    with running(*options) as daemon:
        assert poll(daemon, "billing", "&topic=orders/*&since=now") == []
        positions = [publish(daemon.http, f"orders/{number}", str(number)) for number in range(10)]
        assert ack(daemon, "billing", positions[3]) == positions[3]
        daemon.end(how)
    with running(*options) as daemon:
        assert [message["id"] for message in poll(daemon, "billing")] == positions[4:]
        (listed,) = asked_json(daemon.http, "/consumers")["consumers"]
        assert (listed["topics"], listed["acked"], listed["gap"]) == (["orders/*"], positions[3], False)
        asked(daemon.http, "DELETE", "/consumers/billing")
        daemon.end(how)
    with running(*options) as daemon:
        assert asked_json(daemon.http, "/consumers")["consumers"] == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport(daemon: Daemon, transport: str) -> None:
    """A reader on any transport is given what is not acknowledged, then what comes; and so is the next, on another."""
    topic, name = f"consumed/{transport}", f"reader-{transport}"
    first = publish(daemon.http, topic, "one")
    publish(daemon.http, topic, "two")
    target = f"/consumers/{name}?topic={topic}&since=first&transport={transport}"
    with subscribe(daemon.http, target, transport) as held:
        held.until_messages(2)
        publish(daemon.http, topic, "three")
        held.until_messages(3)
        assert held.payloads() == ["one", "two", "three"]
        ack(daemon, name, first)
        with subscribe(daemon.http, f"/consumers/{name}?transport=sse", "sse") as other:
            other.until_messages(2)
            assert other.payloads() == ["two", "three"]
            held.until_end() if transport != "websocket" else held.until_control("bye")
            assert held.controls("bye")[0]["reason"] == "replaced"


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
def test_successor_goes_on(tmp_path: Path, store: str) -> None:
    """A hand-over takes the consumers along, in memory too."""
    options = ["--store", store if store == "memory:" else f"{store}{tmp_path / 'comet.db'}"]
    options += ["--handover", str(tmp_path / "h")]
    with ExitStack() as stack:
        old = stack.enter_context(running(*options))
        positions = [publish(old.http, "a", str(number)) for number in range(3)]
        poll(old, "c", "&topic=a&since=first")
        ack(old, "c", positions[0])
        new = stack.enter_context(running(*options, "--replace"))
        assert [message["id"] for message in poll(new, "c")] == positions[1:]
        assert ack(new, "c", positions[2]) == positions[2]
        assert poll(new, "c") == []
