"""The reference pages show what the code has, each of it once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from comet.config import settings
from comet.errors import every
from comet.metrics import METRICS
from comet.resp.commands import COMMANDS
from comet.transports import TRANSPORTS
from comet.web.negotiate import PARAMETERS
from docs._ext.tables import TABLES, plain
from tests.daemons import ROOT, command

PAGES = {
    "settings": "settings",
    "errors": "errors",
    "metrics": "metrics",
    "commands": "resp",
    "transports": "http",
    "parameters": "http",
}

NAMES: dict[str, Iterable[str]] = {
    "settings": [f"--{setting.name}" for setting in settings()],
    "errors": [error.code for error in every()],
    "metrics": [metric.exposed for metric in METRICS],
    "commands": [command.name for command in COMMANDS.values()],
    "transports": [transport.name for transport in TRANSPORTS],
    "parameters": [parameter.name for parameter in PARAMETERS],
}


@pytest.mark.parametrize("name", TABLES)
def test_rows(name: str) -> None:
    """Each table has a row for everything in the code, in its order, and every cell of it is one line."""
    table = TABLES[name]
    rows = list(table.rows())
    assert len(rows) == len(list(NAMES[name]))
    for row, wanted in zip(rows, NAMES[name], strict=True):
        assert wanted in row[0]
        assert len(row) == len(table.titles) == len(table.widths)
        assert "\n" not in "".join(row)
        assert row[-1]


@pytest.mark.parametrize("name", TABLES)
def test_pages(name: str) -> None:
    """Each table stands on its page."""
    page = ROOT / "docs/reference" / f"{PAGES[name]}.rst"
    assert f".. comet-table:: {name}\n" in page.read_text()


def test_each_transport_is_described() -> None:
    """The page of the wire formats has a section for each transport."""
    page = (ROOT / "docs/reference/wire-formats.rst").read_text()
    for transport in TRANSPORTS:
        assert f".. _{transport.name}:\n\n{transport.name}\n---" in page


def test_plain() -> None:
    """What the code has as plain text reads the same on the page, whatever reStructuredText makes of its characters."""
    assert plain("a * b_ `c` |d|") == r"a \* b\_ \`c\` \|d\|"


def test_build(tmp_path: Path) -> None:
    """The documentation builds without a warning, and has the tables in it."""
    built = command("-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path))
    assert (built.code, built.err) == (0, "")
    text = (tmp_path / "reference/settings.html").read_text()
    assert all(setting.variable in text for setting in settings())
    assert all(error.code in (tmp_path / "reference/errors.html").read_text() for error in every())


def test_newcomers_commands() -> None:
    """The README opens with the two commands that a newcomer needs, and they are there to be run."""
    readme, makefile = (ROOT / "README.rst").read_text(), (ROOT / "Makefile").read_text()
    for target in ("run", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile
