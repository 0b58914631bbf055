"""What a daemon and its successor say to each other, whatever pieces it comes in."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from twisted.internet.testing import StringTransport

from comet.handover.frames import (
    LARGEST,
    VERSION,
    Batch,
    Frame,
    FrameReader,
    Hello,
    Known,
    Late,
    NotAFrame,
    Ready,
    Stored,
    Will,
    Yours,
    encoded,
)
from comet.handover.giving import PATIENCE, Estate, is_trusted
from comet.kept import Entry, Past, Record
from comet.message import Draft, Message
from tests.fakes import House

FRAMES: list[Frame] = [
    Hello(1),
    Batch([Message("a", b"\0\xff", "image/png", 1.5, 1), Message("b/c", b"", "", 2.5, 3)]),
    Known([Entry("a", "k", 1, 1.5)], [Record("consumer", "billing", b"x")]),
    Will(Past("5f0c1a2b", 3, 4, 2.5, 0, {"a": 1}), "memory:", [("http", "tcp:7080")]),
    Ready(),
    Yours(),
    Late(1, [Draft("a", b"x", "", "k")]),
    Stored(1, [5]),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_pieces(size: int) -> None:
    """Frames arrive as they were sent, however the socket cuts them."""
    data = b"".join(map(encoded, FRAMES))
    reader = FrameReader()
    found = [frame for start in range(0, len(data), size) for frame in reader.feed(data[start : start + size])]
    assert found == FRAMES


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", LARGEST + 1),
        struct.pack("!I", 1) + b"\xc1",
        struct.pack("!I", 1) + b"\x80",
        struct.pack("!I", 8) + b"\x81\xa4type\xa1X",
    ],
)
def test_no_frames(data: bytes) -> None:
    """What is no frame, or a larger one than there are, is refused before it is waited for."""
    with pytest.raises(NotAFrame):
        list(FrameReader().feed(data))


class Peer:
    """A socket at whose other end is a process of ``user``."""

    def __init__(self, user: int) -> None:
        self._user = user

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self._user, self._user)


def test_trust() -> None:
    """A daemon's place is given to, and taken from, processes of the same user or of root."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert is_trusted(ours)
    assert is_trusted(Peer(os.geteuid()))
    assert is_trusted(Peer(0))
    assert not is_trusted(Peer(os.geteuid() + 1))


class Silent(StringTransport):
    """The connection of a process of ours that goes no further."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.aborted = False
        self.socket = Peer(0)

    def abortConnection(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("said", [b"", encoded(Hello(VERSION))])
def test_who_goes_no_further_is_given_up(said: bytes) -> None:
    """A successor that stops in the middle is not waited for: it must not keep others from taking over."""
    house, wire = House(), Silent()
    house.publish(("a", "x"))
    estate = Estate(house.router, house.clock, lambda: None)
    giving = estate.buildProtocol(None)
    giving.makeConnection(wire)  # type: ignore[no-untyped-call]
    giving.dataReceived(said)
    house.clock.advance(PATIENCE - 1)
    assert not wire.aborted
    house.clock.advance(1)
    assert wire.aborted
    giving.connectionLost()
    assert estate.claim(estate.buildProtocol(None))
    assert house.publish(("a", "y")) == [2]
