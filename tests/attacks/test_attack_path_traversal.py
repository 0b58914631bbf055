"""Path traversal: a path that climbs out of the folder of pages, in every spelling, is the path of nothing."""

from __future__ import annotations

import pytest

from tests.attacks.attacker import exchanged, request, statuses
from tests.daemons import Daemon

UP = (
    *("..", "%2e%2e", "%2E.", "..%00", "%252e%252e", "..;", "..\\", "%2e%2e%5c", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae"),
    *("....", "..%2f", "%2e%2e%2f", "%u002e%u002e", ".%2e", "\xe2\x80\xa5", "..%252f", "%uff0e%uff0e"),
)
WANTED = ("etc/passwd", "web/site.py", "config.py", "static/../config.py", "__init__.py")


@pytest.mark.parametrize("up", UP)
def test_path_traversal(daemon: Daemon, up: str) -> None:
    """Neither a file of the system nor one of the daemon's own is served, from any folder, at any depth."""
    targets = [
        start + f"{up}/" * depth + wanted
        for start in ("/", "/demo/", "/console/", "/demo/x/", "//")
        for depth in (1, 2, 8)
        for wanted in WANTED
    ]
    for target in targets:
        answer = exchanged(daemon.http, request("GET", target, "Connection: close"))
        assert statuses(answer) in ([400], [404]), target


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/comet.js/",
            "/comet.js/x",
            "/comet.js%00.png",
            "/comet.js%00",
            "/comet.js.",
            "/COMET.JS",
            "/comet.js::$DATA",
        ),
        *("/__init__.py", "/__pycache__/", "/static/comet.js", "/.git/config", "/demo/.", "/%00", "/py.typed"),
        *("/etc/passwd", "//etc/passwd", "/file:///etc/passwd", "/demo//", "/./comet.js", "/demo/../comet.js"),
    ],
)
def test_names_that_are_almost_a_file(daemon: Daemon, target: str) -> None:
    """A file is found by its own name and by no other."""
    assert statuses(exchanged(daemon.http, request("GET", target, "Connection: close"))) == [404]
