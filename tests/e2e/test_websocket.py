"""A WebSocket client that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.daemons import Daemon, running
from tests.e2e.held import publish
from tests.e2e.waiting import PATIENCE


@contextmanager
def connection(daemon: Daemon, topic: str, **options: Any) -> Iterator[ClientConnection]:
    """A WebSocket that is subscribed to ``topic``."""
    url = f"ws://{daemon.http}/topics/{topic}"
    with connect(url, proxy=None, max_size=None, **options) as socket:
        assert received(socket)["comet"] == "open"
        yield socket


def received(socket: ClientConnection) -> dict[str, Any]:
    """The next object."""
    found: dict[str, Any] = json.loads(socket.recv(PATIENCE))
    return found


def say(socket: ClientConnection, **members: Any) -> None:
    """Send an object."""
    socket.send(json.dumps(members))


def test_receive(daemon: Daemon, topic: str) -> None:
    """Messages come as JSON in text frames, large ones and many; a ping is answered; closing is clean."""
    with connection(daemon, topic, subprotocols=[Subprotocol("comet.v1")]) as socket:
        assert socket.subprotocol == "comet.v1"
        position = publish(daemon.http, topic, "one")
        message = received(socket)
        assert (message["id"], message["topic"], message["data"]) == (position, topic, "one")
        publish(daemon.http, topic, "x" * 1_000_000)
        assert len(received(socket)["data"]) == 1_000_000
        assert socket.ping().wait(PATIENCE)
        for number in range(50):
            publish(daemon.http, topic, str(number))
        assert [received(socket)["data"] for _ in range(50)] == [str(number) for number in range(50)]
    assert socket.close_code == 1000


def test_change_topics(daemon: Daemon, topic: str) -> None:
    """A client changes its topics on the open stream: what it adds may start in the past, what it removes is over."""
    publish(daemon.http, f"{topic}/b", "old")
    with connection(daemon, f"{topic}/a") as socket:
        say(socket, subscribe=[f"{topic}/b"], since="first")
        assert sorted(received(socket)["topics"]) == [f"{topic}/a", f"{topic}/b"]
        assert received(socket)["data"] == "old"
        publish(daemon.http, f"{topic}/b", "new")
        assert received(socket)["data"] == "new"
        say(socket, unsubscribe=[f"{topic}/a"])
        assert received(socket)["topics"] == [f"{topic}/b"]
        publish(daemon.http, f"{topic}/a", "unwanted")
        publish(daemon.http, f"{topic}/b", "wanted")
        assert received(socket)["data"] == "wanted"


def test_publish(daemon: Daemon, topic: str) -> None:
    """A client publishes and is told the position; what is refused is told with its ref, and the stream goes on."""
    with connection(daemon, topic) as socket:
        say(socket, publish=topic, data={"bid": 120}, ref=1)
        answers = {("comet" in found): found for found in (received(socket), received(socket))}
        assert answers[True] == {"comet": "ok", "ref": 1, "id": answers[False]["id"]}
        assert answers[False]["data"] == {"bid": 120}
        say(socket, publish="a//b", data=1, ref="second")
        refused = received(socket)
        assert (refused["comet"], refused["ref"], refused["code"]) == ("error", "second", "bad_topic")
        socket.send("no JSON")
        assert received(socket)["code"] == "bad_json"
        publish(daemon.http, topic, "on")
        assert received(socket)["data"] == "on"


def test_publish_many(daemon: Daemon, topic: str) -> None:
    """A thousand publishes without waiting are all answered, in order."""
    with connection(daemon, topic) as socket, connect(f"ws://{daemon.http}/topics/{topic}/none", proxy=None) as other:
        received(other)
        for number in range(1000):
            say(other, publish=topic, data=number, ref=number)
        assert [received(socket)["data"] for _ in range(1000)] == list(range(1000))
        assert [received(other)["ref"] for _ in range(1000)] == list(range(1000))


def test_fragments(daemon: Daemon, topic: str) -> None:
    """A frame that comes in fragments is one message."""
    with connection(daemon, topic) as socket:
        text = json.dumps({"publish": topic, "data": "in pieces"})
        socket.send(text[start : start + 5] for start in range(0, len(text), 5))
        assert received(socket).get("data", "in pieces") == "in pieces"


def test_binary(daemon: Daemon, topic: str) -> None:
    """A binary frame ends the stream, with the code for data that is not supported and what to do instead."""
    with connection(daemon, topic) as socket:
        socket.send(b"bytes")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, "data64" in closed.value.rcvd.reason) == (1003, True)


def test_origin(daemon: Daemon, topic: str) -> None:
    """The page of an origin that is not listed cannot open a WebSocket; that of a listed one can."""
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{daemon.http}/topics/{topic}", proxy=None, origin=Origin("https://evil.example"))
    assert refused.value.response.status_code == 403
    shop = "https://shop.example"
    with running("--origin", shop) as listing, connection(listing, topic, origin=Origin(shop)) as socket:
        publish(listing.http, topic, "one")
        assert received(socket)["data"] == "one"


def test_shutdown() -> None:
    """When the daemon stops, it says bye and closes as one who goes away."""
    with running() as daemon, connection(daemon, "news") as socket:
        assert daemon.process.poll() is None
        daemon.process.terminate()
        assert received(socket)["comet"] == "bye"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
        assert daemon.process.wait(PATIENCE) == 0
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
