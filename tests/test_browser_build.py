"""The browser client: what is served is what its sources make, its types hold, its own tests pass.

Installing Comet needs no Node, because what is built is kept with the sources. The trap: somebody changes these and
forgets to build.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.daemons import ROOT
from tests.e2e.tools import path_of

BROWSER = ROOT / "browser"
INSTALLED = BROWSER / "node_modules/.package-lock.json"
"""npm writes it when all is in place."""


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    """What the lock file lists is installed."""
    path_of("npm")
    wanted = (BROWSER / "package-lock.json").stat().st_mtime
    assert INSTALLED.exists() and INSTALLED.stat().st_mtime >= wanted, f"run: make {INSTALLED.relative_to(ROOT)}"


def run(*script: str) -> str:
    """Run a script of ``browser/package.json``; returns what it prints."""
    command = ("npm", "run", "--silent", *script)
    done = subprocess.run(command, cwd=BROWSER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_served_is_what_the_sources_make() -> None:
    """Byte for byte, and no script is larger than promised: 6 KB with gzip."""
    sizes = [line.split() for line in run("check").splitlines()[1:]]
    assert {name for name, *_ in sizes} == {"comet.mjs", "comet.js", "comet.d.ts"}


def test_types() -> None:
    """The sources and their tests have the types that they say, and those that are promised to pages."""
    run("types")


def test_modules() -> None:
    """The tests of the modules, in Node."""
    run("test")
