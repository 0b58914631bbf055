"""What every page of the daemon's own is held to, at a desk and on a phone, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comet.commands.demo.picture import picture
from tests.browsers.browser import Browser, Page
from tests.browsers.driver import Driver
from tests.daemons import ROOT, Daemon, running
from tests.e2e.held import publish

DEMOS = sorted((ROOT / "comet/static/demo").glob("*.html"))
PAGES = ["", *(f"demo/{demo.name.replace('index.html', '')}" for demo in DEMOS)]
DESK, PHONE = (1280, 800), (390, 844)

CONTROLS = """
    const kinds = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex^='-'])";
    window.controls = () => [...document.querySelectorAll(kinds)].filter(
        (each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.tabIndex >= 0,
    );
"""
"""What a person can operate."""

NAME = """
    const text = (node) => node?.ariaLabel || node?.innerText || node?.alt || node?.textContent || "";
    const labelling = (each) => (each.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean);
    const labels = (each) => [...labelling(each).map((id) => document.getElementById(id)), ...(each.labels ?? [])];
    const own = (each) => each.matches("input, select, textarea") ? each.ariaLabel ?? "" : text(each);
    const name = (each) => [own(each), ...[...labels(each), ...each.querySelectorAll("img")].map(text)].join("");
"""
"""What an element is called, as somebody hears who does not see it; what stands in a field is not its name."""


@pytest.fixture(scope="module")
def busy() -> Iterator[Daemon]:
    """A daemon that has something to show."""
    with running() as daemon:
        for number in range(3):
            publish(daemon.http, f"news/{number}", '{"text": "hello", "number": 1}', "application/json")
        publish(daemon.http, "long", "x" * 3_000)
        publish(daemon.http, "l" * 200, "<b>bold</b>")
        publish(daemon.http, "bytes", bytes(range(256)), "application/octet-stream")
        # Until the first picture has come, a page with it is still being loaded.
        publish(daemon.http, "demo/picture", picture(0), "image/png")
        yield daemon


@pytest.fixture(params=PAGES, ids=lambda path: path or "console")
def path(request: pytest.FixtureRequest) -> str:
    """Each of the pages."""
    found: str = request.param
    return found


def settled(browser: Browser, daemon: Daemon, path: str, size: tuple[int, int] = DESK, dark: bool = False) -> Page:
    """The page, once it has drawn what it has to draw at first."""
    page = browser.open(f"http://{daemon.http}/{path}", width=size[0], height=size[1], dark=dark)
    page.run("document.fonts.ready.then(() => 0)")
    page.do("await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_looks(
    browser: Browser,
    busy: Daemon,
    path: str,
    size: tuple[int, int],
    dark: bool,
    driver: Driver,
    request: pytest.FixtureRequest,
) -> None:
    """A page fits into the window, has the colours that are wanted, asks nobody else, and nothing goes wrong."""
    page = settled(browser, busy, path, size, dark)
    if shots := request.config.getoption("--screenshots"):
        name = f"{path.strip('/').replace('/', '-') or 'console'}-{size[0]}-{'dark' if dark else 'light'}-{driver.name}"
        page.screenshot(Path(shots).absolute() / f"{name}.png")
    assert page.run("document.documentElement.scrollWidth - innerWidth") <= 0, "it has to be scrolled sideways"
    assert page.run("document.querySelector('meta[name=viewport]').content").startswith("width=device-width")
    assert (brightness(page) < 128) is dark
    assert (page.errors(), page.failures()) == ([], [])
    assert page.hosts() == {busy.http}


def brightness(page: Page) -> float:
    """How bright the page's ground is, from 0 to 255."""
    colour = page.do(
        """
        const context = document.createElement("canvas").getContext("2d");
        const clear = "rgba(0, 0, 0, 0)";
        const grounds = [document.body, document.documentElement].map((each) => getComputedStyle(each).backgroundColor);
        context.fillStyle = grounds.find((each) => each !== clear) ?? "Canvas";
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        """
    )
    red, green, blue = colour
    return float(red + green + blue) / 3


def test_names(browser: Browser, busy: Daemon, path: str) -> None:
    """Every control has a name, every picture a text, the page a title, a language and one heading."""
    page = settled(browser, busy, path)
    page.do(CONTROLS)
    nameless = page.do(f"{NAME} return controls().filter((each) => !name(each).trim()).map((each) => each.outerHTML)")
    assert nameless == []
    assert page.run("[...document.images].filter((each) => !each.hasAttribute('alt')).length") == 0
    assert page.run("[document.title !== '', document.documentElement.lang !== '']") == [True, True]
    assert page.run("document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_keyboard(browser: Browser, busy: Daemon, path: str, size: tuple[int, int]) -> None:
    """Every control is reached with the Tab key, and it is seen which one has the focus."""
    page = settled(browser, busy, path, size)
    page.do(
        CONTROLS
        + """
        window.reached = new Set();
        window.unseen = [];
        document.addEventListener("focusin", ({ target }) => {
            reached.add(target.outerHTML);
            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(target);
            const isSeen = (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
            if (!isSeen) unseen.push(target.outerHTML);
        });
        """
    )
    # Of radio buttons the arrow keys reach the others. What is live makes rows anew, so the same row counts as reached.
    missed = """
        controls().filter((each) => each.type !== "radio" || each.checked).map((each) => each.outerHTML)
            .filter((each) => !reached.has(each))
    """
    presses = 0
    while page.run(missed) and presses < 3 * page.run("controls().length"):
        page.press("Tab")
        presses += 1
    assert page.run(missed) == []
    assert page.run("unseen") == []
