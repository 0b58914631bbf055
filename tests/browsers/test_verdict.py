"""The judge of the torture: it finds what is wrong, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.browsers.verdict import Judge, Watched

KNOWN = {f"{epoch}-{offset}": "t/a" if offset % 2 else "t/b" for epoch in ("x", "y") for offset in range(1, 5)}
"""Two lives of the log with four messages each, of two topics in turn."""

GOOD = Watched("one", ["t/**", "own"], "first", None, [*KNOWN], [{"since": "x-4", "until": "y-0"}], over=False)


def faults(**changes: Any) -> list[str]:
    """What is wrong, by the end of what is said of it."""
    said = Judge(["x", "y"], KNOWN).faults(replace(GOOD, **changes))
    return [fault.partition("): ")[2] for fault in said]


def test_good() -> None:
    """All of it, with the gap between two lives, is as it should be."""
    assert faults() == []
    assert faults(topics=["t/a", "own"], had=["x-1", "x-3", "y-1", "y-3"]) == []


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "one is missing": ({"had": [place for place in KNOWN if place != "x-2"]}, 1),
    "the first is missing": ({"had": [*KNOWN][1:]}, 1),
    "the last is missing": ({"had": [*KNOWN][:-1]}, 1),
    "one came twice": ({"had": ["x-1", *KNOWN]}, 1),
    "two are in another order": ({"had": ["x-2", "x-1", *[*KNOWN][2:]]}, 1),
    "a gap that is not": ({"lost": [*GOOD.lost, {"since": "y-1", "until": "y-2"}]}, 4),
    "a gap over what came": ({"lost": [{"since": "x-3", "until": "y-0"}]}, 1),
    "a gap twice": ({"lost": [*GOOD.lost, *GOOD.lost]}, 1),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad(bad: str) -> None:
    """Each fault is found: so many."""
    changes, count = BAD[bad]
    assert len(faults(**changes)) == count


def test_covered() -> None:
    """What a gap covers may be missing."""
    left = ["x-1", "y-1", "y-2", "y-3", "y-4"]
    assert len(faults(had=left)) == 3
    assert faults(had=left, lost=[{"since": "x-1", "until": "y-0"}]) == []


def test_begins_now() -> None:
    """Who begins now has nothing to get of what was before, and all of what comes."""
    assert faults(since="now", begun="x-2", had=[*KNOWN][2:]) == []
    assert len(faults(since="now", begun="x-2", had=[*KNOWN][3:])) == 1


def test_over() -> None:
    """Who has gone gets no more."""
    assert faults(had=["x-1", "x-2"], over=True, lost=[]) == []
    assert faults(had=[], over=True, lost=[]) == []
