"""The subscribers of the bench: plain sockets that never block, of which one process holds hundreds.

A connection that ends is made again from the last position, as a good client does it: so a bench goes on while the
daemon is restarted. The trap is the hot path, ``_read_stream`` and ``_read_answers``: it runs for each subscriber and
each block.
"""

from __future__ import annotations

import os
import re
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from comet.commands.arguments import reason
from comet.commands.asking import LONGEST_DETAIL
from comet.commands.bench.payload import GAP, Block, Blocks, Run, clock
from comet.commands.bench.sequences import Sequences
from comet.commands.bench.ways import Way
from comet.commands.terminal import printable

LONGEST_HEAD = 65_536
RECEIVED = 65_536

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_DETAIL = re.compile(rb'"detail":"((?:[^"\\]|\\.)*)"')
_POSITION = re.compile(rb'\bposition\\?":\\?"([^"\\]+)')
_NEXT = re.compile(rb'"next":"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,12})\r\n", re.IGNORECASE)


class Lost(Exception):
    """A connection ended or could not be made. Its text says why; it may be made again after ``pause`` seconds."""

    def __init__(self, text: str, pause: float = 0.0) -> None:
        super().__init__(text)
        self.pause = pause


class Target(NamedTuple):
    """Where subscribers connect to: what the system calls the address, and what a request says."""

    family: int
    address: Any
    host: str
    prefix: str


class Group:
    """The subscribers of one transport in one process, and what they were given together. ``ticks`` has how many
    messages took how long, since it was last taken away."""

    def __init__(self, way: Way, target: Target, size: int) -> None:
        self.way = way
        self.target = target
        self.read: Callable[[bytes], Block] = Blocks(way.signs, size).read
        self.messages = 0
        self.bytes = 0
        self.ticks: dict[int, int] = defaultdict(int)


class Subscriber:
    """One subscriber, and the connection that it has at the time. ``read`` is to be called when something has come;
    it raises :exc:`Lost`. ``path`` is that of the topic, ``sources`` what publishes on it. ``opened`` says whether it
    has been subscribed, ``held`` whether it still is."""

    __slots__ = (
        "_missing",
        "_path",
        "_rest",
        "_retry",
        "cursor",
        "group",
        "held",
        "opened",
        "read",
        "sequences",
        "socket",
    )

    def __init__(self, group: Group, path: str, sources: Sequence[int]) -> None:
        self.group = group
        self._path = group.target.prefix + path
        self.sequences = Sequences(sources)
        self.socket: socket.socket | None = None
        self.cursor = b""
        self.opened = False
        self.held = False
        self.read: Callable[[], None] = self._read_head
        self._rest: list[bytes] = []
        self._missing = 0
        self._retry = 0

    def connect(self) -> socket.socket:
        """Begin to connect; returns the socket, on which ``ask`` is called once it can be written to."""
        target = self.group.target
        self._rest, self._missing, self._retry, self.held = [], 0, 0, False
        self.read = self._read_head
        try:
            self.socket = connection = socket.socket(target.family, socket.SOCK_STREAM)
            connection.setblocking(False)
            connection.connect(target.address)
        except BlockingIOError:
            pass
        except OSError as error:
            raise Lost(reason(error)) from None
        return connection

    def ask(self) -> None:
        """Send the request, now that there is a connection or none can be made. Raises :exc:`Lost`."""
        assert self.socket is not None
        way, target = self.group.way, self.group.target
        failure = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise Lost(os.strerror(failure).lower())
        if self.opened and not self.cursor:
            self.sequences.excuse()  # it cannot say where it was
        since = self.cursor.decode() or "now"
        if way.name == "poll" and not self.cursor:
            since += "&wait=0"
        try:
            self.socket.send(way.request(target.host, self._path, since))
        except OSError as error:
            raise Lost(reason(error)) from None

    def close(self) -> None:
        """Let go of the connection."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    # -- what comes -------------------------------------------------------------------------------------------------

    def _receive(self) -> bytes:
        assert self.socket is not None
        try:
            data = self.socket.recv(RECEIVED)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Lost(reason(error), self._retry / 1000) from None
        if not data:
            raise Lost("the daemon has closed the connection", self._retry / 1000)
        return data

    def _joined(self, data: bytes) -> bytes:
        """Return ``data`` behind what came before; nothing as long as it is known that more is missing."""
        self._rest.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return b""
        joined = b"".join(self._rest)
        self._rest = []
        return joined

    def _read_head(self) -> None:
        data = self._joined(self._receive())
        head, ended, body = data.partition(b"\r\n\r\n")
        status = _STATUS.match(head)
        if (ended and status is None) or len(head) > LONGEST_HEAD:
            raise Lost("what answers does not speak HTTP; --url takes the HTTP port of Comet")
        if not ended or status is None:
            self._rest = [data]
            return
        if int(status[1]) != self.group.way.status:
            detail = _DETAIL.search(body)
            said = detail[1].decode(errors="replace") if detail else f"the answer is {head[9:60].decode('latin-1')!r}"
            raise Lost(printable(said)[:LONGEST_DETAIL])
        if self.group.way.name == "poll":
            self.read = self._read_answers
            self._take_answers(data)
        else:
            self.read = self._read_opening
            self._take_opening(body)

    def _read_opening(self) -> None:
        """Wait for the first control, before which the daemon may not have subscribed this."""
        self._take_opening(self._joined(self._receive()))

    def _take_opening(self, data: bytes) -> None:
        if b"open" not in data or b"silence" not in data:
            self._rest = [data]
            return
        if not self.cursor and self.group.way.signs.position and (found := _POSITION.search(data)):
            self.cursor = found[1]
        self.opened = self.held = True
        self.read = self._read_stream
        self._take(data)

    def _read_stream(self) -> None:
        self._take(self._receive())

    def _take(self, data: bytes) -> None:
        group = self.group
        group.bytes += len(data)
        if self._rest:
            data = self._joined(data)
            if not data:
                return
        block = group.read(data)
        if block.rest:
            self._rest, self._missing = [block.rest], block.missing
        self._count(block)
        if block.cursor:
            self.cursor = block.cursor
        if block.retry:
            self._retry = block.retry

    def _count(self, block: Block) -> None:
        group, now = self.group, clock()
        group.messages += block.messages
        self.sequences.take(block.runs)
        self.sequences.faults.damaged += block.damaged
        ticks = group.ticks
        for sent, count in block.sent:
            ticks[now - sent] += count

    def _read_answers(self) -> None:
        data = self._joined(self._receive())
        if data:
            self._take_answers(data)

    def _take_answers(self, data: bytes) -> None:
        head, ended, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not ended:
            self._rest, self._missing = [data], 0
            return
        if length is None or _STATUS.match(head) is None:
            raise Lost("an answer to a poll has no Content-Length; ask the daemon itself, without a proxy")
        if len(body) < int(length[1]):
            self._rest, self._missing = [data], int(length[1]) - len(body)
            return
        self.group.bytes += len(data)
        found = _NEXT.search(body, max(0, body.rfind(b'"next":"')))
        if found is None:
            raise Lost("what answers a poll is not Comet; --url takes its HTTP port")
        block = self.group.read(body)
        block.runs.sort(key=_gaps_first)
        self._count(block)
        self.cursor = found[1]
        self.opened = self.held = True
        if block.retry:
            raise Lost("the daemon ends", block.retry / 1000)
        self.ask()


def _gaps_first(run: Run) -> bool:
    """Where a run belongs in an answer, whose gap is told behind the messages that come after it."""
    return run[0] != GAP
