"""Clients that leave, in every way and on every transport: each is noticed, and nothing is left of it."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Callable

import pytest
import pytest_twisted

from comet.message import Draft
from comet.web.channel import Channel
from comet.web.site import CometRequest
from comet.web.writer import AnswerWriter, StreamWriter
from tests.http_wires import Client, Served, asking, get, served, until

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HELD = {
    **{
        name: get(f"/topics/a?transport={name}&wait=60")
        for name in ("poll", "stream", "sse", "iframe", "multipart", "mixed")
    },
    "websocket": get("/topics/a", *HANDSHAKE),
}


def close(client: Client) -> None:
    """Leave as a browser does whose tab is closed."""
    client.socket.close()


def reset(client: Client) -> None:
    """Leave as a process does that is killed with bytes unread."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def half_close(client: Client) -> None:
    """Say no more, but keep the socket."""
    client.socket.shutdown(socket.SHUT_WR)


async def hold(face: Served, transport: str, count: int, further: bytes = b"") -> list[Client]:
    """Open ``count`` held responses, with ``further`` sent behind each request."""
    clients = [await face.client(HELD[transport] + further) for _ in range(count)]
    await until(lambda: len(face.router.streams) == count)
    if transport != "poll":
        for client in clients:
            await until(client.has(b"\r\n\r\n"))
    return clients


def remaining() -> list[object]:
    """The objects that there are for a connection."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, StreamWriter | AnswerWriter | Channel | CometRequest)]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("transport", HELD)
async def test_who_leaves_a_quiet_topic_is_noticed(transport: str, leave: Callable[[Client], None]) -> None:
    """Though nothing is published, so that nothing is written to them."""
    before = len(remaining())
    async with served() as face:
        clients = await hold(face, transport, 5)
        for client in clients:
            leave(client)
        await face.freed()
    del face, clients
    assert len(remaining()) <= before


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("transport", [name for name in HELD if name != "poll"])
async def test_who_leaves_without_having_read_is_noticed(transport: str, leave: Callable[[Client], None]) -> None:
    """Although bytes for them wait."""
    async with served(send_buffer=4096) as face:
        clients = [await face.client(HELD[transport], receive_buffer=4096) for _ in range(3)]
        await until(lambda: len(face.router.streams) == 3)
        await face.router.publish([Draft("a", b"x" * (1 << 20))])
        await until(lambda: len(face.router._waits._stuck) == 3)
        for client in clients:
            leave(client)
        await face.freed()


@pytest_twisted.ensureDeferred
async def test_who_asks_and_leaves_before_the_answers_is_noticed() -> None:
    """While answers cannot be written the daemon does not read, and would never hear that the client has gone."""
    async with served() as face:
        clients = await hold(face, "websocket", 5)
        for client in clients:
            client.send(b"\x89\x80\0\0\0\0" * 3)  # pings
            close(client)
        await face.freed()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("transport", [name for name in HELD if name != "websocket"])
async def test_who_sends_on_a_held_response_is_dropped(transport: str) -> None:
    """Before the daemon stops reading and cannot notice the client's leaving any more."""
    async with served() as face:
        clients = await hold(face, transport, 3)
        for client in clients:
            client.send(b"x" * 20_000)
        await face.freed()
        assert face.metrics.intruded == 3


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("size", [17_000, 60_000])
async def test_hanging_requests_with_much_behind_them_leave_nothing(size: int, leave: Callable[[Client], None]) -> None:
    """Twenty polls on a quiet topic, each with more than 16 KiB of requests pipelined behind it, come and leave."""
    async with served() as face:
        behind = get("/topics/a?wait=60") * (size // len(get("/topics/a?wait=60")))
        clients = [await face.client(HELD["poll"] + behind) for _ in range(20)]
        await until(lambda: len(face.router.streams) + face.metrics.intruded >= 20)
        for client in clients:
            leave(client)
        await face.freed()


@pytest_twisted.ensureDeferred
async def test_a_post_with_much_behind_it_leaves_nothing() -> None:
    """Nor does a client that leaves while a slow store has its message and the daemon does not read."""
    async with served() as face:
        face.store.holds = True
        body = asking("POST", "/topics/a", "Content-Length: 1") + b"1"
        clients = [await face.client(body * 400) for _ in range(5)]
        await until(lambda: len(face.store._held) == 5)
        for client in clients:
            close(client)
        face.store.holds = False
        face.store.release()
        await face.freed()


@pytest_twisted.ensureDeferred
async def test_who_leaves_between_two_messages_is_noticed() -> None:
    """A write to a client that has just gone harms nobody, and the others have each message."""
    async with served() as face:
        stays = (await hold(face, "stream", 1))[0]
        leaves = [await face.client(HELD["stream"]) for _ in range(10)]
        await until(lambda: len(face.router.streams) == 11)
        for number, client in enumerate(leaves):
            reset(client)
            await face.router.publish([Draft("a", b"message %d" % number)])
            await until(stays.has(b"message %d" % number))
        await until(lambda: len(face.router.streams) == 1)
        close(stays)
        await face.freed()
