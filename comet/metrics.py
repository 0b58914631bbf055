"""The daemon's figures: plain integers of one object, because a counter on the hot path must cost one addition.

``METRICS`` is the table: name, kind and help of each, in the order of the exposition. :meth:`Metrics.exposition` writes
the Prometheus text format (version 0.0.4); what others know better (the log's size, say) is handed in as gauges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """One row of the table. ``label`` names the one label that the metric has, if any."""

    name: str
    kind: str
    help: str
    label: str = ""
    prefix: str = "comet_"

    @property
    def exposed(self) -> str:
        """The name in the exposition."""
        return f"{self.prefix}{self.name}{'_total' if self.kind == 'counter' else ''}"


METRICS = (
    Metric("published", "counter", "Messages taken from publishers."),
    Metric("published_bytes", "counter", "Payload bytes of those."),
    Metric("repeated", "counter", "Publishes that repeated a known idempotency key and published nothing."),
    Metric("received_bytes", "counter", "Bytes received from clients and publishers, by face.", "face"),
    Metric("delivered", "counter", "Messages written to subscribers, by transport.", "transport"),
    Metric("delivered_bytes", "counter", "Bytes written for them, framing included, by transport.", "transport"),
    Metric("conflated", "counter", "Messages that a newer one of the same topic replaced before a block was made."),
    Metric("gaps", "counter", "Gaps told to subscribers."),
    Metric("slow", "counter", "Times that a live subscriber could not take a block and went back to reading."),
    Metric("stalled", "counter", "Connections dropped because a write stayed stuck."),
    Metric("intruded", "counter", "Held connections dropped because the client sent more bytes."),
    Metric("heartbeats", "counter", "Heartbeats written to subscribers."),
    Metric("subscribed", "counter", "Subscriptions opened, by transport.", "transport"),
    Metric("refused", "counter", "Requests and commands refused, by code.", "code"),
    Metric("commands", "counter", "RESP commands executed."),
    Metric("protocol_errors", "counter", "TCP connections closed for bytes that are not RESP."),
    Metric("authorizations", "counter", "Questions to the application: granted, refused or failed.", "result"),
    Metric("hook_posts", "counter", "Posts of hooks, by result: done or failed.", "result"),
    Metric("acks", "counter", "Acknowledgements of consumers, hooks included, that were kept."),
    Metric("consumers", "gauge", "Acknowledged consumers."),
    Metric("hooks", "gauge", "Hooks, by state: live, behind, retrying, parked.", "state"),
    Metric("http_connections", "gauge", "Open HTTP connections, held responses and WebSockets included."),
    Metric("tcp_connections", "gauge", "Open TCP connections, of publishers and back ends that listen."),
    Metric("subscriptions", "gauge", "Open subscriptions, by transport.", "transport"),
    Metric("live", "gauge", "Subscriptions that have everything and wait for news, by transport.", "transport"),
    Metric("reading", "gauge", "Subscriptions that are not live: behind, or being caught up."),
    Metric("stuck", "gauge", "Of those, the ones whose client has not yet taken what was written."),
    Metric("audiences", "gauge", "Groups of live subscriptions that share their bytes."),
    Metric("retained", "gauge", "Messages retained."),
    Metric("retained_bytes", "gauge", "Bytes that the retained messages are counted as."),
    Metric("topics", "gauge", "Topics that have retained messages."),
    Metric("keys", "gauge", "Idempotency keys remembered."),
    Metric("flush_seconds", "histogram", "Seconds that the flush of a turn took: making blocks, and writing them."),
    Metric("store_commits", "counter", "Transactions of the durable store."),
    Metric("store_commit_seconds", "histogram", "Seconds that each of them took."),
    Metric("store_bytes", "gauge", "Bytes that are in use in the file of the durable store."),
    Metric("store_oldest_seconds", "gauge", "When its oldest message was published, in seconds since 1970; 0: none."),
    Metric("store_trouble", "gauge", "1 while nothing can be stored, and so nothing published; else 0."),
    Metric("max_streams", "gauge", "Held responses that there may be at once."),
    Metric("addresses", "gauge", "Addresses of clients that something is counted for, as far as they have limits."),
    Metric("limit_use", "gauge", "The share of a limit that is used, by whoever uses most of it.", "limit"),
    Metric("reactor_lag", "gauge", "Seconds by which the last sweep of the router came late."),
    Metric("reactor_lag_max", "gauge", "Seconds by which the latest sweep of the last minute came late."),
    Metric("build_info", "gauge", "1; the label says which version runs.", "version"),
    Metric("process_cpu_seconds", "counter", "Seconds of processor time that the process has used.", prefix=""),
    Metric("process_resident_memory_bytes", "gauge", "Bytes of memory that the process occupies.", prefix=""),
    Metric("process_open_fds", "gauge", "File descriptors that are open.", prefix=""),
    Metric("process_max_fds", "gauge", "File descriptors that may be open.", prefix=""),
    Metric("process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.", prefix=""),
)

FLUSH_BOUNDS = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds: a flush to one subscriber takes some 20 µs, one to 2,000 takes 10 ms."""

COMMIT_BOUNDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds: a commit of one message takes some 50 µs, one that waits for the disk (fsync) 300 µs and more."""

PEAK_WINDOW = 60.0

HTTP, TCP = "http", "tcp"
"""The faces."""


class Tally:
    """The subscriptions of one transport, and what was written to them. Audiences hold on to theirs: no look-up on the
    hot path."""

    __slots__ = ("bytes", "live", "messages", "subscriptions")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.subscriptions = 0
        self.live = 0


class Histogram:
    """How often a value was at most each of ``bounds``, and more than the one before; the last of ``counts`` is of
    those above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def quantile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The value that ``share`` of what was counted is at most, as far as the bounds tell; None if nothing was."""
    rank = share * sum(counts)
    if not rank:
        return None
    below, least = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return least + (bound - least) * (rank - below) / count
        below, least = below + count, bound
    return bounds[-1]


class Metrics:
    """The counters. Each metric without a label is an integer attribute, each with one a mapping."""

    published = 0
    published_bytes = 0
    repeated = 0
    conflated = 0
    gaps = 0
    slow = 0
    stalled = 0
    intruded = 0
    heartbeats = 0
    acks = 0
    commands = 0
    protocol_errors = 0
    http_connections = 0
    tcp_connections = 0
    reactor_lag = 0.0
    store_commits = 0
    store_bytes = 0
    store_oldest_seconds = 0.0
    store_trouble = 0
    consumer_count: Callable[[], int] = int
    """How many consumers there are, from whoever has them."""
    hook_states: Callable[[], Mapping[str, int]] = dict
    """How many hooks there are of each state, from whoever has them."""
    limit_uses: Callable[[], Mapping[str, float]] = dict
    """The share of each limit that is used, from whoever knows."""
    address_count: Callable[[], int] = int
    """How many addresses something is counted for, from whoever knows."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._lags: deque[tuple[float, float]] = deque()
        self.subscribed: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.hook_posts: dict[str, int] = {}
        self.authorizations: dict[str, int] = {}
        self.received_bytes = {HTTP: 0, TCP: 0}
        self.flush_seconds = Histogram(FLUSH_BOUNDS)
        self.store_commit_seconds = Histogram(COMMIT_BOUNDS)

    def tally(self, transport: str) -> Tally:
        """What counts the subscriptions of ``transport``."""
        return self._tallies.setdefault(transport, Tally())

    @property
    def delivered(self) -> dict[str, int]:
        """Messages written, by transport."""
        return {transport: tally.messages for transport, tally in self._tallies.items()}

    @property
    def delivered_bytes(self) -> dict[str, int]:
        """Bytes written, by transport."""
        return {transport: tally.bytes for transport, tally in self._tallies.items()}

    @property
    def consumers(self) -> int:
        """How many consumers there are."""
        return self.consumer_count()

    @property
    def hooks(self) -> Mapping[str, int]:
        """Hooks by state."""
        return self.hook_states()

    @property
    def addresses(self) -> int:
        """Addresses that something is counted for."""
        return self.address_count()

    @property
    def limit_use(self) -> Mapping[str, float]:
        """The share of each limit that is used."""
        return self.limit_uses()

    @property
    def subscriptions(self) -> dict[str, int]:
        """Open subscriptions, by transport."""
        return {transport: tally.subscriptions for transport, tally in self._tallies.items()}

    @property
    def live(self) -> dict[str, int]:
        """Live subscriptions, by transport."""
        return {transport: tally.live for transport, tally in self._tallies.items()}

    @property
    def reactor_lag_max(self) -> float:
        """The largest lag of the last minute."""
        return self._lags[0][1] if self._lags else 0.0

    def count_refusal(self, code: str) -> None:
        """Note that something was refused with ``code``."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def count_authorization(self, result: str) -> None:
        """Note what came of a question to the application."""
        self.authorizations[result] = self.authorizations.get(result, 0) + 1

    def note_lag(self, lag: float, now: float) -> None:
        """Note that the sweep at ``now`` came ``lag`` seconds late."""
        self.reactor_lag = lag
        lags = self._lags  # falling: what a later and larger one follows is never the largest again
        while lags and lags[-1][1] <= lag:
            lags.pop()
        lags.append((now, lag))
        while lags[0][0] < now - PEAK_WINDOW:
            lags.popleft()

    def exposition(self, gauges: Mapping[str, float | Mapping[str, float]]) -> bytes:
        """The whole table as Prometheus text; ``gauges`` has the values of those that are not counted here."""
        lines: list[str] = []
        for metric in METRICS:
            value: Any = gauges[metric.name] if metric.name in gauges else getattr(self, metric.name)
            name = metric.exposed
            lines += (f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} {metric.kind}")
            if isinstance(value, Histogram):
                lines += _buckets(name, value)
            elif metric.label:
                lines += (f"{name}{_labels(metric.label, key)} {number}" for key, number in sorted(value.items()))
            else:
                lines.append(f"{name} {value}")
        return "\n".join([*lines, ""]).encode()


def _buckets(name: str, histogram: Histogram) -> Iterator[str]:
    """Yield the lines of ``histogram``: its buckets are cumulative."""
    below = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        below += count
        yield f"{name}_bucket{_labels('le', str(bound))} {below}"
    yield f"{name}_sum {histogram.sum}"
    yield f"{name}_count {below}"


def _labels(label: str, value: str) -> str:
    quoted = _escaped(value).replace('"', '\\"')
    return f'{{{label}="{quoted}"}}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
