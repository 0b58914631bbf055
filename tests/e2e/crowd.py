"""Thousands of subscribers in one process, on every transport, that come back by themselves and resume.

Each is a plain socket read by the strict readers. It obeys the delay that its ``bye`` names, tries again if it finds
nobody, and goes on from its cursor. The payloads are numbers that rise by one per topic, so that each knows what it has
missed and what came twice.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

from tests.framing_readers import READERS, Reader

TRANSPORTS = ("stream", "sse", "websocket", "poll", "iframe", "mixed", "multipart")

AGAIN = 0.25
"""Seconds until the next try of one who found nobody."""


class Member:
    """One subscriber of ``topic``; ``numbers`` is what it was given, ``gaps`` counts what it was told of."""

    def __init__(self, transport: str, topic: str) -> None:
        self.transport = transport
        self.topic = topic
        self.numbers: list[int] = []
        self.gaps = 0
        self.cursor = "now"
        self.socket: socket.socket | None = None
        self.reader: Reader | None = None
        self.head = b""
        self.left_at = 0.0
        """When the daemon let go of it; 0 while it is held."""
        self.away: list[float] = []
        """For how many seconds it was without the daemon, each time."""
        self.answered = False
        """A poll has its answer."""
        self.retry = 0.0

    def request(self) -> bytes:
        """What it asks for: everything after its cursor."""
        target = f"/topics/{self.topic}?transport={self.transport}&since={self.cursor}"
        upgrade = b""
        if self.transport == "websocket":
            key = b64encode(os.urandom(16))
            upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            upgrade += key + b"\r\n"
        return b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (target.encode(), upgrade)

    def take(self, data: bytes) -> None:
        """Read what has come."""
        if self.reader is None:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            head, _, data = self.head.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            assert first.split()[1] in ("101", "200"), (self.transport, first, data)
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            self.reader = READERS[self.transport](fields.get("content-type", ""))
            if self.left_at:
                self.away.append(time.monotonic() - self.left_at)
                self.left_at = 0.0
        for found in self.reader.feed(data):
            self._take(found)

    def _take(self, found: dict[str, Any]) -> None:
        if found.get("comet") == "gap":
            self.gaps += 1
        elif "comet" not in found and "next" not in found:
            self.numbers.append(int(found["payload"] if "payload" in found else found["data"]))
        for name in ("id", "next", "position"):
            if found.get(name):
                self.cursor = str(found[name])
        self.answered |= "next" in found
        if found.get("comet") == "bye" or "retry" in found:
            self.retry = found["retry"] / 1000
            self.left_at = time.monotonic()


class Crowd:
    """Its members, and one loop that serves them all."""

    def __init__(self, port: int, members: Sequence[Member]) -> None:
        self.members = members
        self._address = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Member]] = []
        self._order = count()
        for member in members:
            self._later(member, 0.0)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.socket is not None:
                member.socket.close()
        self._selector.close()

    def until(self, condition: Callable[[], bool], what: str, patience: float = 60.0) -> None:
        """Serve everybody until ``condition`` is true."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"not within {patience:g} seconds: {what}"
            self.turn()

    def turn(self) -> None:
        """Serve whoever has something to be done, or wait for a moment."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._connect(heappop(self._due)[2])
        for key, events in self._selector.select(0.02):
            member: Member = key.data
            if events & selectors.EVENT_WRITE:
                self._ask(member)
            else:
                self._read(member)

    def held(self) -> int:
        """How many are held now."""
        return sum(member.reader is not None or member.transport == "poll" for member in self.members if member.socket)

    def _later(self, member: Member, seconds: float) -> None:
        heappush(self._due, (time.monotonic() + seconds, next(self._order), member))

    def _connect(self, member: Member) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        member.socket, member.reader, member.head = connection, None, b""
        connection.connect_ex(self._address)
        self._selector.register(connection, selectors.EVENT_WRITE, member)

    def _ask(self, member: Member) -> None:
        assert member.socket is not None
        if member.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._hang_up(member, AGAIN)
            return
        member.socket.send(member.request())
        self._selector.modify(member.socket, selectors.EVENT_READ, member)

    def _read(self, member: Member) -> None:
        assert member.socket is not None
        try:
            data = member.socket.recv(262_144)
        except OSError as error:
            assert error.errno in (errno.ECONNRESET, errno.EAGAIN), error
            data = b""
        member.take(data)
        if not data or (member.answered and member.left_at):
            self._hang_up(member, member.retry or AGAIN)
        elif member.answered:
            member.answered, member.reader, member.head = False, None, b""
            try:
                member.socket.send(member.request())
            except OSError:
                self._hang_up(member, AGAIN)

    def _hang_up(self, member: Member, pause: float) -> None:
        assert member.socket is not None
        member.left_at = member.left_at or time.monotonic()
        member.retry, member.answered = 0.0, False
        self._selector.unregister(member.socket)
        member.socket.close()
        member.socket = None
        self._later(member, pause)
