"""What README and quickstart give for a page does what they say, in a browser."""

from __future__ import annotations

import json
import re

import pytest

from tests.daemons import ROOT, Daemon
from tests.e2e.browser import Browser
from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.shown.blocks import blocks

SCRIPTS = [
    (page, block.line, re.sub(r"</?script>", "", block.text()))
    for page in ("README.rst", "docs/quickstart.rst")
    for block in blocks(ROOT / page)
    if block.language in ("javascript", "html")
]


def test_there_are_scripts() -> None:
    """Both pages show one, so that the test below has something to do."""
    assert [page for page, _, _ in SCRIPTS] == ["README.rst", "docs/quickstart.rst"]


@pytest.mark.parametrize(("page", "line", "script"), SCRIPTS)
def test_script(daemon: Daemon, browser: Browser, topic: str, page: str, line: int, script: str) -> None:
    """The script that the page shows gets what is published."""
    script = script.replace("127.0.0.1:7080", daemon.http).replace("/topics/news", f"/topics/{topic}")
    with browser.open(f"http://{daemon.http}/healthz") as tab:
        tab.run("said = []; console.log = text => said.push(text); true")
        tab.run(f"(0, eval)({json.dumps(script)}); true")
        until(lambda: streams(daemon.http, topic), "the page subscribes")
        publish(daemon.http, topic, "from a test")
        tab.until("said.includes('from a test')")
