"""Who comes and goes: a table of visitors, each of which connects, does what its kind does, and leaves in some way.

They are impolite on purpose: most leave in the middle, some by a reset, some having said half of something. A visit
that is answered by anything but what is expected fails, and with it the soak.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import NamedTuple

TOPICS = 5_000
"""How many topics there are. Each is forgotten soon after it was published on, and made anew by the next who does: what
is remembered of topics has its bound below this, so it cannot be taken for a leak."""

ADDRESSES = 40
"""From how many addresses the visitors come."""

LONGEST_VISIT = 20.0

_RESET = struct.pack("ii", 1, 0)


class Place(NamedTuple):
    """The daemon, and tokens that count there."""

    http: int
    tcp: int
    tokens: Sequence[str]


class Visit:
    """One visit to ``place``; what is by chance comes from ``chance``."""

    def __init__(self, place: Place, chance: Random) -> None:
        self.place = place
        self.chance = chance

    def topic(self) -> str:
        """Some topic."""
        return f"soak/{self.chance.randrange(TOPICS)}"

    def pattern(self) -> str:
        """Some pattern."""
        return self.chance.choice(
            (self.topic(), self.topic(), "soak/*", "soak/**", f"other/{self.chance.randrange(50)}/*")
        )

    def head(self, method: str, target: str, *lines: str) -> bytes:
        """The head of a request, now and then with a token."""
        if self.chance.random() < 0.5:
            lines = (*lines, f"Authorization: Bearer {self.chance.choice(self.place.tokens)}")
        return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()

    def post(self, target: str, body: object, *lines: str) -> bytes:
        """A request with a body in JSON."""
        data = json.dumps(body).encode()
        return (
            self.head("POST", target, f"Content-Length: {len(data)}", "Content-Type: application/json", *lines) + data
        )

    @asynccontextmanager
    async def connected(self, port: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """A connection, which ends by a FIN or, now and then, by a reset."""
        address = f"127.0.0.{2 + self.chance.randrange(ADDRESSES)}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        if self.chance.random() < 0.2:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        try:
            yield reader, writer
        finally:
            writer.close()


async def answered(reader: StreamReader, *statuses: int) -> bytes:
    """Read a response's head, and its body if it says how long it is; it has one of ``statuses``."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status in statuses, head
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"content-length":
            return await reader.readexactly(int(value))
    return b""


# -- the kinds --------------------------------------------------------------------------------------------------------


async def watcher(visit: Visit) -> None:
    """Opens a stream on any transport, and leaves after its first bytes or a little later."""
    transport = visit.chance.choice(("sse", "stream", "iframe", "multipart", "mixed"))
    since = visit.chance.choice(("now", "first", "last", "-5"))
    async with visit.connected(visit.place.http) as (reader, writer):
        writer.write(visit.head("GET", f"/topics/{visit.pattern()}?transport={transport}&since={since}"))
        await answered(reader, 200)
        await asyncio.sleep(visit.chance.random() * 0.3)


async def changer(visit: Visit) -> None:
    """Opens a stream, changes its topics some times from another connection, and ends it from there, or leaves."""
    async with (
        visit.connected(visit.place.http) as (reader, writer),
        visit.connected(visit.place.http) as (other, asks),
    ):
        writer.write(visit.head("GET", f"/topics/{visit.pattern()}?transport=stream"))
        await answered(reader, 200)
        stream = json.loads(await reader.readline())["stream"]
        topics: list[str] = []
        for _ in range(4):
            gone, topics = topics, [visit.topic(), visit.pattern()]
            change = {"subscribe": topics, "unsubscribe": gone, "since": visit.chance.choice(("now", "first"))}
            asks.write(visit.post(f"/streams/{stream}", change))
            await answered(other, 204)
        if visit.chance.random() < 0.5:
            asks.write(visit.head("DELETE", f"/streams/{stream}"))
            await answered(other, 204)


async def poller(visit: Visit) -> None:
    """Polls some times on one connection, and leaves while it is held."""
    pattern = visit.pattern()
    after = "now"
    async with visit.connected(visit.place.http) as (reader, writer):
        for _ in range(3):
            writer.write(visit.head("GET", f"/topics/{pattern}?wait=0.25&since={after}"))
            after = json.loads(await answered(reader, 200))["next"]
        writer.write(visit.head("GET", f"/topics/{pattern}?since={after}"))
        await writer.drain()


async def poster(visit: Visit) -> None:
    """Publishes over HTTP: one, many, the same again."""
    async with visit.connected(visit.place.http) as (reader, writer):
        for _ in range(3):
            key = f"Idempotency-Key: {visit.chance.randrange(10_000)}"
            writer.write(visit.post(f"/topics/{visit.topic()}", {"n": visit.chance.random()}, key))
            await answered(reader, 200, 201, 409)
        many = [{"topic": visit.topic(), "data": "x" * visit.chance.randrange(500)} for _ in range(20)]
        writer.write(visit.post("/topics", many))
        await answered(reader, 201)


async def talker(visit: Visit) -> None:
    """Says what clients say on a WebSocket, and is gone before all of it is answered."""
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    async with visit.connected(visit.place.http) as (reader, writer):
        head = visit.head("GET", f"/topics/{visit.pattern()}", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        writer.write(head)
        await answered(reader, 101)
        for _ in range(3):
            writer.write(_frame({"subscribe": [visit.pattern()], "since": "-3"}))
            writer.write(_frame({"publish": visit.topic(), "data": visit.chance.random(), "ref": 1}))
        await reader.read(1024)
        if visit.chance.random() < 0.3:
            writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
            await reader.read(1024)


async def back_end(visit: Visit) -> None:
    """Publishes and subscribes over TCP, changes its mind, and leaves while it waits for messages."""
    async with visit.connected(visit.place.tcp) as (reader, writer):
        commands = [f"HELLO {visit.chance.choice('23')}", f"AUTH {visit.chance.choice(visit.place.tokens)}"]
        commands += [
            f"PUBLISH {visit.topic()} hello",
            f"XADD {visit.topic()} * data x key {visit.chance.randrange(9999)}",
        ]
        commands += [
            f"SUBSCRIBE {visit.topic()} {visit.topic()}",
            "PSUBSCRIBE soak/*",
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "RESET",
        ]
        writer.write("".join(f"{command}\r\n" for command in commands).encode())
        await reader.read(4096)
        writer.write(f"XREAD BLOCK {visit.chance.choice((0, 50))} STREAMS {visit.topic()} $\r\n".encode())
        await asyncio.sleep(visit.chance.random() * 0.1)


async def reader_of_a_consumer(visit: Visit) -> None:
    """Reads as a consumer that did not exist, and forgets it."""
    name = f"/consumers/c{visit.chance.randrange(1 << 40)}"
    async with visit.connected(visit.place.http) as (reader, writer):
        token = f"Authorization: Bearer {visit.place.tokens[0]}"
        writer.write(_head("GET", f"{name}?topic={visit.topic()}&wait=0.25", token))
        await answered(reader, 200)
        writer.write(_head("DELETE", name, token))
        await answered(reader, 204)


async def nuisance(visit: Visit) -> None:
    """Says something wrong, or half of something right."""
    said = visit.chance.choice(
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n",
            b"GET /topics/news HTTP/1.1\r\nHo",
            b"POST /topics/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000,
            b"POST /topics/news HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET /topics/a*b HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
            b"GET /topics/news?token=a.b.c HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$100000\r\n" + b"x" * 50_000,
        )
    )
    port = visit.chance.choice((visit.place.http, visit.place.tcp))
    async with visit.connected(port) as (_, writer):
        writer.write(said)
        await asyncio.sleep(visit.chance.random() * 0.2)


VISITORS: dict[Callable[[Visit], Awaitable[None]], int] = {
    watcher: 8,
    changer: 3,
    poller: 3,
    poster: 3,
    talker: 3,
    back_end: 4,
    reader_of_a_consumer: 1,
    nuisance: 3,
}
"""The kinds, and how often each comes."""


def _head(method: str, target: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def _frame(value: object) -> bytes:
    """A text frame whose mask is zero."""
    data = json.dumps(value).encode()
    assert len(data) < 126
    return struct.pack("!BBI", 0x81, 0x80 | len(data), 0) + data


# -- all of them ------------------------------------------------------------------------------------------------------


async def come_and_go(place: Place, seconds: float, at_once: int, seed: int) -> int:
    """Have visitors come and go, ``at_once`` at a time, for so many seconds; returns how many there were."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def one_after_the_other(chance: Random) -> int:
        count = 0
        while loop.time() < until:
            (kind,) = chance.choices([*VISITORS], [*VISITORS.values()])
            async with asyncio.timeout(LONGEST_VISIT):
                await kind(Visit(place, chance))
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one_after_the_other(Random(seed + number))) for number in range(at_once)]
    return sum(task.result() for task in tasks)
