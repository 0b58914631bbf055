"""Acknowledged consumers of a real daemon, on every transport, through restarts and crashes."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, connected, publish, subscribe
from tests.e2e.waiting import PATIENCE, until

TRANSPORTS = ("stream", "sse", "iframe", "multipart", "mixed", "websocket")
ACKS = 200


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
    target = f"/consumers/{name}?topic={topic}&since=first&transport={transport}&conflate=0"
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
            if transport != "multipart":  # which has no way to say it
                assert held.controls("bye")[0]["reason"] == "replaced"


def test_answered_is_kept(options: tuple[str, ...]) -> None:
    """Of acknowledgements that come as fast as a client can send them, none that was answered is lost in a crash."""
    with running(*options) as daemon:
        positions = [publish(daemon.http, "a", str(number)) for number in range(ACKS)]
        with connect(f"ws://{daemon.http}/consumers/c?topic=a&since=first", proxy=None) as socket:
            for number, position in enumerate(positions):
                socket.send(json.dumps({"ack": position, "ref": number}))
            answered = -1
            while answered < ACKS // 2:
                heard = json.loads(socket.recv(PATIENCE))
                if heard.get("comet") == "ok":
                    assert heard["ref"] == answered + 1
                    answered = heard["ref"]
            daemon.end(signal.SIGKILL)
    with running(*options) as daemon:
        left = [message["id"] for message in poll(daemon, "c")]
        assert positions.index(asked_json(daemon.http, "/consumers")["consumers"][0]["acked"]) >= answered
        assert left == positions[ACKS - len(left) :]
        assert len(left) < ACKS - answered


def test_reader_that_comes_back(daemon: Daemon) -> None:
    """A reader whose connection is lost in the middle is given the same messages, on any transport, without waiting for
    the daemon to notice."""
    positions = [publish(daemon.http, "back", str(number)) for number in range(5)]
    query = "topic=back&since=first"
    for transport in ("stream", "sse", "websocket", "poll"):
        with subscribe(daemon.http, f"/consumers/back?{query}&transport={transport}", transport) as held:
            held.until(lambda held: positions[-1] in json.dumps(held.objects), "the last")
            held.reset()
    assert ack(daemon, "back", positions[2]) == positions[2]
    assert [message["id"] for message in poll(daemon, "back")] == positions[3:]


def test_waiting_poll(daemon: Daemon) -> None:
    """An idle poll is answered when something comes."""
    poll(daemon, "idle", "&topic=idle")
    with connected(daemon.http) as waiting:
        waiting.sendall(b"GET /consumers/idle?wait=20 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        until(lambda: asked_json(daemon.http, "/consumers?topic=idle")["consumers"][0]["reader"], "it waits")
        position = publish(daemon.http, "idle", "now")
        answer = b"".join(iter(lambda: waiting.recv(65_536), b""))
    assert position.encode() in answer


def test_many(daemon: Daemon) -> None:
    """Many consumers are listed whole, and each has its own place."""
    last = publish(daemon.http, "many", "x")
    for number in range(500):
        poll(daemon, f"many-{number}", "&topic=many&since=first" if number % 2 else "&topic=many")
    listed = asked_json(daemon.http, f"/consumers?topic=many&id={last}&limit=10000")["consumers"]
    assert len(listed) == 500
    assert sum(each["has"] for each in listed) == 250


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
