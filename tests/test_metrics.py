"""The figures, and their exposition."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from comet.message import Draft
from comet.metrics import FLUSH_BOUNDS, METRICS, PEAK_WINDOW, Histogram, Metric, Metrics, quantile
from tests.fakes import FakeWriter, House, Subscriber

GAUGES: dict[str, Any] = {
    metric.name: {"sse": 3} if metric.label else 7
    for metric in METRICS
    if metric.kind != "histogram" and not hasattr(Metrics(), metric.name)
}


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """What a strict reader of the exposition finds: the values by name and label."""
    text = metrics.exposition(GAUGES).decode()
    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families] == [metric.exposed.removesuffix("_total") for metric in METRICS]
    assert [family.type for family in families] == [metric.kind for metric in METRICS]
    assert all(family.documentation for family in families)
    found = [sample for family in families for sample in family.samples]
    values = {(sample.name, "".join(sample.labels.values())): sample.value for sample in found}
    assert len(values) == len(found), "a sample is there twice"
    return values


def test_exposition_is_prometheus_text() -> None:
    """Every metric has its help, its type and its samples, each in its own line; counters end in ``_total``."""
    metrics = Metrics()
    metrics.count_refusal("bad_topic")
    metrics.count_refusal("bad_topic")
    metrics.tally("sse").messages += 5
    metrics.tally("sse").live += 2
    metrics.received_bytes["tcp"] += 9
    text = metrics.exposition(GAUGES).decode()
    assert text.endswith("\n")
    assert all(re.match(r"# (HELP|TYPE) \S+ \S|\S+ [0-9.e+-]+$", line) for line in text.splitlines())
    found = samples(metrics)
    assert found["comet_refused_total", "bad_topic"] == 2
    assert found["comet_delivered_total", "sse"] == 5
    assert found["comet_live", "sse"] == 2
    assert found["comet_received_bytes_total", "tcp"] == 9
    assert found["process_open_fds", ""] == 7


def test_names_are_those_that_prometheus_recommends() -> None:
    """Lower case, one prefix, except for what has standard names."""
    for metric in METRICS:
        assert re.fullmatch("(comet|process)_[a-z_]+", metric.exposed)
        assert metric.exposed.endswith("_total") == (metric.kind == "counter")


def test_table_and_attributes_agree() -> None:
    """Each metric of the table is counted somewhere or handed in, under one name."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    metrics = Metrics()
    for metric in METRICS:
        assert metric.name in GAUGES or hasattr(metrics, metric.name), metric.name
        assert metric.help.endswith(".")


def test_label_values_are_escaped() -> None:
    """Whatever a label is, a reader gets it back."""
    metrics = Metrics()
    for value in ('a"b', "a\\b", "a\nb", "ü\u2028"):
        metrics.count_refusal(value)
    found = samples(metrics)
    assert [found["comet_refused_total", value] for value in ('a"b', "a\\b", "a\nb", "ü\u2028")] == [1] * 4


def test_histogram_is_cumulative() -> None:
    """A bucket counts what is at most its bound; sum and count are of all."""
    metrics = Metrics()
    for seconds in (0.00001, 0.0001, 0.00015, 0.3, 7.0):
        metrics.flush_seconds.observe(seconds)
    found = samples(metrics)
    buckets = [found["comet_flush_seconds_bucket", str(bound)] for bound in (*FLUSH_BOUNDS, "+Inf")]
    assert buckets == [1, 1, 2, *[3] * 10, 4, 4, 5]
    assert found["comet_flush_seconds_count", ""] == 5
    assert found["comet_flush_seconds_sum", ""] == pytest.approx(7.30026)


def test_quantiles() -> None:
    """They lie within the bucket, and are none where nothing was counted."""
    histogram = Histogram((1.0, 2.0, 4.0))
    assert quantile(0.5, histogram.bounds, histogram.counts) is None
    for value in (0.5, 1.5, 1.5, 3.0):
        histogram.observe(value)
    assert quantile(0.25, histogram.bounds, histogram.counts) == 1.0
    assert quantile(0.5, histogram.bounds, histogram.counts) == 1.5
    assert quantile(1.0, histogram.bounds, histogram.counts) == 4.0
    histogram.observe(100.0)
    assert quantile(1.0, histogram.bounds, histogram.counts) == 4.0


def test_the_largest_lag_of_the_last_minute() -> None:
    """A short standstill is seen by who looks once a minute, and not for ever."""
    metrics = Metrics()
    assert metrics.reactor_lag_max == 0.0
    for second in range(100):
        metrics.note_lag({10: 0.5, 40: 0.2}.get(second, 0.01), float(second))
        if second in (10, 69, 71, 99):
            wanted = {10: 0.5, 69: 0.5, 71: 0.2, 99: 0.2}[second]
            assert (metrics.reactor_lag_max, second) == (wanted, second)
    metrics.note_lag(0.0, 99 + 2 * PEAK_WINDOW)
    assert (metrics.reactor_lag, metrics.reactor_lag_max) == (0.0, 0.0)


def test_little_is_kept_for_the_largest_lag() -> None:
    """A minute of sweeps and no more, whatever the lags are."""
    metrics = Metrics()
    for number in range(10_000):
        metrics.note_lag(1 / (1 + number), number / 4)
    assert len(metrics._lags) <= 4 * PEAK_WINDOW + 1


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


def test_a_flush_is_timed_once_a_turn() -> None:
    """However many messages and clients a turn has."""
    house = House()
    for transport in ("stream", "sse"):
        Subscriber(house, "news", transport=transport)
    house.publish(Draft("news", b"1"), Draft("news", b"2"))
    house.publish(Draft("news", b"3"))
    house.publish(Draft("other", b"4"))
    assert sum(house.metrics.flush_seconds.counts) == 2
    assert 0 < house.metrics.flush_seconds.sum < 10


def test_live_and_open_subscriptions_are_known_at_any_time() -> None:
    """Of each transport: who comes, falls behind, catches up, changes its topics and goes."""
    house = House()
    metrics = house.metrics

    def counts() -> tuple[int, int]:
        assert metrics.live["stream"] == sum(each.live for each in clients)
        return metrics.subscriptions["stream"], metrics.live["stream"]

    clients = [Subscriber(house, "news", writer=FakeWriter(room)) for room in (1_000_000, 1_000_000, 300)]
    assert counts() == (3, 3)
    house.publish(Draft("news", b"x" * 1_000))
    assert counts() == (3, 2)
    clients[2].drain()
    house.turn()
    assert counts() == (3, 3)
    clients[0].change("other")
    house.turn()
    assert counts() == (3, 3)
    clients.pop().leave()
    assert counts() == (2, 2)
    house.router.stop()
    assert (metrics.subscriptions["stream"], metrics.live["stream"]) == (0, 0)


def test_polls_are_live_while_they_wait() -> None:
    """And are gone once they are answered."""
    house = House()
    Subscriber(house, "news", transport="poll", wait=30.0)
    assert (house.metrics.subscriptions["poll"], house.metrics.live["poll"]) == (1, 1)
    house.publish(Draft("news", b"1"))
    assert (house.metrics.subscriptions["poll"], house.metrics.live["poll"]) == (0, 0)


def test_exposed_names() -> None:
    """A counter says so in its name, and only what is Comet's own has the prefix."""
    assert Metric("a", "counter", "").exposed == "comet_a_total"
    assert Metric("process_a", "gauge", "", prefix="").exposed == "process_a"
