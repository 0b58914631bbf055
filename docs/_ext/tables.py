"""The directive ``comet-table``: one of the tables in the code, as a table of the page.

``TABLES`` names them. A cell is reStructuredText; what the code has as plain text goes through :func:`plain`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from comet.config import settings
from comet.errors import every
from comet.metrics import METRICS
from comet.resp.commands import COMMANDS
from comet.transports import TRANSPORTS
from comet.web.negotiate import PARAMETERS

Row = tuple[str, ...]


class Table(NamedTuple):
    """Titles and widths of the columns, and what yields the rows."""

    titles: Row
    widths: tuple[int, ...]
    rows: Callable[[], Iterator[Row]]


def plain(text: str) -> str:
    """Return reStructuredText that reads as ``text``."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def code(text: str) -> str:
    """Return reStructuredText that shows ``text`` as code; nothing for nothing."""
    return f"``{text}``" if text else ""


def setting_rows() -> Iterator[Row]:
    """Yield a row for each field of :class:`~comet.config.Config`."""
    for each in settings():
        kind = f"{each.kind.unit}, repeats" if each.repeats else each.kind.unit or "number"
        default = code(each.written(each.default)) or "none"
        reload = "at once" if each.live else "restart"
        yield f"``--{each.name}``", code(each.variable), kind, default, reload, plain(each.help)


def error_rows() -> Iterator[Row]:
    """Yield a row for each kind of refusal."""
    for each in every():
        retry = "may help" if each.retry else "does not help"
        yield code(each.code), str(each.status), retry, inspect.cleandoc(each.__doc__ or "").replace("\n", " ")


def metric_rows() -> Iterator[Row]:
    """Yield a row for each metric, by the name that it has in the exposition."""
    for each in METRICS:
        yield code(each.exposed), each.kind, code(each.label), plain(each.help)


def command_rows() -> Iterator[Row]:
    """Yield a row for each RESP command."""
    for each in COMMANDS.values():
        form, _, meaning = each.help.partition(": ")
        yield code(form), plain(meaning[:1].upper() + meaning[1:]) + "."


def transport_rows() -> Iterator[Row]:
    """Yield a row for each transport."""
    for each in TRANSPORTS:
        accepts = ", ".join(map(code, each.accepts)) or "anything else" * (each.name == "poll")
        conflated = "newest per topic" if each.conflated else "every message"
        yield f":ref:`{each.name} <{each.name}>`", accepts, ", ".join(map(code, each.formats)), conflated


def parameter_rows() -> Iterator[Row]:
    """Yield a row for each parameter of a subscribe."""
    for each in PARAMETERS:
        yield code(each.name), plain(each.help)


TABLES = {
    "settings": Table(
        ("Flag", "Variable", "Written as", "Default", "Reload", "Meaning"), (18, 22, 12, 18, 9, 40), setting_rows
    ),
    "errors": Table(("Code", "HTTP status", "Trying again", "Meaning"), (22, 10, 14, 54), error_rows),
    "metrics": Table(("Name", "Kind", "Label", "Meaning"), (34, 10, 12, 44), metric_rows),
    "commands": Table(("Command", "Meaning"), (50, 50), command_rows),
    "transports": Table(("Transport", "Accept", "Formats", "Default"), (15, 45, 20, 20), transport_rows),
    "parameters": Table(("Parameter", "Meaning"), (20, 80), parameter_rows),
}


class TableOf(SphinxDirective):
    """``.. comet-table:: settings``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table, by way of a ``list-table``."""
        table = TABLES[self.arguments[0]]
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, table.widths))}", ""]
        for row in (table.titles, *table.rows()):
            lines += _item(row)
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, source=f"comet-table {self.arguments[0]}"), 0, container)
        return container.children


def _item(row: Sequence[str]) -> Iterator[str]:
    for number, cell in enumerate(row):
        yield f"   {'  ' if number else '* '}- {cell}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    app.add_directive("comet-table", TableOf)
    return {"parallel_read_safe": True}
