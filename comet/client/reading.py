r"""The bytes of a stream to what they say: one reader per transport, sans-IO.

A reader is fed the pieces that the network delivers and gives the lines that they complete. The trap: a stream has no
length, so one that was cut off looks like one that has ended. What has no end of its own is therefore never read: an
unfinished line of ``stream`` and an unfinished block of ``sse`` come again from the cursor.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

LONGEST = 256 * 1024 * 1024
"""Bytes of one line; more is not from Comet."""


class Garbled(Exception):
    """What came is no stream of Comet."""


class Line(Struct):
    """One object of a stream: a message has a topic, what the daemon says in-band has ``comet``."""

    comet: str = ""
    id: str = ""
    topic: str = ""
    time: float = 0.0
    data: Any = None
    data64: str | None = None
    position: str = ""
    since: str = ""
    until: str = ""
    topics: list[str] = []
    stream: str = ""
    silence: float = 25.0
    reason: str = ""
    retry: int = 0
    size: int = 0
    """The bytes that it took; not said by the daemon."""

    def value(self) -> Any:
        """The data of a message: a JSON value, a string, or bytes."""
        return self.data if self.data64 is None else b64decode(self.data64)


class Reader(Protocol):
    """Reads one response."""

    def feed(self, data: bytes) -> Iterator[Line]:
        """Yield what ``data``, with what came before, completes. Raises :exc:`Garbled`."""


class Lines:
    """Transport ``stream``: an object a line."""

    def __init__(self) -> None:
        self._cutter = _Cutter()

    def feed(self, data: bytes) -> Iterator[Line]:
        for line in self._cutter.feed(data):
            yield _decoded(line)


class Blocks:
    """Transport ``sse``: a block of fields, ended by an empty line
    (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

    def __init__(self) -> None:
        self._cutter = _Cutter()
        self._fields: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> Iterator[Line]:
        for line in self._cutter.feed(data):
            if line:
                name, _, value = line.partition(b":")
                self._fields[name] = value.removeprefix(b" ")
                continue
            fields, self._fields = self._fields, {}
            if b"data" in fields:
                yield _decoded(fields[b"data"])
            elif b"id" in fields:
                # The heartbeat: browsers take its id and tell nobody.
                yield Line(comet="beat", position=fields[b"id"].decode(errors="replace"))


class _Cutter:
    """Cuts lines at LF, however they come in pieces."""

    __slots__ = ("_begun", "_held")

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their ends. Raises :exc:`Garbled`."""
        first, *rest = data.split(b"\n")
        self._begun.append(first)
        self._held += len(first)
        if not rest:
            if self._held > LONGEST:
                raise Garbled(f"a line of more than {LONGEST} bytes")
            return []
        *between, last = rest
        lines = [b"".join(self._begun), *between]
        self._begun, self._held = [last], len(last)
        return lines


_decode = msgspec.json.Decoder(Line).decode


def _decoded(raw: bytes) -> Line:
    try:
        line = _decode(raw)
        if line.data64 is not None:
            b64decode(line.data64, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise Garbled(f"a line that is no object of Comet's: {error}") from None
    line.size = len(raw)
    return line


class Transport(NamedTuple):
    """How a subscription's messages come: what the daemon is asked for, and who reads it."""

    name: str
    content_type: str
    reader: Callable[[], Reader]


TRANSPORTS: Mapping[str, Transport] = {
    "stream": Transport("stream", "application/x-ndjson", Lines),
    "sse": Transport("sse", "text/event-stream", Blocks),
}
"""Those that a client can use. Of proxies that buffer, some let ``sse`` pass."""
