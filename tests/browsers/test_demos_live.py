"""The demos that something feeds: the machine's figures, the picture, and the transports side by side."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.pages import TRANSPORTS
from tests.daemons import Daemon, running
from tests.e2e.held import publish
from tests.e2e.tools import COMET, begun
from tests.e2e.waiting import until

FIGURES = {
    "cores": [25.0, 75.0],
    "load": [1.5, 1.0, 0.5],
    "memory": {"total": 8_000_000_000, "used": 2_000_000_000},
    "network": {"in": 1_200, "out": 3_400},
    "disk": {"read": 0, "written": 5_000_000},
    "space": {"total": 100_000_000_000, "free": 40_000_000_000},
}
VALUES = "Object.fromEntries([...document.querySelectorAll('.card:not([hidden])')].map((card) => \
    [card.querySelector('h2').textContent, card.querySelector('output').textContent]))"


@pytest.fixture
def empty() -> Iterator[Daemon]:
    """A daemon that nobody has fed yet."""
    with running() as daemon:
        yield daemon


def tell(daemon: Daemon, figures: object) -> None:
    """Publish figures of a machine."""
    publish(daemon.http, "demo/machine", json.dumps(figures), "application/json")


def test_machine(browser: Browser, empty: Daemon) -> None:
    """The figures are told as people read them; of a machine that tells less there is less; nonsense is nothing."""
    page = browser.open(f"http://{empty.http}/demo/machine.html")
    page.until("document.querySelector('.state').classList.contains('open')")
    assert page.run("empty.textContent.includes('comet demo') && !empty.hidden")
    for nonsense in ('"words"', "null", "7"):
        publish(empty.http, "demo/machine", nonsense, "application/json")
    tell(empty, {"load": [1.5, 1.0, 0.5]})
    page.until("empty.hidden")
    assert "Processors" not in page.run(VALUES)
    tell(empty, FIGURES)
    page.until(f"{VALUES}.Processors === '50 % busy'")
    values = page.run(VALUES)
    assert values["Memory"] == "25 % used"
    assert values["Network, in and out"] == "1.2 kB/s, 3.4 kB/s"
    assert values["Disk, read and written"] == "0 B/s, 5.0 MB/s"
    page.until(f"{VALUES}['Comet: published and delivered']")
    assert page.errors() == []


def test_machine_history(browser: Browser, empty: Daemon) -> None:
    """The curves are there at once when the page is opened later: the log has the history."""
    for number in range(30):
        tell(empty, {**FIGURES, "load": [number, 0, 0]})
    page = browser.open(f"http://{empty.http}/demo/machine.html")
    page.until(f"{VALUES}.Load === '29'")
    page.run("document.querySelectorAll('.card')[1].scrollIntoView()")
    # A curve that is pointed at tells of then.
    left = page.run("document.querySelectorAll('.curve')[1].getBoundingClientRect().left + 2")
    top = page.run("document.querySelectorAll('.curve')[1].getBoundingClientRect().top + 20")
    page.mouse("move", left, top)
    page.until(f"{VALUES}.Load === '0.0'")
    assert page.errors() == []


def test_picture(browser: Browser, empty: Daemon, tmp_path: Path) -> None:
    """The picture moves, and there is no script on the page."""
    with begun(*COMET, "demo", "--server", empty.tcp):
        page = browser.open(f"http://{empty.http}/demo/picture.html")
        assert page.run("document.scripts.length") == 0
        page.until("document.querySelector('.live').naturalWidth === 480")
        seen = {_shot(page, tmp_path)}

        def moves() -> bool:
            seen.add(_shot(page, tmp_path))
            return len(seen) > 3

        until(moves, "the picture moves")
    assert page.errors() == []


def _shot(page: Page, directory: Path) -> bytes:
    page.screenshot(directory / "shot.png")
    return (directory / "shot.png").read_bytes()


def test_transports(browser: Browser, daemon: Daemon) -> None:
    """Every row has every message, and how long it took; one that is switched off rests, and goes on."""
    page = browser.open(f"http://{daemon.http}/demo/transports.html")
    came = "Object.fromEntries([...document.querySelectorAll('tr[data-transport]')].map((row) => \
        [row.dataset.transport, Number(row.querySelector('.came').textContent)]))"
    page.until(f"Object.values({came}).every((count) => count >= 5)")
    assert set(page.run(came)) == set(TRANSPORTS)
    page.until("[...document.querySelectorAll('.median')].every((cell) => / ms$/.test(cell.textContent))")
    page.click("tr[data-transport=sse] input")
    rested = page.run(came)["sse"]
    page.until(f"{came}.stream >= {page.run(came)['stream'] + 4}")
    assert page.run(came)["sse"] == rested
    page.click("tr[data-transport=sse] input")
    page.until(f"{came}.sse >= {rested + 2}")
    page.click("#pause")
    assert page.run("pause.textContent") == "Go on"
    assert page.errors() == []


def test_feeding(empty: Daemon) -> None:
    """The feeder ends with an interrupt, without a traceback."""
    with begun(*COMET, "demo", "--server", empty.tcp) as feeder:
        feeder.until(b"feeding")
        feeder.process.send_signal(signal.SIGINT)
        assert feeder.wait() == 0
