"""The files in ``recipes/``, as a test uses them: only what a file itself calls yours to change is changed.

At the top of each is a comment with the command that starts the daemon, and a table::

    # Yours to change:
    #   push.example.org              the name that browsers know
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from tests.daemons import ROOT

RECIPES = ROOT / "recipes"
_COMMAND = re.compile(r"^#  +twistd -n comet(.*)$", re.MULTILINE)
_TABLE = re.compile(r"^# Yours to change:\n((?:#  +\S.*\n)+)", re.MULTILINE)
_ROW = re.compile(r"#  +(\S.*?)  +\S")


def recipe(path: str, changes: Mapping[str, str]) -> str:
    """The recipe with the ``changes``: each of a text that its table names, and that it has."""
    text = (RECIPES / path).read_text()
    table = _TABLE.search(text)
    assert table is not None, f"recipes/{path} does not say what is to be changed"
    yours = _ROW.findall(table[1])
    assert not changes.keys() - set(yours), f"recipes/{path} says that {yours} are to be changed, not {[*changes]}"
    for old in yours:
        assert text.count(old) > 1, f"recipes/{path} names {old!r} but does not have it"
        text = text.replace(old, changes.get(old, old))
    return text


def daemon_options(text: str) -> list[str]:
    """The options of the daemon that a recipe names."""
    found = _COMMAND.findall(text)
    assert len(found) == 1, "a recipe has the command of the daemon once"
    return shlex.split(found[0])
