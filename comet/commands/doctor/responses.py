"""HTTP/1.1 responses, read as they come, with the time at which each byte came. Nothing here knows of sockets.

A response is a head, and a body in chunks, of a length, or up to the end of the connection (RFC 9112, section 6);
behind 101 it is whatever the upgraded protocol says. A body in gzip is read as the browser would read it.

The trap: a body that is asked whether something is in it yet must give the time at which the last byte of that came,
not the time at which it was asked.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left

LARGEST = 1 << 20
"""Bytes of a body that are kept: a stream of Comet that is looked at is far smaller."""

LONGEST_HEAD = 1 << 16

_HAS_BODY = frozenset(range(200, 600)) - {204, 304}


class Unreadable(Exception):
    """What came is not HTTP/1.1."""


class Chunks:
    """Takes the chunks off a body (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._unread = b""
        self._left = 0
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        """Return what ``data`` adds to the content. Raises :exc:`Unreadable`."""
        self._unread += data
        content: list[bytes] = []
        while not self.complete:
            if self._left:
                piece, self._unread = self._unread[: self._left], self._unread[self._left :]
                self._left -= len(piece)
                content.append(piece)
                if self._left or not self._unread:
                    break
            line, end, rest = self._unread.partition(b"\r\n")
            if not end:
                break
            self._unread = rest
            if line:  # else it is the end of the chunk before
                self._begin(line)
        return b"".join(content)

    def _begin(self, line: bytes) -> None:
        try:
            self._left = int(line.split(b";")[0].strip(), 16)
        except ValueError:
            raise Unreadable from None
        self.complete = self._left == 0


class Identity:
    """A body of ``length`` bytes, or with None up to the end of the connection."""

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.complete = length == 0

    def feed(self, data: bytes) -> bytes:
        """Return what ``data`` adds to the content."""
        if self._left is None:
            return data
        content = data[: self._left]
        self._left -= len(content)
        self.complete = self._left == 0
        return content


class Response:
    """One response. Times are whatever the caller's clock says."""

    def __init__(self) -> None:
        self.status = 0
        self.phrase = ""
        self.fields: tuple[tuple[str, str], ...] = ()
        self.body = bytearray()
        self.head_at: float | None = None
        self.ended_at: float | None = None
        self.complete = False
        self._head = b""
        self._framing: Chunks | Identity | None = None
        self._inflating: zlib._Decompress | None = None
        self._times: list[float] = []
        self._lengths: list[int] = []

    def feed(self, data: bytes, now: float) -> None:
        """Take ``data``, which came at ``now``. Raises :exc:`Unreadable`."""
        if self._framing is None:
            self._head += data
            data = self._read_head(now)
        if self._framing is not None and not self.complete:
            self._add(self._framing.feed(data), now)
            self.complete = self._framing.complete or len(self.body) >= LARGEST

    def end(self, now: float) -> None:
        """The connection has ended."""
        self.ended_at = now
        self.complete = True

    def header(self, name: str) -> str:
        """The value of a field, joined if it is there more than once; empty if it is not there."""
        return ", ".join(value for each, value in self.fields if each.lower() == name)

    def first_at(self) -> float | None:
        """When the first byte of the body came."""
        return self._times[0] if self._times else None

    def last_at(self) -> float | None:
        """When the newest byte of the body came."""
        return self._times[-1] if self._times else None

    def times(self) -> tuple[float, ...]:
        """When something came."""
        return tuple(self._times)

    def found_at(self, text: bytes) -> float | None:
        """When ``text`` was in the body as a whole."""
        start = self.body.find(text)
        if start < 0:
            return None
        return self._times[bisect_left(self._lengths, start + len(text))]

    def _add(self, content: bytes, now: float) -> None:
        if self._inflating is not None:
            try:
                content = self._inflating.decompress(content)
            except zlib.error:
                raise Unreadable from None
        if content:
            self.body += content
            self._times.append(now)
            self._lengths.append(len(self.body))

    def _read_head(self, now: float) -> bytes:
        """Read the head if all of it is here; returns what is behind it."""
        while not self.head_at:
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(self._head) > LONGEST_HEAD or not b"HTTP/1.".startswith(self._head[:7]):
                    raise Unreadable
                return b""
            self._head = rest
            self._parse(head.decode("latin-1"))
            if self.status == 101 or self.status >= 200:
                self.head_at = now
        self._framing = self._framing_of()
        self.complete = self._framing.complete
        if self.header("content-encoding").lower() in ("gzip", "deflate", "x-gzip"):
            self._inflating = zlib.decompressobj(wbits=47)
        return self._head

    def _parse(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status, _, self.phrase = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
            raise Unreadable
        self.status = int(status)
        pairs = (line.partition(":") for line in lines)
        self.fields = tuple((name.strip(), value.strip()) for name, _, value in pairs)

    def _framing_of(self) -> Chunks | Identity:
        if self.status != 101 and self.status not in _HAS_BODY:
            return Identity(0)
        if "chunked" in self.header("transfer-encoding").lower():
            return Chunks()
        length = self.header("content-length")
        return Identity(int(length) if length.isascii() and length.isdigit() else None)
