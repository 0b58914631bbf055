"""The page on proxies shows the files that are tried, and says of each what the tests have found."""

from __future__ import annotations

import csv
import re

import pytest

from tests.daemons import ROOT
from tests.recipes.faces import HTTP_1, HTTP_2, RECIPES, Recipe

PAGE = (ROOT / "docs/recipes/proxies.rst").read_text()
NAMES = {HTTP_1: "HTTP/1.1", HTTP_2: "HTTP/2"}


def rows() -> dict[str, list[str]]:
    """The table of what each proxy carries, by the name of the proxy."""
    table = re.search(r"\.\. csv-table::\n(?: +:.*\n)+\n((?: +.*\n)+)", PAGE)
    assert table is not None
    lines = (line.strip() for line in table[1].splitlines())
    return {row[0].lower(): [cell.strip() for cell in row[1:]] for row in csv.reader(lines, skipinitialspace=True)}


def shown(protocols: tuple[str, ...]) -> str:
    """Protocols as the table writes them."""
    return ", ".join(NAMES[protocol] for protocol in protocols)


@pytest.mark.parametrize("found", RECIPES.values(), ids=RECIPES)
def test_table(found: Recipe) -> None:
    """What the table says is what is tried."""
    streams, websockets, leaving = rows()[found.kind]
    assert (streams, websockets) == (shown(found.protocols), shown(found.websockets))
    assert (leaving == "at once") == (not found.unnoticed)


def test_files() -> None:
    """Every file of these proxies is on the page, and is shown, not copied."""
    files = {
        path for kind in {found.kind for found in RECIPES.values()} for path in (ROOT / "recipes" / kind).iterdir()
    }
    for path in files:
        assert f".. literalinclude:: ../../{path.relative_to(ROOT)}\n" in PAGE
