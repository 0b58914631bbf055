"""The connections of the TCP port together: made, told of new settings, and ended."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from comet.access.access import Access
from comet.config import Config
from comet.consumers import Consumers
from comet.metrics import Metrics
from comet.resp.protocol import RespProtocol
from comet.resp.session import Intake, Refused
from comet.router import Router


class RespFactory(Factory[RespProtocol]):
    """Makes a connection's protocol. Without ``access`` everybody may do everything."""

    noisy = False

    def __init__(  # noqa: PLR0913, PLR0917 (the last three may be left out)
        self,
        router: Router,
        config: Config,
        metrics: Metrics,
        refused: Refused | None = None,
        consumers: Consumers | None = None,
        access: Access | None = None,
    ) -> None:
        self._intake = Intake(router, config, metrics, refused)
        self._intake.consumers = consumers
        self._intake.access = access
        self.connections: set[RespProtocol] = set()
        router.each_second.append(self._each_second)

    @property
    def proxies(self) -> tuple[str, ...]:
        """Who may say whose a connection is."""
        return self._intake.config.proxy

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._intake.configure(config)
        for protocol in self.connections:
            protocol.reconsider()

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

    def _each_second(self) -> None:
        self._intake.patience.look(self._intake.config.stall)
