"""Patience: how long a connection may take, to AUTH if it has to, and to take what it is sent.

There is no timer for each: one look a second finds those whose time is over. It counts seconds by itself, so a clock
that is set does not end connections.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Any, NamedTuple, Protocol

from twisted.internet.tcp import Connection as Transport


class Impatient(Protocol):
    """A connection, as far as its time goes."""

    transport: Any

    def overdue(self) -> None:
        """It was expected to AUTH by now."""

    def stalled(self) -> None:
        """It has taken nothing of what it is sent for too long."""


class Stuck(NamedTuple):
    """Since which second a connection is stuck, with how many bytes."""

    since: int
    unsent: int


class Patience:
    """Knows of each connection how long it may take."""

    def __init__(self) -> None:
        self._second = 0
        self._expected: dict[Impatient, int] = {}
        self._due: dict[int, dict[Impatient, None]] = {}
        # Those that have been stuck for longest stand in front.
        self._stuck: dict[Impatient, Stuck] = {}

    def __len__(self) -> int:
        """How many connections there is something to remember of."""
        return len(self._expected.keys() | self._stuck.keys())

    def expect(self, connection: Impatient, seconds: float) -> None:
        """Have ``connection`` be overdue in so many seconds, and no earlier; perhaps never."""
        due = self._expected.pop(connection, None)
        if due is not None:
            same = self._due[due]
            del same[connection]
            if not same:
                del self._due[due]
        if seconds != inf:
            due = self._expected[connection] = self._second + 1 + ceil(seconds)
            self._due.setdefault(due, {})[connection] = None

    def begin(self, connection: Impatient) -> None:
        """``connection`` is sent something that it has yet to take."""
        self._stuck.pop(connection, None)
        self._stuck[connection] = Stuck(self._second, unsent(connection.transport))

    def end(self, connection: Impatient) -> None:
        """``connection`` has taken everything."""
        self._stuck.pop(connection, None)

    def forget(self, connection: Impatient) -> None:
        """``connection`` is gone."""
        self.expect(connection, inf)
        self.end(connection)

    def look(self, stall: float) -> None:
        """To be called once a second: those who are overdue are told, and those who were stuck for ``stall`` seconds
        without taking a single byte."""
        self._second += 1
        for connection in list(self._due.get(self._second, ())):
            self.expect(connection, inf)
            connection.overdue()
        while self._stuck:
            connection, stuck = next(iter(self._stuck.items()))
            if self._second - stuck.since <= stall:
                return
            del self._stuck[connection]
            if unsent(connection.transport) < stuck.unsent:
                self.begin(connection)
            else:
                connection.stalled()


def unsent(transport: Any) -> int:
    """How many bytes ``transport`` keeps, as far as that can be found out. Twisted has no public way to ask."""
    while hasattr(transport, "wrappedProtocol"):  # TLS, PROXY protocol
        transport = transport.transport
    if not isinstance(transport, Transport):
        return 0
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
