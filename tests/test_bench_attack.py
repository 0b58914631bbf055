"""The bench with attackers works at a small size, and its bounds can be missed. A C compiler (``cc``) and
``slowhttptest`` are needed: without them these tests fail, and say so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.attack.__main__ import COLUMNS, MOST_MEMORY, MOST_SLOWED, missed
from bench.attack.attackers import KINDS
from bench.attack.hostile import SLOW
from bench.attack.trial import ROWS, SMALL
from bench.report import Run
from bench.scenarios import FAULTS
from tests.daemons import ROOT

LONGEST = 150.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What a small trial of each row brings."""
    found: Path = tmp_path_factory.mktemp("bench") / "figures"
    done = subprocess.run(
        [sys.executable, "-m", "bench.attack", "--small", "--json", str(found)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## attack")
    return {run.face: run for run in (Run(**json.loads(line)) for line in found.read_text().splitlines())}


@pytest.mark.parametrize("row", ROWS)
def test_the_honest_lose_nothing_and_everything_is_back(row: str, runs: dict[str, Run]) -> None:
    """A thousand honest streams beside two hundred hostile connections; a trial ends when nothing is held any more."""
    figures = runs[row].figures
    assert [fault for fault in FAULTS if figures[fault]] == []
    assert [column.name for column in COLUMNS if column.name not in figures] == []
    assert figures["hostile"] > 50
    assert figures["refused"] > 0
    assert figures["per_hostile"] < MOST_MEMORY


def test_strangers_have_limits(runs: dict[str, Run]) -> None:
    """slowhttptest comes from one address, which may have only so many connections."""
    slow = sum(SMALL.hostile.of(most) for _, most in SLOW.values())
    local, strangers = (runs[row].figures["hostile"] for row in ROWS)
    assert strangers <= local - slow // 2


def test_there_are_two_thousand_at_full_size() -> None:
    """The two tables together."""
    assert sum(most for _, most in (*KINDS.values(), *SLOW.values())) == 2_000


def _runs(*figures: dict[str, Any]) -> Sequence[Run]:
    return [Run("attack", "strangers", number, each) for number, each in enumerate(figures)]


def test_bounds_are_judged_by_the_median() -> None:
    """One trial in which the machine was slow says little."""
    good = {"ratio_p99": 1.5, "per_hostile": 10.0}
    slow = {"ratio_p99": MOST_SLOWED + 1, "per_hostile": MOST_MEMORY + 1}
    assert list(missed(_runs(good, slow, good))) == []
    assert len(list(missed(_runs(slow, good, slow)))) == 2
