"""However it is installed, ``twistd comet`` and ``comet`` are there.

Each way is tried in an environment of its own, which borrows the dependencies of this one and nothing else. The trap:
a plugin is no module of a package, and some ways to install leave it out (see ``setup.cfg``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.daemons import ROOT, environment

SOURCES = (
    *("comet", "twisted", "browser", "tests", "docs"),
    *("setup.cfg", "pyproject.toml", "MANIFEST.in", "Makefile", ".ci"),
)
UNTRACKED = shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache", "_build", "node_modules", "*.egg-info")

Environment = Path
"""The folder of a virtual environment."""


def run(*command: str | Path, cwd: Path) -> str:
    """Run ``command``, with nothing of this working tree in its path; returns what it prints."""
    environ = environment(PIP_DISABLE_PIP_VERSION_CHECK="1")
    del environ["PYTHONPATH"]
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree, for builds to leave their traces in."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*SOURCES, *(path.name for path in ROOT.glob("*.rst")), "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=UNTRACKED)
        else:
            shutil.copy(source, tree / name)
    return tree


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """The folder with the source distribution, and the wheel that was built of that."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ".", cwd=tree)
    return tree / "dist"


@pytest.fixture
def fresh(tmp_path: Path) -> Environment:
    """A virtual environment with the dependencies of this one, but without Comet."""
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    # A folder named in a .pth file has its packages imported, but its own .pth files, such as ours, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv"


def install(fresh: Environment, *what: str | Path) -> None:
    """Install ``what`` with pip, fetching nothing."""
    pip = (sys.executable, "-m", "pip", "--python", str(fresh / "bin/python"), "install", "-q")
    run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *what, cwd=fresh)


def check(fresh: Environment) -> None:
    """Assert that both commands work in ``fresh``."""
    twistd = (fresh / "bin/python", "-c", "from twisted.scripts.twistd import run; run()")
    assert "--retain-messages=" in run(*twistd, "comet", "--help", cwd=fresh)
    assert run(fresh / "bin/comet", "--version", cwd=fresh).startswith("Comet ")


def test_wheel(built: Path, fresh: Environment) -> None:
    """A wheel that was built from the source distribution installs the commands."""
    install(fresh, *built.glob("*.whl"))
    check(fresh)


def test_source(tree: Path, fresh: Environment) -> None:
    """``pip install .`` does."""
    install(fresh, tree)
    check(fresh)


def test_editable(tree: Path, fresh: Environment) -> None:
    """``pip install -e .`` does."""
    install(fresh, "-e", tree)
    check(fresh)


def test_contents(built: Path, tree: Path) -> None:
    """The wheel has every file of the package, the plugin, and nothing else of ``twisted``."""
    [wheel] = built.glob("comet?push-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (tree / "comet").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    package = {path.relative_to(tree).as_posix() for path in files}
    assert names == {*package, "twisted/plugins/comet_plugin.py"}
    assert {f"comet/static/comet.{end}" for end in ("js", "mjs", "d.ts")} <= names, "the browser client is not built"


def test_source_distribution(built: Path) -> None:
    """The source distribution has what its recipient needs to read, to build and to test it."""
    [archive] = built.glob("comet?push-*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"LICENSE", "README.rst", "NEWS.rst", "Makefile", "tests/test_packaging.py", "docs/conf.py"} <= names
    assert {"browser/package-lock.json", "browser/.npmrc", "browser/build.mjs", "browser/src/comet.ts"} <= names
    assert not [name for name in names if "node_modules" in name]
