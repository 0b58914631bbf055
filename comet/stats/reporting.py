"""The daemon's own messages: once a second, on topics under ``$stats``, as long as somebody subscribes to them.

They go through the log like any others, so that history and resuming work. What nobody wants is not worked out; a list
that takes longer than a second to work out is not begun again before it is done.
"""

from __future__ import annotations

from typing import Any

from msgspec.json import Encoder
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.errors import StoreFailed
from comet.message import Draft
from comet.router import Router
from comet.stats.figures import Figures
from comet.stats.standing import Standing, Wanted

DAEMON, TOPICS, STREAMS = "$stats/daemon", "$stats/topics", "$stats/streams"

LISTED = 20
"""Topics and streams that a message lists."""

_log = Logger()
_encode = Encoder().encode


class Reporter:
    """Publishes on ``router`` what ``figures`` and ``standing`` say of it."""

    def __init__(self, router: Router, figures: Figures, standing: Standing) -> None:
        self._router = router
        self._figures = figures
        self._standing = standing
        self._listing = False

    def each_second(self) -> None:
        """To be called once a second."""
        wanted = self._router.receivers
        if wanted(DAEMON):
            self._publish(DAEMON, self._figures.daemon())
        if wanted(TOPICS):
            self._publish(TOPICS, {"topics": self._figures.busiest(LISTED)})
        if wanted(STREAMS) and not self._listing:
            self._listing = True
            listed = self._standing.slowest(Wanted(LISTED))
            listed.addCallback(self._publish_streams).addErrback(self._failed)

    def _publish_streams(self, found: list[dict[str, Any]]) -> None:
        self._listing = False
        self._publish(STREAMS, {"streams": found})

    def _publish(self, topic: str, value: dict[str, Any]) -> None:
        published: Deferred[Any] = self._router.report([Draft(topic, _encode(value), "application/json")])
        published.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._listing = False
        if failure.check(StoreFailed):
            _log.warn("a report was not stored: {reason}", reason=str(failure.value))
        else:
            _log.failure("a report failed", failure)
