"""Target: a whole TCP port in memory, with a subscriber on it that must not notice.

The store holds back now and then, as one on a disk does, so that commands wait for each other.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from comet.consumers import Consumers
from comet.resp.factory import RespFactory
from comet.resp.protocol import RespProtocol
from tests.fakes import House, Subscriber, access_of
from tests.fuzz.http_targets import GUARDED, key_file
from tests.fuzz.resp_input import commands
from tests.fuzz.scripts import Script, Step, split
from tests.resp_ports import Wire
from tests.resp_reading import values

runs = split(commands)

LONG = 60
"""Seconds that pass before the client leaves."""


def play(script: Script) -> None:
    """Play ``script`` on a quick store and on a slow one, as somebody who may do everything and as a stranger."""
    _play(script, {}, slow=False)
    _play(script, {}, slow=True)
    _play(script, {**GUARDED, "key": (key_file(),), "auth_timeout": 10.0}, slow=False)


class Port:
    """A TCP port and what is behind it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.house = House(max_payload=2_000, **settings)
        router, metrics = self.house.router, self.house.metrics
        access = access_of(router, self.house.clock)
        self.factory = RespFactory(router, router.config, metrics, None, Consumers(router), access)

    def connect(self) -> tuple[RespProtocol, Wire]:
        """Open a connection."""
        wire = Wire()  # type: ignore[no-untyped-call]
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(wire)  # type: ignore[no-untyped-call]
        return protocol, wire


def _play(script: Script, settings: dict[str, Any], *, slow: bool) -> None:
    port = Port(settings)
    house = port.house
    honest = Subscriber(house, "still/here")
    client = Client(port)
    for step in script:
        house.store.holds = slow
        client.do(step)
        house.turn()
        house.store.holds = False
        house.store.release()
        house.turn()
    house.wait(LONG)
    client.leave()
    house.publish(("still/here", "yes"))
    assert honest.messages() == ["yes"], "the honest subscriber was not served"
    honest.leave()
    house.wait(5)
    assert not port.factory.connections
    assert house.metrics.tcp_connections == 0
    left = house.left_behind()
    assert not left, left
    limits = house.router.limits
    counted = [*limits._from, *(name for each in limits._streams.values() for name in each)]
    assert not (limits._connections or counted), counted


class Client:
    """Plays the steps of a script. What is sent behind its FIN goes out on another connection."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._open: tuple[RespProtocol, Wire] | None = None
        self._ended = False

    def do(self, step: Step) -> None:
        """Do ``step``."""
        match step.verb:
            case "send":
                self._send(step.data)
            case "wait":
                self._port.house.wait(step.seconds)
            case "stall":
                self._connection()[1].full = True
            case "resume":
                self._resume()
            case _:
                self._end()

    def _connection(self) -> tuple[RespProtocol, Wire]:
        if self._ended:
            self.leave()
        if self._open is None:
            self._open = self._port.connect()
        return self._open

    def _send(self, data: bytes) -> None:
        protocol, wire = self._connection()
        if not _is_over(wire):
            protocol.dataReceived(data)

    def _resume(self) -> None:
        protocol, wire = self._connection()
        wire.full = False
        if wire.producer is not None and not _is_over(wire):
            protocol.resumeProducing()

    def _end(self) -> None:
        protocol, wire = self._connection()
        if not _is_over(wire):
            protocol.readConnectionLost()
            self._ended = True

    def leave(self) -> None:
        """Leave, and look at what was answered: nothing but whole values."""
        if self._open is not None:
            protocol, wire = self._open
            self._open, self._ended = None, False
            values(wire.taken())
            protocol.connectionLost(Failure(ConnectionDone()))


def _is_over(wire: Wire) -> bool:
    return wire.disconnecting or wire.aborted
