"""The daemon in numbers, as operators ask for them: ``/stats``, ``/metrics``, ``$stats/daemon``, ``$stats/topics``.

Nothing here is counted while messages pass. The busiest topics in particular are found afterwards, from the newest part
of the log. The traps: at full speed that part is long, so only some of it is looked at and the rest is taken to be like
it; and of a topic with more messages than are retained some are gone, so its share is that of the offsets it still has.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import Any, NamedTuple

from comet import __version__
from comet.interfaces import Clock
from comet.retained import Topic
from comet.router import Router
from comet.stats.process import look, start_time
from comet.stats.rates import Rates

LOOKED_AT = 10_000
"""Messages of the last second that are looked at for the busiest topics: 3 ms."""


class Mark(NamedTuple):
    """How far the log went at a time."""

    offset: int
    time: float


class Figures:
    """The figures of ``router`` and of its process."""

    def __init__(self, router: Router, clock: Clock) -> None:
        self._router = router
        self._clock = clock
        self._rates = Rates(router.metrics, clock)
        self._born = start_time()
        self._marks: tuple[Mark, Mark] | None = None

    def each_second(self) -> None:
        """To be called once a second."""
        self._rates.sample()
        now = Mark(self._router.log.end, self._clock.seconds())
        self._marks = (now if self._marks is None else self._marks[1], now)

    def gauges(self) -> dict[str, Any]:
        """The metrics of the table that the counters do not have."""
        process = look()
        return {
            **self._held(),
            "max_streams": self._router.config.max_streams,
            "build_info": {__version__: 1},
            "process_cpu_seconds": round(process.cpu, 3),
            "process_resident_memory_bytes": process.memory,
            "process_open_fds": process.descriptors_open,
            "process_max_fds": process.descriptors_allowed,
            "process_start_time_seconds": self._born,
        }

    def daemon(self) -> dict[str, Any]:
        """The daemon as a whole."""
        router, counted, process = self._router, self._router.metrics, look()
        return {
            "version": __version__,
            "time": round(router.time(), 3),
            "uptime": round(self._clock.seconds() - self._rates.started, 3),
            "draining": router.draining,
            "epoch": router.epoch,
            "position": str(router.log.position(router.log.end)),
            "rates": self._rates.per_second(),
            "cpu": self._rates.cpu(),
            "memory": process.memory,
            "descriptors": {"open": process.descriptors_open, "allowed": process.descriptors_allowed},
            "connections": {"http": counted.http_connections, "tcp": counted.tcp_connections},
            "flush": self._rates.flushes(),
            "reactor_lag": round(counted.reactor_lag, 6),
            "reactor_lag_max": round(counted.reactor_lag_max, 6),
            "published": counted.published,
            "published_bytes": counted.published_bytes,
            "received_bytes": counted.received_bytes,
            "delivered": counted.delivered,
            "delivered_bytes": counted.delivered_bytes,
            "conflated": counted.conflated,
            "gaps": counted.gaps,
            "slow": counted.slow,
            "stalled": counted.stalled,
            "refused": counted.refused,
            "hooks": dict(counted.hooks),
            "subscriptions": {name: count for name, count in counted.subscriptions.items() if count},
            "live": {name: count for name, count in counted.live.items() if count},
            **self._held(),
        }

    def _held(self) -> dict[str, int]:
        """What there is now."""
        router, log = self._router, self._router.log
        return {
            "reading": len(router.streams) - sum(router.metrics.live.values()),
            "stuck": router.stuck_count,
            "audiences": len(router.audiences),
            "retained": log.count,
            "retained_bytes": log.bytes,
            "topics": log.topic_count,
            "keys": len(router.keys),
        }

    def topic(self, name: str) -> dict[str, Any] | None:
        """A topic that has messages, or None."""
        topic = self._router.log.topic(name)
        if topic is None:
            return None
        return {
            "topic": name,
            "retained": len(topic),
            "position": str(self._router.log.position(topic.newest().offset)),
            "subscribers": self._router.receivers(name),
        }

    def busiest(self, most: int) -> list[dict[str, Any]]:
        """The topics that were published on most in the last second, the busiest in front."""
        if self._marks is None:
            return []
        (start, since), (end, until) = self._marks
        counted: dict[str, list[int]] = {}
        looked, reached = 0, end
        for message in self._router.log.newest_first():
            if message.offset > end:
                continue
            if message.offset <= start or looked >= LOOKED_AT:
                break
            looked, reached = looked + 1, message.offset
            count = counted.setdefault(message.topic, [0, 0])
            count[0] += 1
            count[1] += len(message.payload)
        window = Window(start if looked < LOOKED_AT else reached - 1, end, end - start, until - since)
        return nlargest(most, self._busy(counted, window), key=lambda each: float(each["published"]))

    def _busy(self, counted: dict[str, list[int]], window: Window) -> Iterable[dict[str, Any]]:
        for name, (count, size) in counted.items():
            topic = self._router.log.topic(name)
            if topic is None or name[0] == "$":
                continue
            rate = window.rate(topic, count)
            yield {
                "topic": name,
                "published": round(rate, 1),
                "published_bytes": round(rate * size / count, 1),
                "retained": len(topic),
                "subscribers": self._router.receivers(name),
            }


class Window(NamedTuple):
    """The offsets after ``after``, up to ``end``, which were looked at, of ``all`` that came within ``seconds``."""

    after: int
    end: int
    all: int
    seconds: float

    def rate(self, topic: Topic, count: int) -> float:
        """How many messages a second ``topic`` had, of which ``count`` were found."""
        return count * self.all / (self.end - max(self.after, topic.trimmed)) / self.seconds
