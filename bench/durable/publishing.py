"""The load of ``python -m bench`` before a daemon with the store of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.durable.stores import Ground, Row, size_of
from bench.measuring import Figures, measure
from bench.scenarios import Scenario
from bench.servers import FACES

Measure = Callable[[Ground, Row, Mapping[str, float]], Figures]


def under_load(scenario: Scenario, face: str) -> Measure:
    """Return what runs the load once, talking to the daemon as ``face`` does."""

    def run(ground: Ground, row: Row, options: Mapping[str, float]) -> Figures:
        with ground.directory() as directory:
            figures = measure(ground.place, ground.server(row, directory), FACES[face], scenario, options)
            return {**figures, "file": size_of(directory) / 1e6}

    return run
