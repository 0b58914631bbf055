"""A proxy that does, when a test wants it, what the worst of them do: it goes and comes back, cuts connections, answers
a WebSocket with a page, or keeps what it should pass on.

What happens to a request goes by its transport, and is settled when it is asked. Browsers do not pipeline, so whatever
begins with ``GET`` is the head of a request.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

from tests.e2e.waiting import PATIENCE
from tests.recipes.proxies import free_port

Treatment = Literal["mute", "page", "refuse", "slow"]
"""Nothing of the answer comes; a page comes, and that is all; the connection ends; the answer begins late."""

SLOW = 1.0
"""Seconds: later than a client waits with doing something about it, sooner than it gives up."""

_ASKED = re.compile(rb"GET \S*[?&]transport=(\w+)")
_WAIT = re.compile(rb"GET \S*[?&]wait=0[& ]")

_TEXT = b"<!doctype html><title>Welcome</title>"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"


class Gate:
    """Forwards connections to ``target``, and does to them what ``treat`` says by the transport that is asked for.

    A connection is cut after ``lifetime`` seconds, or after ``idle`` seconds in which nothing came from the target;
    ``cuts`` is how often. What was ``asked`` for is told by its transport.
    """

    def __init__(self, target: str, *, lifetime: float | None = None, idle: float | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.treat: dict[str, Treatment] = {}
        self.asked: list[str] = []
        self.cuts = 0
        self._target = target
        self._lifetime = lifetime
        self._idle = idle
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listening: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Gate:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def open(self) -> None:
        """Listen."""
        self._do(self._open())

    def shut(self) -> None:
        """Be gone: nobody listens, and all connections are cut."""
        self._do(self._shut())

    def cut(self) -> None:
        """Cut all connections."""
        self._do(self._cut())

    def _do(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        host, _, port = self.address.rpartition(":")
        self._listening = socket.create_server((host, int(port)))
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept, self._listening)

    async def _shut(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        await self._cut()

    async def _cut(self) -> None:
        for connection in self._connections:
            if not connection.cancelling():
                connection.cancel()
        while self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, listening: socket.socket) -> None:
        # asyncio's own servers leave connections behind that come while they close.
        try:
            near, _ = listening.accept()
        except OSError:
            return
        near.setblocking(False)
        connection = self._loop.create_task(self._keep(near))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        # One that is cancelled before it began does nothing any more.
        connection.add_done_callback(lambda _: near.close())

    async def _keep(self, near: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=near)
        try:
            await self._carry(reader, writer)
        finally:
            await _end(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        far: asyncio.StreamWriter | None = None
        try:
            from_far, far = await asyncio.open_connection(host, int(port))
            wire = _Wire(self, reader, writer, from_far, far)
            await asyncio.wait_for(wire.carry(self._idle), self._lifetime)
        except TimeoutError:
            self.cuts += 1
        except (OSError, EOFError):
            pass
        finally:
            if far is not None:
                await _end(far)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Break a connection off, and wait until its socket is closed."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


class _Wire:
    """A connection with its continuation."""

    def __init__(
        self,
        gate: Gate,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_far: asyncio.StreamReader,
        far: asyncio.StreamWriter,
    ) -> None:
        self._gate = gate
        self._reader = reader
        self._writer = writer
        self._from_far = from_far
        self._far = far
        self._mute = False
        self._late = 0.0

    async def carry(self, idle: float | None) -> None:
        """Pass on what comes from either side, until one of them ends."""
        asking, answering = tasks = [asyncio.ensure_future(act) for act in (self._ask(), self._answer(idle))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
                # What was written is to arrive before the connection goes.
                await asyncio.wait([asking], timeout=1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self) -> None:
        while data := await self._reader.read(65_536):
            asked = _ASKED.match(data)
            # A question that is answered at once is no transport.
            if asked and not _WAIT.match(data):
                name = asked[1].decode()
                self._gate.asked.append(name)
                match self._gate.treat.get(name):
                    case "mute":
                        self._mute = True
                    case "page":
                        self._writer.write(PAGE % (len(_TEXT), _TEXT))
                        await self._writer.drain()
                        self._writer.write_eof()
                        # As above: until the browser has read it and goes.
                        await self._reader.read()
                        return
                    case "refuse":
                        return
                    case "slow":
                        self._late = SLOW
            self._far.write(data)
            await self._far.drain()

    async def _answer(self, idle: float | None) -> None:
        while data := await asyncio.wait_for(self._from_far.read(65_536), idle):
            if self._late:
                await asyncio.sleep(self._late)
                self._late = 0.0
            if not self._mute:
                self._writer.write(data)
                await self._writer.drain()
        if self._writer.can_write_eof():
            self._writer.write_eof()
