"""The page on security names every attack that is tried, and no other."""

from __future__ import annotations

import re

from comet.config import settings
from tests.daemons import ROOT

PAGE = (ROOT / "docs/security.rst").read_text()
ROWS = re.findall(r"^   \* - (.*?)(?=^   \* - |^\S)", PAGE, re.MULTILINE | re.DOTALL)[1:]


def cells(row: str) -> list[str]:
    """What stands in the columns of a row."""
    return [" ".join(cell.split()) for cell in re.split(r"^     -", row, flags=re.MULTILINE)]


def test_attacks() -> None:
    """Each attack of the table has its file of tests, and each file its row."""
    named = [cells(row)[3].strip("`") for row in ROWS]
    there = [path.stem.removeprefix("test_attack_") for path in (ROOT / "tests/attacks").glob("test_attack_*.py")]
    assert sorted(named) == sorted(there)


def test_settings() -> None:
    """The settings of the table are ones."""
    names = {setting.name for setting in settings()}
    for row in ROWS:
        attack, defence, listed, _ = cells(row)
        assert attack
        assert defence
        for name in re.findall(r"``([^`]+)``", listed):
            beginning = name.removesuffix("…")
            assert name in names or (name != beginning and any(each.startswith(beginning) for each in names)), name
