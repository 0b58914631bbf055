"""How much one client may have and do: connections, streams, requests and publishes, by address and by subject."""

from __future__ import annotations

from typing import NamedTuple

from comet.config import Config
from comet.interfaces import Clock
from comet.metrics import Metrics


class Who(NamedTuple):
    """On whose account something goes. What is empty has no bound: programs on this machine have no address here."""

    address: str
    subject: str = ""


class Limits:
    """The accounts of one daemon."""

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._config = config

    def connected(self, address: str) -> None:
        """Count a connection, or raise :exc:`~comet.errors.TooManyConnections` or
        :exc:`~comet.errors.TooManyFromOne` and count nothing."""

    def disconnected(self, address: str) -> None:
        """Undo :meth:`connected`."""

    def request(self, who: Who) -> None:
        """Count a request or a command, or raise :exc:`~comet.errors.TooManyRequests`."""

    def publish(self, who: Who, count: int) -> None:
        """Count ``count`` messages, or raise :exc:`~comet.errors.TooManyRequests`."""

    def opened(self, who: Who) -> None:
        """Count a stream, or raise :exc:`~comet.errors.TooManyFromOne` and count nothing."""

    def check_room(self, who: Who) -> None:
        """Raise what :meth:`opened` would raise."""

    def closed(self, who: Who) -> None:
        """Undo :meth:`opened`."""

    def each_second(self) -> None:
        """Forget those who have nothing left to count."""
