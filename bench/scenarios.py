"""What is measured: a row a scenario. The options of the load are those of ``load.c``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PIPELINED = 256
"""Publishes that are not acknowledged yet on a connection that pipelines, unless the scenario says otherwise."""

POSTING = 64
"""Connections over which publishers post, at most: each has one publish at a time."""


class Column(NamedTuple):
    """A figure: its title, how it is written, and whether its ratio to the floor and to the peers is of interest."""

    name: str
    title: str
    format: str
    ratio: bool = False


class Scenario(NamedTuple):
    """``options`` go to the load, ``arguments`` to the daemon. ``variants`` are further runs of each face but the
    floor's: a suffix of the name, and the options that differ."""

    name: str
    text: str
    faces: tuple[str, ...]
    options: Mapping[str, float]
    columns: tuple[Column, ...]
    arguments: tuple[str, ...] = ()
    variants: Mapping[str, Mapping[str, float]] = {}


CPU = Column("cpu_per_delivery", "CPU µs/delivery", "{:,.3f}", ratio=True)
DELIVERIES = Column("deliveries_per_second", "deliveries/s", "{:,.0f}")
CPU_PUBLISH = Column("cpu_per_publish", "CPU µs/publish", "{:,.2f}", ratio=True)
PUBLISHES = Column("publishes_per_second", "publishes/s", "{:,.0f}")
P50 = Column("delivery_p50", "p50 ms", "{:,.1f}", ratio=True)
P99 = Column("delivery_p99", "p99 ms", "{:,.1f}")
MAX = Column("delivery_max", "max ms", "{:,.1f}")
LAST_P50 = Column("last_delivery_p50", "last subscriber p50 ms", "{:,.1f}", ratio=True)
LAST_P99 = Column("last_delivery_p99", "last subscriber p99 ms", "{:,.1f}")
ACKNOWLEDGED = Column("acknowledgement_p50", "acknowledged p50 ms", "{:,.2f}")
MEMORY = Column("memory_per_stream", "KB/stream", "{:,.2f}")
SUBSCRIBES = Column("subscribes_per_second", "subscribes/s", "{:,.0f}")
CPU_SUBSCRIBE = Column("cpu_per_subscribe", "CPU µs/subscribe", "{:,.1f}", ratio=True)
BEHIND = Column("slow_deliveries", "deliveries to the slow", "{:,.0f}")
GROWTH = Column("growth", "growth of RSS, MB", "{:,.1f}")
STUCK = Column("stuck_sockets", "stuck sockets", "{:,.0f}")
KERNEL = Column("kernel_per_stuck", "kernel KB/stuck socket", "{:,.1f}")

FAULTS = ("lost", "twice", "out_of_order", "damaged", "misrouted", "dropped")
"""What must be zero."""

FAULT_COLUMNS = tuple(Column(name, name.replace("_", " "), "{:,.0f}") for name in FAULTS)

ALL = ("floor", "nchan", "node", "comet")
FAN_OUT = (CPU, DELIVERIES, P50, P99, LAST_P50)
LATENCY = (P50, P99, LAST_P50, LAST_P99, CPU)
TOPICS = (CPU_PUBLISH, PUBLISHES, P50, P99)

BRIEF = {"warm": 0.5, "run": 2, "drain": 20}
LONGER = {"warm": 0.5, "run": 4, "drain": 20}
STUCK_SIZE, STUCK_MESSAGES = 1000, 112
"""9,000 who read, 112 messages of 1,000 bytes: 1 GB of payload is delivered."""

TABLE = (
    Scenario(
        "1k-one",
        "one topic, 1,000 subscribers, one message of 100 bytes in flight",
        ALL,
        {"subscribers": 1000, "window": 1, **BRIEF},
        FAN_OUT,
    ),
    Scenario(
        "10k-one",
        "one topic, 10,000 subscribers, one message in flight: what a fan-out costs",
        ALL,
        {"subscribers": 10_000, "window": 1, **BRIEF},
        FAN_OUT,
    ),
    Scenario(
        "1k-32",
        "one topic, 1,000 subscribers, 32 messages in flight: what putting them together saves",
        ALL,
        {"subscribers": 1000, "window": 32, **BRIEF},
        FAN_OUT,
    ),
    Scenario(
        "10k-32",
        "one topic, 10,000 subscribers, 32 messages in flight",
        ALL,
        {"subscribers": 10_000, "window": 32, **BRIEF},
        FAN_OUT,
    ),
    Scenario(
        "1k-rate",
        "10 messages a second to 1,000 subscribers: the delay of the median and of the last one",
        ALL,
        {"subscribers": 1000, "rate": 10, "window": 32, **LONGER},
        LATENCY,
    ),
    Scenario(
        "10k-rate",
        "5 messages a second to 10,000 subscribers",
        ALL,
        {"subscribers": 10_000, "rate": 5, "window": 32, **LONGER},
        LATENCY,
    ),
    Scenario(
        "10k-idle",
        "10,000 subscribers come, and nothing is published: memory of each stream, subscribes per second",
        ALL,
        {"subscribers": 10_000, "run": 0},
        (CPU_SUBSCRIBE, SUBSCRIBES, MEMORY),
    ),
    Scenario(
        "10k-topics",
        "10,000 topics with a subscriber each, publishes pipelined (nchan and node: over 64 connections)",
        ALL,
        {"subscribers": 10_000, "topics": 10_000, "window": 1024, **BRIEF},
        TOPICS,
    ),
    Scenario(
        "10k-topics-post",
        "the same, published over 64 kept connections with one publish at a time (the floor: one line)",
        ("floor", "nchan", "node", "comet, POST"),
        {"subscribers": 10_000, "topics": 10_000, "window": 1024, "connections": 64, "depth": 1, **BRIEF},
        TOPICS,
    ),
    Scenario(
        "10k-websocket",
        "10k-one over WebSocket (the floor: SSE)",
        ("floor", "comet, WebSocket"),
        {"subscribers": 10_000, "window": 1, **BRIEF},
        FAN_OUT,
    ),
    Scenario(
        "publish",
        "one connection pipelines publishes to a topic without subscribers",
        ("floor", "comet", "comet, arrays"),
        {"subscribers": 0, "window": 1024, "depth": 1024, **BRIEF},
        (CPU_PUBLISH, PUBLISHES, ACKNOWLEDGED),
    ),
    Scenario(
        "1k-slow",
        "50 of 1,000 subscribers read once in 20 ms, with a small buffer; 32 messages in flight to the others. Comet "
        "is told to retain 100,000 messages: with 1,000 the slow fall out of what is retained, and are told so",
        ("nchan", "node", "comet"),
        {"subscribers": 1000, "slow": 50, "window": 32, "warm": 0.5, "run": 2, "drain": 60},
        (*FAN_OUT, BEHIND),
        arguments=("--retain-messages", "100000"),
    ),
    Scenario(
        "10k-poll",
        "10,000 long pollers on kept connections, a message every 2 seconds, each asking again from `next` "
        "(the floor: SSE)",
        ("floor", "comet, polls"),
        {"subscribers": 10_000, "rate": 0.5, "window": 32, "warm": 2, "run": 20, "drain": 10},
        (P50, P99, MAX, LAST_P50, CPU),
    ),
    Scenario(
        "stuck",
        "1 GB is delivered to 9,000 subscribers, one message of 1,000 bytes in flight, while 1,000 others never read; "
        "and the same without those",
        ("nchan", "node", "comet"),
        {
            "subscribers": 10_000,
            "stuck": 1000,
            "size": STUCK_SIZE,
            "messages": STUCK_MESSAGES,
            "window": 1,
            "warm": 0,
            "drain": 10,
        },
        (GROWTH, STUCK, KERNEL, P50, P99, CPU),
        variants={", nobody stuck": {"subscribers": 9000, "stuck": 0}},
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in TABLE}

QUICK_SCENARIOS = ("10k-topics-post", "10k-websocket", "publish", "1k-slow", "10k-poll", "stuck")
"""What a quick run takes if it is not told: each thing that is done, once, and under 20 seconds in all."""

QUICK: Mapping[str, float] = {
    "subscribers": 200,
    "topics": 200,
    "slow": 10,
    "stuck": 20,
    "warm": 0.1,
    "run": 0.3,
    "drain": 10,
}
"""What no option is larger than in a quick run."""

QUICKEST: Mapping[str, float] = {"rate": 20}
"""And what none is smaller than, where it is there at all."""


def quick(options: Mapping[str, float]) -> dict[str, float]:
    """Return ``options`` made small and short."""
    small = {name: min(value, QUICK.get(name, value)) for name, value in options.items()}
    return {name: max(value, QUICKEST.get(name, value)) for name, value in small.items()}


def flow(options: Mapping[str, float], by_post: bool) -> dict[str, float]:
    """Return how many connections publish, and how far ahead, so that the window of ``options`` is used."""
    window = options.get("window", 1)
    if by_post:
        return {"connections": min(window, POSTING), "depth": 1}
    return {"connections": 1, "depth": min(window, PIPELINED)}
