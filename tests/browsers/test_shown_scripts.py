"""What the documentation shows for pages does what it says, in a browser.

HTML is served as a page of another origin than the daemon's. JavaScript is a module of such a page; what the text takes
for granted is there: ``Comet``, ``comet``, and functions of the page, which note that they were called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browsers.browser import Browser
from tests.browsers.elsewhere import elsewhere
from tests.daemons import ROOT, Daemon, running
from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.shown.blocks import blocks

PAGES = ("README.rst", "docs/quickstart.rst", "docs/browser.rst")
"""The others show files of ``examples``, which ``test_example_pages.py`` runs."""

SHOWN = [(page, block) for page in PAGES for block in blocks(ROOT / page)]

BEGUN = """<!doctype html><meta charset=utf-8><link rel=icon href=data:,>
<script>said = []; console.log = (text) => said.push(text);</script>"""

MODULE = """<script type=module>
    import Given from "http://127.0.0.1:7080/comet.mjs";
    for (const name of ["draw", "show", "work"]) globalThis[name] = () => said.push(name);
    Object.assign(globalThis, { Comet: Given, comet: new Given() });
</script>
<script type=module>%s
    globalThis.done = true;
</script>"""


@contextmanager
def served(html: str) -> Iterator[tuple[str, Daemon]]:
    """Serve a page with ``html``; yields its address, and the daemon that it uses in place of the one it names."""
    pages: dict[str, str] = {}
    with elsewhere(pages) as origin, running("--origin", origin) as daemon:
        pages["/"] = (BEGUN + html).replace("127.0.0.1:7080", daemon.http)
        yield f"{origin}/", daemon


def shown_in(language: str) -> list[object]:
    """What the pages show in ``language``."""
    return [
        pytest.param(block.text(), id=f"{page}-{block.line}") for page, block in SHOWN if block.language == language
    ]


def test_there_are_scripts() -> None:
    """Each of these pages shows what a page needs, so that the tests below have something to do."""
    assert {page for page, block in SHOWN if block.language == "html"} == {*PAGES}


@pytest.mark.parametrize("html", shown_in("html"))
def test_html(browser: Browser, html: str) -> None:
    """The two lines that make a page: it gets what is published."""
    with served(html) as (url, daemon):
        page = browser.open(url)
        until(lambda: streams(daemon.http, "news"), f"the page subscribes; {page.errors()}")
        publish(daemon.http, "news", "hello")
        page.until("said.join() === 'hello'")
        assert page.errors() == []


@pytest.mark.parametrize("script", shown_in("javascript"))
def test_javascript(browser: Browser, script: str) -> None:
    """It runs to its end without an error, and calls the functions of the page that it hands messages to."""
    with served(MODULE % script) as (url, daemon):
        for topic, data in (("auction/7", {"bid": 100}), ("chat/lobby", {"text": "hi"}), ("jobs/1", "enough")):
            publish(daemon.http, topic, json.dumps(data), "application/json")
        page = browser.open(url)
        page.until("globalThis.done")
        for called in re.findall(r"(?:=>|await) (draw|show|work)\(", script):
            page.until(f"said.includes('{called}')")
        assert page.errors() == []
