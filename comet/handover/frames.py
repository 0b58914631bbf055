"""What a daemon and its successor say to each other over a UNIX socket.

Each frame is its length (four bytes, big-endian) and a MessagePack object, tagged with its type::

    successor                              predecessor
    Hello(version)                    →
                                      ←    Batch(messages) …            it goes on serving meanwhile
                                      ←    Known(keys, records) …       now it stands still
                                      ←    Will(past, faces)            with the listening sockets
    Ready()                           →
                                      ←    Yours()                      from here on the successor serves
                                      ←    Late(number, drafts) …       what publishers still brought here
    Stored(number, offsets) …         →

A predecessor that hears nothing after its will goes on as if nothing had been; a successor without ``Yours`` ends. The
trap is two daemons that both believe to be the one: only ``Yours`` decides. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Layout

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from comet.kept import Entry, Past, Record
from comet.message import Draft, Message

VERSION = 3
"""To be raised when a frame changes: daemons of different versions do not hand over to each other."""

LARGEST = 256 * 1024 * 1024
"""Bytes of a frame. All but one are small; a will names every topic, and of the longest names the retained bytes let
there be 210 MB."""

_LENGTH = Layout("!I")


class Hello(Struct, frozen=True, tag=True):
    """The successor is here, and speaks this version."""

    version: int


class Batch(Struct, frozen=True, tag=True):
    """Retained messages, after all earlier ones."""

    messages: list[Message]


class Known(Struct, frozen=True, tag=True):
    """Idempotency keys, after all earlier ones, and records."""

    keys: list[Entry]
    records: list[Record]


class Will(Struct, frozen=True, tag=True):
    """All the rest. ``faces`` are the setting and the text of each endpoint, in the order of the sockets; ``store`` is
    where everything else is, if that is not in this process alone: then neither batches nor keys were sent."""

    past: Past
    store: str
    faces: list[tuple[str, str]]


class Ready(Struct, frozen=True, tag=True):
    """The successor has everything, and will serve if it is told to."""


class Yours(Struct, frozen=True, tag=True):
    """The predecessor serves no longer."""


class Late(Struct, frozen=True, tag=True):
    """Drafts, all or none of which are to be stored; ``number`` is for the answer."""

    number: int
    drafts: list[Draft]


class Stored(Struct, frozen=True, tag=True):
    """The drafts of that number have these offsets; none, if they could not be stored."""

    number: int
    offsets: list[int]


Frame = Hello | Batch | Known | Will | Ready | Yours | Late | Stored

_encode = Encoder().encode
_decode = Decoder(Frame).decode


class NotAFrame(Exception):
    """The peer does not speak this language."""


def encoded(frame: Frame) -> bytes:
    """Return ``frame`` as it is sent."""
    data = _encode(frame)
    return _LENGTH.pack(len(data)) + data


class FrameReader:
    """Reads frames from whatever pieces the socket delivers."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes. Raises :exc:`NotAFrame`."""
        self._unread += data
        while len(self._unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread)
            if length > LARGEST:
                raise NotAFrame
            end = _LENGTH.size + length
            if len(self._unread) < end:
                return
            try:
                frame: Frame = _decode(memoryview(self._unread)[_LENGTH.size : end])
            except DecodeError:
                raise NotAFrame from None
            del self._unread[:end]
            yield frame
