"""Who imports whom: imports only point up the list of the architecture page."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "comet"

LAYERS = (
    "errors",
    "message",
    "control",
    "topics",
    "drafts",
    "kept",
    "kinds",
    "config",
    "sources",
    "interfaces",
    "metrics",
    "logs",
    "keys",
    "retained",
    "log",
    "history",
    "records",
    "sockets",
    "intake",
    "slots",
    "exchange",
    "access",
    "limits",
    "holder",
    "publishing",
    "entrance",
    "audience",
    "audiences",
    "pages",
    "delivery",
    "waits",
    "turns",
    "sweep",
    "tenure",
    "router",
    "stats",
    "framing",
    "store",
    "transports",
    "polling",
    "latest",
    "consumer",
    "consumers",
    "quiet",
    "hooks",
    "resp",
    "web",
    "sending",
    "publish",
    "client",
    "listening",
    "reloading",
    "handover",
    "systemd",
    "service",
    "tap",
    "commands",
    "cli",
)

PURE = (
    "errors",
    "message",
    "control",
    "topics",
    "drafts",
    "kept",
    "kinds",
    "config",
    "retained",
    "log",
    "keys",
)
PURE_FILES = (
    "exchange/values.py",
    "access/grant.py",
    "access/tokens.py",
    "access/who.py",
    "hooks/addresses.py",
    "hooks/answers.py",
    "hooks/hook.py",
    "hooks/signing.py",
    "limits/bodies.py",
    "limits/buckets.py",
    "limits/counts.py",
    "logs/bursts.py",
    "logs/masks.py",
    "resp/entries.py",
    "resp/ids.py",
    "resp/replies.py",
    "resp/wire.py",
    "sending/wire.py",
    "client/cursor.py",
    "client/reading.py",
    "client/values.py",
)
"""Nothing of Twisted, no clock, no environment, no sockets."""

SLOW = ("commands/serve.py",)
"""Of the commands, those that may take their time to start, because they run a reactor."""

OUTSIDE = ("time", "os", "socket", "select", "subprocess", "threading", "random", "secrets")
REACTOR_USERS = ("tap", "service", "client")


def modules() -> list[Path]:
    """Every module of the package that says something."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that ``path`` imports, wherever in it, but for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> str:
    """Return the layer of a module of ours: the first name below the package."""
    return module.split(".")[1]


def name_of(path: Path) -> str:
    """Return the path within the package, as the rules name it."""
    return path.relative_to(PACKAGE).as_posix()


def layer_at(path: Path) -> str:
    """Return the layer that a file belongs to."""
    return name_of(path).removesuffix(".py").split("/", maxsplit=1)[0]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_up(path: Path) -> None:
    """A module imports only from its own layer and those above it."""
    assert layer_at(path) in LAYERS, f"{layer_at(path)} has no place in the list of layers"
    place = LAYERS.index(layer_at(path))
    for name in imported(path):
        if name.startswith("comet.") and layer_of(name) != "__version__":
            assert LAYERS.index(layer_of(name)) <= place, f"{name_of(path)} imports {name}, which is further down"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_faces_and_stores_keep_apart(path: Path) -> None:
    """The HTTP face and the TCP face know nothing of each other, and neither knows which store there is."""
    apart = {"web": {"resp", "store"}, "resp": {"web", "store"}}.get(layer_at(path), set())
    assert not [name for name in imported(path) if name.startswith("comet.") and layer_of(name) in apart]


def is_pure(path: Path) -> bool:
    """Whether the rules want ``path`` to be a pure computation."""
    return layer_at(path) in (*PURE, "framing") or name_of(path) in PURE_FILES


@pytest.mark.parametrize("path", [path for path in modules() if is_pure(path)], ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    """Framings, parsers and the log import nothing of Twisted, no clock and no environment."""
    outside = [name for name in imported(path) if name.split(".")[0] in ("twisted", "zope", *OUTSIDE)]
    assert not outside


def is_fast(path: Path) -> bool:
    """Whether ``path`` must start at once."""
    return layer_at(path) in ("sending", "publish", "commands", "cli") and name_of(path) not in SLOW


@pytest.mark.parametrize("path", [path for path in modules() if is_fast(path)], ids=name_of)
def test_commands_start_fast(path: Path) -> None:
    """The commands for clients, and the blocking publisher, import nothing of Twisted."""
    assert not [name for name in imported(path) if name.split(".")[0] in ("twisted", "klein", "treq")]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_the_reactor_is_an_argument(path: Path) -> None:
    """Only plugin and service, and the client if it is named none, know the global reactor; others are handed it."""
    if "twisted.internet.reactor" in imported(path):
        assert layer_at(path) in REACTOR_USERS


def test_every_test_module_has_a_name_of_its_own() -> None:
    """pytest collects nothing if two of them have one, because the folders of tests are no packages."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []
