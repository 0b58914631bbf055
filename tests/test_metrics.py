"""The figures, and their exposition."""

from __future__ import annotations

import re
from typing import Any

from comet.message import Draft
from comet.metrics import METRICS, Metrics
from tests.fakes import House, Subscriber

GAUGES: dict[str, Any] = {
    metric.name: {"sse": 3} if metric.label else 7
    for metric in METRICS
    if metric.kind == "gauge" and not hasattr(Metrics, metric.name)
}
_SAMPLE = re.compile(r'(comet_[a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? [0-9.e+-]+')


def test_exposition_is_prometheus_text() -> None:
    """Every metric has its help, its type and its samples, each in its own line; counters end in ``_total``."""
    metrics = Metrics()
    metrics.count_refusal("bad_topic")
    metrics.count_refusal("bad_topic")
    metrics.tally("sse").messages += 5
    text = metrics.exposition(GAUGES).decode()
    assert text.endswith("\n")
    declared: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in declared
            declared[name] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] in declared
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in declared.items())
    assert len(declared) == len(METRICS)
    assert 'comet_refused_total{code="bad_topic"} 2' in text
    assert 'comet_delivered_total{transport="sse"} 5' in text
    assert 'comet_subscriptions{transport="sse"} 3' in text


def test_table_and_attributes_agree() -> None:
    """Each metric of the table is counted somewhere or handed in, under one name."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    metrics = Metrics()
    for metric in METRICS:
        assert metric.name in GAUGES or hasattr(metrics, metric.name), metric.name
        assert metric.help.endswith(".")


def test_deliveries_are_counted() -> None:
    """Messages and bytes are counted by transport, live and from history; a slow client is counted once."""
    house = House()
    live, late = Subscriber(house, "news"), Subscriber(house, "news", transport="sse")
    written = sum(map(len, live.writer.blocks)), sum(map(len, late.writer.blocks))
    house.publish(Draft("news", b"1"), Draft("news", b"2"))
    Subscriber(house, "news", since="first")
    assert house.metrics.delivered == {"stream": 4, "sse": 2}
    assert house.metrics.subscribed == {"stream": 2, "sse": 1}
    assert house.metrics.delivered_bytes["sse"] == sum(map(len, late.writer.blocks)) - written[1]
    assert (house.metrics.slow, house.metrics.gaps, house.metrics.published) == (0, 0, 2)
