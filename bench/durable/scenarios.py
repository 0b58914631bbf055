"""What is measured of the durable log: a row a scenario, each with the memory store beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from bench.durable.publishing import under_load
from bench.durable.replaying import replay_all, replay_topic
from bench.durable.starting import start
from bench.durable.stores import STORES, Ground, Row
from bench.measuring import Figures
from bench.scenarios import CPU, CPU_PUBLISH, DELIVERIES, LAST_P50, P50, P99, PUBLISHES, Column, Scenario

MEMORY = "memory"
"""The row to which ratios are given."""


class Case(NamedTuple):
    """A scenario, how its rows differ, and what measures one of them."""

    scenario: Scenario
    rows: Mapping[str, Row]
    measure: Callable[[Ground, Row, Mapping[str, float]], Figures]


PUBLISHED = PUBLISHES._replace(ratio=True)
DELIVERED = DELIVERIES._replace(ratio=True)
ACKNOWLEDGED_P50 = Column("acknowledgement_p50", "acknowledged p50 ms", "{:,.2f}")
ACKNOWLEDGED_P99 = Column("acknowledgement_p99", "acknowledged p99 ms", "{:,.2f}")
ACKNOWLEDGED_MAX = Column("acknowledgement_max", "acknowledged max ms", "{:,.1f}")
DELIVERED_P50 = Column("delivery_p50", "delivered p50 ms", "{:,.2f}")
DELIVERED_P99 = Column("delivery_p99", "delivered p99 ms", "{:,.2f}")
FILE = Column("file", "file at the end, MB", "{:,.1f}")
READ = Column("messages_per_second", "messages/s", "{:,.0f}", ratio=True)
READ_TIME = Column("milliseconds", "all of it, ms", "{:,.1f}")
READ_CPU = Column("cpu_per_message", "CPU µs/message", "{:,.2f}", ratio=True)
READ_GROWTH = Column("growth", "growth of RSS, MB", "{:,.1f}")
READER_CPU = Column("reader_per_message", "the reader's own, µs", "{:,.2f}")
START = Column("seconds", "serving after s", "{:,.2f}")
START_CPU = Column("cpu_seconds", "CPU s", "{:,.2f}")
RESIDENT = Column("resident", "RSS, MB", "{:,.1f}")
PEAK = Column("peak", "largest RSS, MB", "{:,.1f}")

PIPELINED = {"subscribers": 0, "window": 1024, "depth": 1024, "warm": 0.5, "run": 4, "drain": 20}
PACED = {"subscribers": 1, "window": 1024, "depth": 256, "rate": 1000, "warm": 1, "run": 10, "drain": 20}
FAN_OUT = {"subscribers": 10_000, "warm": 0.5, "run": 4, "drain": 20}
STEADY = {
    "subscribers": 0,
    "window": 1024,
    "depth": 4096,
    "topics": 100,
    "rate": 20_000,
    "burst": 20,
    "warm": 2,
    "run": 10,
    "drain": 20,
}

STORED = 1_000_000
KEPT_BYTES = 8 * 1024**2
"""What ``trim`` keeps: four seconds of its publishing, about."""


def _published(name: str, text: str, face: str) -> Case:
    columns = (CPU_PUBLISH, PUBLISHED, ACKNOWLEDGED_P50, ACKNOWLEDGED_P99, FILE)
    scenario = Scenario(name, f"one connection pipelines {text} of 100 bytes", (), PIPELINED, columns)
    return Case(scenario, _each_store(), under_load(scenario, face))


def _replayed(name: str, text: str, topics: int, measure: Callable[..., Figures]) -> Case:
    columns = (READ, READ_CPU, READ_TIME, READ_GROWTH, READER_CPU)
    return Case(Scenario(name, text, (), {"messages": STORED, "topics": topics}, columns), _each_store(), measure)


def _fanned_out(name: str, text: str, window: int) -> Case:
    columns = (CPU, DELIVERED, P50, P99, LAST_P50)
    scenario = Scenario(name, f"10,000 subscribers, {text}", (), {**FAN_OUT, "window": window}, columns)
    return Case(scenario, _each_store(), under_load(scenario, "comet"))


def _paced() -> Case:
    columns = (ACKNOWLEDGED_P50, ACKNOWLEDGED_P99, DELIVERED_P50, DELIVERED_P99, ACKNOWLEDGED_MAX)
    text = "1,000 messages a second, one at a time: to the acknowledgement, and to a subscriber over SSE"
    scenario = Scenario("latency", text, (), PACED, columns)
    return Case(scenario, _each_store(), under_load(scenario, "comet"))


def _trimmed() -> Case:
    columns = (ACKNOWLEDGED_P50, ACKNOWLEDGED_P99, ACKNOWLEDGED_MAX, CPU_PUBLISH, FILE)
    text = "20,000 messages a second, while all that is older than the newest 8 MiB is trimmed; and while nothing is"
    rows = _each_store()
    for store in STORES:
        if STORES[store]:
            rows[f"{store}, trimming"] = Row(store, options={"keep_bytes": KEPT_BYTES})
    scenario = Scenario("trim", text, (), STEADY, columns)
    return Case(scenario, rows, partial(_trimming, under_load(scenario, "comet")))


def _trimming(measure: Callable[..., Figures], ground: Ground, row: Row, options: Mapping[str, float]) -> Figures:
    load = {name: value for name, value in options.items() if name != "keep_bytes"}
    keep = ("--keep-bytes", str(int(options["keep_bytes"]))) if "keep_bytes" in options else ()
    return measure(ground, row._replace(arguments=keep), load)


def _started() -> Case:
    columns = (START, START_CPU, PEAK, RESIDENT)
    text = "from starting the process to serving, with 1,000 topics and 100 messages of each retained in memory"
    rows = {MEMORY: Row(MEMORY), "nothing stored": Row("commit")}
    stored: Mapping[str, Mapping[str, float]] = {
        "100,000 stored": {"messages": STORED // 10},
        "1,000,000 stored": {"messages": STORED},
        "1,000,000 stored, killed": {"messages": STORED, "killed": 1},
        "1,000,000 stored and retained": {"messages": STORED, "retained": 1000},
    }
    for name, options in stored.items():
        rows[name] = Row("commit", options=options)
    return Case(Scenario("start", text, (), {"topics": 1000, "retained": 100}, columns), rows, start)


def _each_store() -> dict[str, Row]:
    return {store: Row(store) for store in STORES}


TABLE = (
    _published("publish", "PUBLISH lines", "comet"),
    _published("publish-arrays", "PUBLISH in arrays", "comet, arrays"),
    _published("publish-xadd", "XADD", "comet, XADD"),
    _paced(),
    _replayed("replay", "a reader of the one topic from its first message on", 1, replay_all),
    _replayed("replay-wildcard", "a reader of all of 1,000 topics by a wildcard", 1000, replay_all),
    _replayed("replay-topic", "a reader of one of 1,000 topics", 1000, replay_topic),
    _fanned_out("fanout", "one message in flight", 1),
    _fanned_out("fanout-32", "32 messages in flight", 32),
    _started(),
    _trimmed(),
)

CASES: Mapping[str, Case] = {case.scenario.name: case for case in TABLE}

LEAST: Mapping[str, float] = {"run": 0.3, "warm": 0.1, "subscribers": 100, "messages": 2000, "keep_bytes": 64 * 1024}
"""What scales, and what it is not made smaller than by that."""


def scaled(options: Mapping[str, float], scale: float) -> dict[str, float]:
    """Return ``options`` with less of everything that scales."""
    return {name: _scaled(value, scale, LEAST.get(name, value)) for name, value in options.items()}


def _scaled(value: float, scale: float, least: float) -> float:
    return min(value, max(least, type(value)(value * scale)))
