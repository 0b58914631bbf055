"""The dashboard for Grafana shows what the daemon tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemons import ROOT
from tests.web_faces import Face

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana.json").read_text())


def panels() -> Iterator[Any]:
    """Every panel that shows something."""
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> Iterator[str]:
    """Every query, those of the variables among them."""
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]


@pytest.fixture
def exposed() -> dict[str, set[str]]:
    """The names in the exposition, each with its labels. Nothing has happened that would fill every label."""
    face = Face()
    wire = face.connect()
    wire.send(b"GET /topics/a?transport=sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
    face.ask("GET", "/nowhere")
    families = text_string_to_metric_families(face.ask("GET", "/metrics").body.decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_queries_name_what_there_is(exposed: dict[str, set[str]]) -> None:
    """A metric that is renamed would leave a panel empty, without a word."""
    for query in queries():
        named = set(re.findall(r"\b(?:comet|process)_[a-z_]+", query))
        assert named, query
        assert named <= exposed.keys(), query
        labels = {label for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(", ")}
        assert labels <= {label for name in named for label in exposed[name]}, query


def test_queries_are_of_the_chosen_daemons() -> None:
    """Each query goes by the variables at the top of the page, and is balanced."""
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"]
            metrics = re.findall(r"\b(?:comet|process)_[a-z_]+", query)
            assert query.count('{job=~"$job", instance=~"$instance"}') == len(metrics), query
            assert all(query.count(opening) == query.count(closing) for opening, closing in ("()", "{}", "[]"))
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            for function in ("rate", "increase"):
                assert len(re.findall(rf"\b{function}\([^)]*\[\$__rate_interval\]\)", query)) == query.count(
                    f"{function}("
                )


def test_counters_are_shown_as_rates() -> None:
    """A counter that is shown as it is says only for how long the daemon has run."""
    for query in queries():
        for name in re.findall(r"\b[a-z_]+_(?:total|bucket|count|sum)\b(?={)", query):
            assert re.search(rf"(rate|increase)\({name}{{", query), query


def test_panels_can_be_told_apart() -> None:
    """Each has an id, a title and a description of its own."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels()]
    assert len(titles) >= 20
    assert all(panel["description"].endswith(".") for panel in panels())
    assert all(panel["fieldConfig"]["defaults"].get("unit") for panel in panels() if panel["type"] != "heatmap")


def test_panels_do_not_overlap() -> None:
    """Grafana would move them."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(column, row) for column in columns for row in rows}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_it_can_be_imported() -> None:
    """It is a dashboard of Grafana 10 that asks which data source to take, and has no number of its own."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 38
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
