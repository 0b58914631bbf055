"""Connections that are refused: each has an answer, and a moment to read it.

A socket that is closed with unread bytes in it resets the connection, and the answer may be lost on its way. So our
direction is closed, and what the client still sends is ignored until it leaves. The trap is a flood: there are never
more than :data:`MOST` of these, none for longer than :data:`LINGER`, and what comes beyond has its answer and is closed
in the same moment; else the descriptors of the refused would be what makes more of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from comet.interfaces import Clock
from comet.sockets import take_over

MOST = 32
LINGER = 2.0
"""How many refused connections may be open, and for how many seconds each."""


class Partings:
    """The connections that were refused and are still open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[_Parted, float] = {}

    def __iter__(self) -> Iterator[Protocol]:
        """Yield the protocol of each."""
        return iter(self._open)

    def part(self, transport: Any, answer: bytes) -> None:
        """Send ``answer`` on ``transport``, on which nothing was sent before, and close it. Its protocol hears nothing
        of it any more."""
        parted = _Parted(self._open, transport)
        take_over(transport, parted)
        if len(self._open) >= MOST:
            _close_at_once(transport, answer)
            return
        self._open[parted] = self._clock.seconds() + LINGER
        transport.write(answer)
        if hasattr(transport, "wrappedProtocol"):
            transport.loseConnection()  # TLS waits for the client's own goodbye
        else:
            transport.loseWriteConnection()

    def sweep(self, now: float) -> None:
        """Close those that had their moment."""
        for parted in [parted for parted, until in self._open.items() if until <= now]:
            parted.transport.abortConnection()


class _Parted(Protocol):
    """Ignores what comes, until the client leaves."""

    transport: Any

    def __init__(self, others: dict[_Parted, float], transport: Any) -> None:
        self._others = others
        self.transport = transport

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._others.pop(self, None)


def _close_at_once(transport: Any, answer: bytes) -> None:
    if not isinstance(transport, Connection):
        transport.abortConnection()
        return
    try:
        os.write(transport.fileno(), answer)
        os.read(transport.fileno(), 65_536)  # an unread request would have it reset
    except OSError:
        pass  # it has gone, or has sent nothing yet
    # Not loseConnection, which takes a turn of the reactor: in one turn more are accepted than may be open.
    transport.connectionLost(connectionDone)
