"""The browsers do what the facade promises: otherwise a test that is written on it would say more than it knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browsers.browser import Browser
from tests.browsers.driver import BrowserError
from tests.browsers.elsewhere import EMPTY, elsewhere
from tests.e2e.waiting import until

FORM = """<!doctype html><meta charset=utf-8><title>Form</title><link rel=icon href=data:,>
<meta name=viewport content="width=device-width">
<style>body { margin: 0 } #note { position: absolute; left: 40px; top: 200px; width: 40px; height: 20px }</style>
<input id=name value=before><button id=go>Go</button><div id=note></div>
<script>
  var seen = [];
  document.getElementById("name").oninput = (input) => seen.push(["input", input.isTrusted]);
  document.getElementById("go").onclick = (click) => seen.push(["click", click.isTrusted]);
  onpointerdown = onpointerup = onpointermove = ({ type, clientX, clientY }) => seen.push([type, clientX, clientY]);
</script>"""

WRONG = """<!doctype html><meta charset=utf-8><title>Wrong</title><link rel=icon href=data:,>
<meta http-equiv=Content-Security-Policy content="script-src 'unsafe-inline'">
<script>
  console.error("told the console");
  setTimeout(() => { throw new Error("thrown"); });
  Promise.reject(new Error("rejected"));
  document.head.append(Object.assign(document.createElement("script"), { src: "/forbidden.js" }));
</script>"""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the pages of these tests are."""
    with elsewhere({"/": EMPTY, "/form": FORM, "/wrong": WRONG}) as origin:
        yield origin


def test_run(browser: Browser, origin: str) -> None:
    """An expression has a value, statements return one; both may wait, and neither is hindered by a strict policy."""
    page = browser.open(f"{origin}/wrong")
    assert page.run("{ a: [1, null, 'é\\u2028\\ud83d\\ude00'] }") == {"a": [1, None, "é\u2028😀"]}
    assert page.run("await Promise.resolve(document.title)") == "Wrong"
    assert page.run("undefined") is None
    assert page.do("const a = 1; await null; return a + 1") == 2
    page.do("window.kept = 5")
    assert page.run("kept") == 5
    with pytest.raises(BrowserError, match="nothere"):
        page.run("nothere")


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 800, False), (390, 844, True)])
def test_window(browser: Browser, origin: str, width: int, height: int, dark: bool) -> None:
    """A window has the size and the colours that were asked for."""
    page = browser.open(f"{origin}/form", width=width, height=height, dark=dark)
    page.until(f"innerWidth === {width} && innerHeight === {height}")
    assert page.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark


def test_windows(browser: Browser, origin: str) -> None:
    """Windows and tabs share what an origin has in a browser; another browser has it anew."""
    page, other = browser.open(f"{origin}/"), browser.open(f"{origin}/")
    page.do("localStorage.a = 1; sessionStorage.b = 2; heard = []")
    page.do("new BroadcastChannel('all').onmessage = (told) => heard.push(told.data)")
    page.do("await new Promise((got) => navigator.locks.request('one', () => (got(), new Promise(() => 0))))")
    assert other.do("new BroadcastChannel('all').postMessage('hello'); return localStorage.a") == "1"
    page.until("heard.join() === 'hello'")
    assert other.run("[sessionStorage.b ?? null, (await navigator.locks.query()).held.length]") == [None, 1]
    page.close()
    other.until("(await navigator.locks.query()).held.length === 0")
    assert browser.another().open(f"{origin}/").run("localStorage.length") == 0


def test_visibility(browser: Browser, origin: str) -> None:
    """Windows are visible beside each other; of the tabs of one window, one is."""
    first, second = browser.open(f"{origin}/"), browser.open(f"{origin}/")
    third = browser.open(f"{origin}/", tab=True)
    second.until("document.hidden")
    assert [page.run("document.visibilityState") for page in (first, third)] == ["visible", "visible"]
    second.show()
    second.until("!document.hidden")
    third.until("document.hidden")


def test_input(browser: Browser, origin: str) -> None:
    """Clicks and keys are as good as a person's."""
    page = browser.open(f"{origin}/form")
    page.fill("#name", "Ada – 二")
    page.until("document.getElementById('name').value === 'Ada – 二'")
    page.press("Tab")
    page.until("document.activeElement.id === 'go'")
    page.press("Enter")
    page.until("seen.some(([type]) => type === 'click')")
    page.press("Shift+Tab")
    page.until("document.activeElement.id === 'name'")
    page.click("#go")
    page.until("seen.filter(([type]) => type === 'click').length === 2")
    assert page.run("seen.filter(([type, trusted]) => trusted === false)") == []


def test_drag(browser: Browser, origin: str) -> None:
    """A drag begins in the middle of an element, and ends as far from it as was said."""
    page = browser.open(f"{origin}/form")
    page.drag("#note", 60, 30)
    page.until("seen.at(-1)[0] === 'pointerup'")
    moves = page.run("seen.filter(([type]) => type !== 'pointermove')")
    assert moves == [["pointerdown", 60, 210], ["pointerup", 120, 240]]


def test_reload(browser: Browser, origin: str) -> None:
    """A page that is loaded again keeps what its tab has stored."""
    page = browser.open(f"{origin}/")
    page.do("sessionStorage.a = 1; window.b = 2")
    page.reload()
    assert page.run("[sessionStorage.a, window.b ?? null]") == ["1", None]


def test_leaving(browser: Browser, origin: str) -> None:
    """What is waited for may come with the next page."""
    page = browser.open(f"{origin}/")
    page.do("setTimeout(() => location.assign('/form'))")
    assert page.until("document.title === 'Form' && document.title")


def test_errors(browser: Browser, origin: str) -> None:
    """What goes wrong while a page is loaded is seen, and is no longer once it is left."""
    page = browser.open(f"{origin}/wrong")
    for said in ("told the console", "thrown", "rejected", "forbidden.js"):
        until(lambda said=said: said in "".join(page.errors()), f"{said!r} in {page.errors()}")  # type: ignore[misc]
    page.go(f"{origin}/")
    assert page.errors() == []


def test_refused(browser: Browser, origin: str) -> None:
    """An answer that is an error is one of the page."""
    page = browser.open(f"{origin}/")
    assert page.run("(await fetch('/nothere')).status") == 404
    until(lambda: "404" in "".join(page.errors()), "the answer is seen")


def test_failures(browser: Browser, origin: str) -> None:
    """A request that no server answers is no error of the page."""
    with elsewhere({"/": EMPTY}) as gone:
        page = browser.open(f"{gone}/")
    page.run("fetch('/').catch(() => 0)")
    until(page.failures, "the request is seen")
    assert page.errors() == []


def test_hosts(browser: Browser, origin: str) -> None:
    """Whom a page asks is seen."""
    with elsewhere({"/a.png": ""}) as other:
        page = browser.open(f"{origin}/")
        page.do(f"new Image().src = '{other}/a.png'")
        until(lambda: page.hosts() == {urlsplit(origin).netloc, urlsplit(other).netloc}, "both")


@pytest.mark.cannot("webkit", "WebDriver has no command for it")
def test_offline(browser: Browser, origin: str) -> None:
    """The network can be taken away from what is asked anew."""
    page = browser.open(f"{origin}/")
    asked = "[navigator.onLine, await fetch('/').then((answer) => answer.status, () => 'failed')]"
    page.offline(True)
    assert page.run(asked) == [False, "failed"]
    page.offline(False)
    assert page.run(asked) == [True, 200]


@pytest.mark.cannot("firefox", "neither Firefox nor WebDriver BiDi knows frozen pages")
@pytest.mark.cannot("webkit", "WebKit knows no frozen pages")
def test_freeze(browser: Browser, origin: str) -> None:
    """The clock of a frozen page stands still until it is told to go on."""
    page, other = browser.open(f"{origin}/"), browser.open(f"{origin}/")
    page.do("told = []; document.onfreeze = document.onresume = (life) => told.push(life.type)")
    page.do("localStorage.ticks = 0; setInterval(() => localStorage.ticks++, 10)")
    other.until("localStorage.ticks > 10")
    page.freeze(True)
    before = other.run("Number(localStorage.ticks)")
    other.do("ticks = 0; setInterval(() => ticks++, 10)")
    other.until("ticks > 50")
    assert other.run("Number(localStorage.ticks)") - before <= 1
    page.freeze(False)
    other.until(f"localStorage.ticks > {before} + 10")
    assert page.run("told") == ["freeze", "resume"]


def test_screenshot(browser: Browser, origin: str, tmp_path: Path) -> None:
    """A picture of the window can be had."""
    page = browser.open(f"{origin}/form", width=600, height=500)
    data = page.screenshot(tmp_path / "new" / "form.png").read_bytes()
    assert (data[:8], int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (b"\x89PNG\r\n\x1a\n", 600, 500)
