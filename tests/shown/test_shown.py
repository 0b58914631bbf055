"""Every command that README and the documentation show is run, and prints what is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.daemons import ROOT
from tests.e2e.tools import path_of
from tests.shown.blocks import Block, agrees, blocks, commands

PAGES = sorted([ROOT / "README.rst", *(ROOT / "docs").rglob("*.rst"), *(ROOT / "examples").rglob("*.rst")])
PAGES = [page for page in PAGES if "_build" not in page.parts and "node_modules" not in page.parts]
SHOWING = [page for page in PAGES if any(True for block in blocks(page) for _ in commands(block))]

LANGUAGES = ("", "console", "text", "python", "html", "javascript", "json", "toml", "http")
PROGRAMS = ("comet", "twistd", "curl", "redis-cli", "nc", "make", "pip", "python", "python3", "npm", "systemctl")


def name_of(page: Path) -> str:
    """The page's path, as people write it."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", SHOWING, ids=name_of)
def test_commands(page: Path) -> None:
    """What a page shows can be typed, in its order, in a fresh checkout."""
    unshare = [path_of("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*unshare, sys.executable, "-m", "tests.shown.session", str(page)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_escapes(page: Path) -> None:
    """A command is marked as one, so that it is run; and no block is in a language that nothing looks at."""
    for block in blocks(page):
        assert block.language in LANGUAGES, (block.line, block.language)
        if block.language in ("", "console", "text"):
            for before, line in pairwise(["", *block.lines]):
                is_wrapped = bool(before) and not before.startswith("#")
                first = line.split(" ")[0]
                assert is_wrapped or first not in PROGRAMS, f"line {block.line} or below: write '$ {line}'"


def test_flags_exist() -> None:
    """Every flag of ours that a page mentions is one."""
    logs = ("log info", "log verify", "log export", "log import", "log renew")
    names = ("serve", "pub", "sub", "top", "bench", "doctor", "health", "token", *logs)
    helps = "".join(
        subprocess.run(
            [sys.executable, "-c", "import sys; from comet.cli import main; sys.exit(main())", *name.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in names
    )
    known = {flag.rstrip("=") for flag in re.findall(r"--[a-z][a-z-]+=?", helps)}
    for page in PAGES:
        for literal in re.findall(r"``((?:comet|twistd)[^`]*)``", page.read_text()):
            for flag in re.findall(r"(?<!\S)--[a-z][a-z-]+", literal):
                assert flag in known | {"--help", "--logfile", "--pidfile", "--logger", "--syslog"}, (page, literal)


def test_blocks(tmp_path: Path) -> None:
    """Commands and their outputs are told apart from everything else."""
    page = tmp_path / "page.rst"
    page.write_text(
        "Text::\n\n    $ one \\\n        more\n    out…\n\n    put\n    $ two\n\nText.\n\n.. note::\n\n    x\n"
    )
    (block,) = blocks(page)
    assert block == Block("", 3, ["$ one \\", "    more", "out…", "", "put", "$ two"])
    first, second = commands(block)
    assert (first.command, first.output, second.command, second.output) == ("one more", ["out…", "put"], "two", [])


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (['{"id":"7d48f081-3"}'], '{"id":"00000000-17"}\n', True),
        (["a…c"], "b\nabc\n", True),
        (["a"], "ab\n", False),
        (["a", "…", "d"], "a\nb\nc\nd\n", True),
        (["(integer) 1"], "(integer) 0\n", False),
    ],
)
def test_agrees(shown: list[str], printed: str, same: bool) -> None:
    """Output agrees if it differs only in what varies by its nature."""
    assert agrees(shown, printed) is same
