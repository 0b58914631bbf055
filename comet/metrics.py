"""The daemon's figures: plain integers of one object, because a counter on the hot path must cost one addition.

``METRICS`` is the table: name, kind and help of each, in the order of the exposition. :meth:`Metrics.exposition` writes
the Prometheus text format (version 0.0.4); what others know better (the log's size, say) is handed in as gauges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """One row of the table. ``label`` names the one label that the metric has, if any."""

    name: str
    kind: str
    help: str
    label: str = ""


METRICS = (
    Metric("published", "counter", "Messages taken from publishers."),
    Metric("published_bytes", "counter", "Payload bytes of those."),
    Metric("repeated", "counter", "Publishes that repeated a known idempotency key and published nothing."),
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
    Metric("tcp_connections", "gauge", "Open TCP publisher connections."),
    Metric("subscriptions", "gauge", "Open subscriptions, by transport.", "transport"),
    Metric("reading", "gauge", "Subscriptions that are not live: behind, or being caught up."),
    Metric("audiences", "gauge", "Groups of live subscriptions that share their bytes."),
    Metric("retained", "gauge", "Messages retained."),
    Metric("retained_bytes", "gauge", "Bytes that the retained messages are counted as."),
    Metric("topics", "gauge", "Topics that have retained messages."),
    Metric("keys", "gauge", "Idempotency keys remembered."),
    Metric("reactor_lag", "gauge", "Seconds by which the last sweep of the router came late."),
)


class Tally:
    """What was written to the subscribers of one transport. Audiences hold on to theirs: no look-up on the hot path."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0


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
    commands = 0
    protocol_errors = 0
    tcp_connections = 0
    reactor_lag = 0.0

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self.subscribed: dict[str, int] = {}
        self.refused: dict[str, int] = {}

    def tally(self, transport: str) -> Tally:
        """What counts the deliveries of ``transport``."""
        return self._tallies.setdefault(transport, Tally())

    @property
    def delivered(self) -> dict[str, int]:
        """Messages written, by transport."""
        return {transport: tally.messages for transport, tally in self._tallies.items()}

    @property
    def delivered_bytes(self) -> dict[str, int]:
        """Bytes written, by transport."""
        return {transport: tally.bytes for transport, tally in self._tallies.items()}

    def count_refusal(self, code: str) -> None:
        """Note that something was refused with ``code``."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def exposition(self, gauges: Mapping[str, float | Mapping[str, float]]) -> bytes:
        """The whole table as Prometheus text; ``gauges`` has the values of those that are not counted here."""
        lines: list[str] = []
        for metric in METRICS:
            value: Any = gauges[metric.name] if metric.name in gauges else getattr(self, metric.name)
            suffix = "_total" if metric.kind == "counter" else ""
            name = f"comet_{metric.name}{suffix}"
            lines += (f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}")
            if metric.label:
                lines += (f'{name}{{{metric.label}="{key}"}} {number}' for key, number in sorted(value.items()))
            else:
                lines.append(f"{name} {value}")
        return "\n".join([*lines, ""]).encode()
