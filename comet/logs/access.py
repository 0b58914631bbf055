"""The access log: who was refused what and, if that is wished, every request once it is over.

Each refusal is counted here, whether it is told or not. A flood of them must cost little: of a code that comes over and
over only a few are told, and the others are counted (:mod:`comet.logs.bursts`).
"""

from __future__ import annotations

from twisted.logger import Logger

from comet.config import Config
from comet.errors import CometError
from comet.interfaces import Clock
from comet.logs.bursts import MORE, Bursts
from comet.logs.masks import masked
from comet.metrics import Metrics

_log = Logger()


class AccessLog:
    """Counts refusals in ``metrics``, and tells of them as ``access-log`` says."""

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._bursts = Bursts()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        self._refusals = config.access_log != "none"
        self.all = config.access_log == "all"
        """Whether requests that were answered are told too. Then a request that was refused has its line at its end."""

    def refused(self, error: CometError, what: str, peer: str) -> None:
        """Count that ``what``, a request or a command, was refused to ``peer``, and tell."""
        self.count(error)
        if self._refusals and self._bursts.admits(error.code, self._clock.seconds()):
            _log.info(
                "refused {what} of {peer}: {code}: {detail}",
                what=what,
                peer=peer,
                code=error.code,
                detail=masked(error.detail),
            )

    def count(self, error: CometError) -> None:
        """Count a refusal that is told elsewhere."""
        self._metrics.count_refusal(error.code)

    def each_second(self) -> None:
        """Tell how many were not told, of the bursts that are over."""
        self._tell(self._clock.seconds())

    def end(self) -> None:
        """Tell of those that are not over, too."""
        self._tell(float("inf"))

    def _tell(self, now: float) -> None:
        for burst in self._bursts.over(now):
            _log.info(MORE + "{code}", code=burst.key, **burst.fields())
