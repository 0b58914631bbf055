"""Hostile clients, in a process of their own: ``python -m bench.attack.attackers '{"http": …, "tcp": …, …}'``.

Each is a kind of the table :data:`KINDS`, comes from one of some addresses of the loopback (127.0.0.2 and on), and goes
on until standard input ends: who is refused or dropped waits a little, and comes again. Then one line of JSON says how
often each kind got in, and how often it was turned away or dropped.

The process gives way to all others (nice): the honest clients must be slowed down by what the daemon has to do for the
attackers, and not by what the attackers take of the CPU that both kinds of clients share.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

AGAIN = 1.0
"""Seconds after which who was turned away comes again."""

FIRST_ADDRESS = 2
_numbers = count()


class Target(NamedTuple):
    """Where the daemon is, from how many addresses it is attacked, and how long each waits between two misdeeds."""

    http: int
    tcp: int
    addresses: int
    pause: float


class Attacker:
    """One hostile client of a ``kind``, on its own address."""

    def __init__(self, target: Target, kind: str, number: int, counts: Counter[str]) -> None:
        self.target = target
        self.pause = target.pause
        self._kind = kind
        self._address = f"127.0.0.{FIRST_ADDRESS + number % target.addresses}"
        self._counts = counts

    @asynccontextmanager
    async def connected(self, port: int, receive_buffer: int = 0) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """A connection, which is counted."""
        near = socket.socket()
        near.setblocking(False)
        if receive_buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        near.bind((self._address, 0))
        try:
            await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port))
        except BaseException:
            near.close()
            raise
        reader, writer = await asyncio.open_connection(sock=near, limit=1 << 12)
        self._counts[f"{self._kind}: in"] += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def until_dropped(self, reader: StreamReader) -> None:
        """Wait for the daemon to lose patience."""
        while await reader.read(1 << 12):
            self._counts[f"{self._kind}: answered"] += 1

    async def go_on(self, attack: Attack) -> None:
        """Attack again and again."""
        while True:
            try:
                await attack(self)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self._counts[f"{self._kind}: dropped"] += 1
            await asyncio.sleep(AGAIN)


Attack = Callable[[Attacker], Awaitable[None]]


def _get(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


_UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
_HANDSHAKE = _get("/topics/churn/none", *_UPGRADE, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def _frame(opcode: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


# -- the kinds --------------------------------------------------------------------------------------------------------


async def deaf(attacker: Attacker) -> None:
    """Subscribes to what is published most, and never reads."""
    async with attacker.connected(attacker.target.http, receive_buffer=4096) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(_get("/topics/churn/**?transport=stream&since=first"))
        await asyncio.sleep(3600)


async def half_open(attacker: Attacker) -> None:
    """Begins a request, and says no more."""
    async with attacker.connected(attacker.target.http) as (reader, writer):
        writer.write(b"POST /topics/churn/1 HTTP/1.1\r\nHost: localhost\r\nX: ")
        await attacker.until_dropped(reader)


async def half_a_command(attacker: Attacker) -> None:
    """Promises a payload over TCP that never comes."""
    async with attacker.connected(attacker.target.tcp) as (reader, writer):
        writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nchurn/1\r\n$1000000\r\n" + b"x" * 1000)
        await attacker.until_dropped(reader)


async def pinger(attacker: Attacker) -> None:
    """Pings all the time on a WebSocket."""
    async with attacker.connected(attacker.target.http) as (reader, writer):
        writer.write(_HANDSHAKE)
        while await reader.read(1 << 12):
            writer.write(_frame(9, b"x" * 100) * 10)
            await asyncio.sleep(attacker.pause)


async def changer(attacker: Attacker) -> None:
    """Subscribes and unsubscribes in a loop."""
    async with attacker.connected(attacker.target.http) as (reader, writer):
        writer.write(_HANDSHAKE)
        while await reader.read(1 << 12):
            pattern = f"churn/{next(_numbers)}/*"
            writer.write(_frame(1, json.dumps({"subscribe": [pattern], "since": "first"}).encode()))
            writer.write(_frame(1, json.dumps({"unsubscribe": [pattern]}).encode()))
            await asyncio.sleep(attacker.pause)


async def churner(attacker: Attacker) -> None:
    """Publishes on a topic that there never was, each time."""
    async with attacker.connected(attacker.target.http) as (reader, writer):
        while True:
            head = f"POST /topics/churn/{next(_numbers)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            writer.write(head.encode() + b"x" * 1000)
            if not await reader.read(1 << 12):
                return
            await asyncio.sleep(attacker.pause)


async def nonsense(attacker: Attacker) -> None:
    """Makes bad requests in a loop; each costs it the connection."""
    while True:
        async with attacker.connected(attacker.target.http) as (reader, writer):
            writer.write(b"GET /topics/churn HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            await reader.read(1 << 12)
        await asyncio.sleep(attacker.pause)


async def stranger(attacker: Attacker) -> None:
    """Asks for what it may not have, with tokens that are none."""
    async with attacker.connected(attacker.target.http) as (reader, writer):
        while True:
            writer.write(_get("/stats", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA"))
            if not await reader.read(1 << 12):
                return
            await asyncio.sleep(attacker.pause)


async def passer_by(attacker: Attacker) -> None:
    """Connects and leaves at once."""
    while True:
        async with attacker.connected(attacker.target.http):
            await asyncio.sleep(attacker.pause)


KINDS: Mapping[str, tuple[Attack, int]] = {
    "deaf": (deaf, 500),
    "half open": (half_open, 200),
    "half a command": (half_a_command, 100),
    "pinger": (pinger, 150),
    "changer": (changer, 100),
    "churner": (churner, 50),
    "nonsense": (nonsense, 100),
    "stranger": (stranger, 50),
    "passer-by": (passer_by, 50),
}
"""The kinds, and how many there are of each among two thousand; the others are of ``slowhttptest``."""


async def attack(target: Target, counts: Counter[str], share: float) -> None:
    """Have ``share`` of all attackers go on until standard input ends."""
    attackers = [
        asyncio.create_task(Attacker(target, name, number, counts).go_on(kind))
        for name, (kind, most) in KINDS.items()
        for number in range(max(1, round(most * share)))
    ]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for attacker in attackers:
        attacker.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)


def main(arguments: Mapping[str, float]) -> None:
    """Attack, and say what came of it."""
    os.nice(19)
    counts: Counter[str] = Counter()
    target = Target(int(arguments["http"]), int(arguments["tcp"]), int(arguments["addresses"]), arguments["pause"])
    asyncio.run(attack(target, counts, arguments["share"]))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
