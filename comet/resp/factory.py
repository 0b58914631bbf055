"""The connections of the TCP port together: made, told of new settings, and ended."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from comet.access.access import Access
from comet.consumers import Consumers
from comet.metrics import Metrics
from comet.resp.protocol import RespProtocol
from comet.resp.session import Intake, Refused
from comet.router import Router


class Settings(Protocol):
    """What this face wants to know of the configuration."""

    @property
    def max_payload(self) -> int:
        """The most bytes of a payload."""


class RespFactory(Factory[RespProtocol]):
    """Makes a connection's protocol."""

    noisy = False

    def __init__(
        self,
        router: Router,
        settings: Settings,
        metrics: Metrics,
        refused: Refused | None = None,
        consumers: Consumers | None = None,
        access: Access | None = None,  # noqa: ARG002
    ) -> None:
        self._intake = Intake(router, settings.max_payload, metrics, refused)
        self._intake.consumers = consumers
        self.connections: set[RespProtocol] = set()
        self.proxies: tuple[str, ...] = ()

    def configure(self, settings: Settings) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._intake.max_payload = settings.max_payload
        for protocol in self.connections:
            protocol.take(settings.max_payload)

    def buildProtocol(self, addr: IAddress | None) -> RespProtocol:  # noqa: ARG002
        """Return the protocol of one connection."""
        protocol = RespProtocol(self._intake, self.connections)
        protocol.factory = self
        return protocol

    def finish(self) -> None:
        """Close each connection after the replies to what it has sent so far. New ones are the port's affair."""
        for protocol in tuple(self.connections):
            protocol.finish()

    def look(self) -> bool:
        """To be called some times a second after :meth:`finish`; returns whether connections are left."""
        for protocol in tuple(self.connections):
            protocol.look()
        return bool(self.connections)
