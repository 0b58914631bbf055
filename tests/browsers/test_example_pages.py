"""The pages in ``examples/pages``, made and fed with the commands that ``docs/recipes/pages.rst`` shows for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browsers.browser import Browser, Page
from tests.daemons import ROOT, running
from tests.e2e.held import publish, streams
from tests.e2e.tools import path_of
from tests.e2e.waiting import until
from tests.recipes.documented import Shell, commands, listens, shell
from tests.recipes.proxies import free_port

PAGES = "examples/pages"
COMMANDS = [command.text for command in commands("docs/recipes/pages.rst")]
ITEMS = "[...document.querySelectorAll('li')].map((item) => item.innerText)"


def shown(*beginnings: str) -> list[str]:
    """The commands of the page that begin with one of these, in its order."""
    return [command for command in COMMANDS if command.startswith(beginnings)]


SERVE, FILES = shown("comet serve", "python -m http.server")
MAKE = shown("curl", "npm")


@dataclass(frozen=True, slots=True)
class Site:
    """The pages at ``origin``, as the documentation has them served, and a shell to publish from."""

    origin: str
    shell: Shell

    @property
    def daemon(self) -> str:
        """Where the daemon is that the pages use."""
        return self.shell.daemon.http

    def page(self, browser: Browser, name: str) -> Page:
        """A window with one of the pages."""
        return browser.open(f"{self.origin}/{name}")

    def run(self, beginning: str) -> None:
        """Run the one command of the documentation that begins so."""
        (command,) = shown(beginning)
        self.shell.run(command)

    def publish(self, topic: str, data: object) -> None:
        """Publish JSON."""
        publish(self.daemon, topic, json.dumps(data), "application/json")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages, with the addresses of a daemon that lists their origin, and with what npm installs and builds."""
    port = free_port()
    directory = tmp_path_factory.mktemp("site") / "pages"
    with running(*SERVE.replace("8000", str(port)).split()[2:]) as daemon:
        at_home = shell(daemon, tmp_path_factory.mktemp("bin"))
        copied(ROOT / PAGES, directory, at_home)
        (directory / "favicon.ico").touch()  # every browser asks for it
        path_of("npm")
        for command in MAKE:
            at_home.run(command.replace(PAGES, str(directory)))
        with at_home.begun(FILES.replace("8000", str(port)).replace(PAGES, str(directory))) as server:
            until(lambda: listens(f"127.0.0.1:{port}"), f"the pages are served; {server.out.decode()}")
            yield Site(f"http://127.0.0.1:{port}", at_home)


def copied(pages: Path, directory: Path, shell: Shell) -> None:
    """Copy ``pages``, with the addresses of the shell's daemon in them, and without what was made of them."""
    shutil.copytree(pages, directory, ignore=shutil.ignore_patterns("node_modules", "built", "comet.*"))
    for file in [*directory.glob("*.html"), *directory.glob("*.js"), *directory.glob("*/*.*")]:
        file.write_text(shell.at_home(file.read_text()))


def test_plain(browser: Browser, site: Site) -> None:
    """Two lines of HTML show what was published before, and what comes, as text."""
    site.run("comet pub news ")
    page = site.page(browser, "plain.html")
    page.until(f"{ITEMS}.join() === 'Comet is here'")
    publish(site.daemon, "news", "<i>more</i>")
    page.until(f"{ITEMS}.join() === '<i>more</i>,Comet is here'")
    assert page.errors() == []
    assert page.hosts() == {site.daemon, site.origin.removeprefix("http://")}


def test_module(browser: Browser, site: Site) -> None:
    """What is said in one window is seen in both, once; and what cannot be published stays in the field."""
    site.run("comet pub --json chat/lobby")
    page = site.page(browser, "module.html")
    page.until("document.querySelector('p').innerText.startsWith('open')")
    other = site.page(browser, "module.html")
    other.until(f"{ITEMS}.join() === 'Good morning'")
    page.fill("input", "<b>yes</b>")
    page.press("Enter")
    for window in (page, other):
        window.until(f"{ITEMS}.join() === 'Good morning,<b>yes</b>'")
    assert page.run("document.querySelector('input').value") == ""
    assert len(streams(site.daemon, "chat/lobby")) == 1  # both windows have the one connection
    assert [*page.errors(), *other.errors()] == []
    page.do("document.querySelector('input').value = 'long '.repeat(300_000)")
    page.click("button")
    page.until("document.querySelector('output').innerText.includes('payload')")
    assert page.run("document.querySelector('input').value.length") == 1_500_000


def test_element(browser: Browser, site: Site) -> None:
    """An element shows the newest message of its topic, follows when that changes, and tells of each."""
    site.run("comet pub machine/mood")
    site.publish("machine/load", {"1m": 0.5})
    page = site.page(browser, "element.html")
    texts = "[...document.querySelectorAll('comet-topic')].map((element) => element.innerText)"
    page.until(f"""{texts}.join() === '{{"1m":0.5}},fine'""")
    page.do("told = []; document.addEventListener('message', ({ detail }) => told.push(detail.data));")
    publish(site.daemon, "machine/mood", "<b>tired</b>")
    page.until("told.join() === '<b>tired</b>'")
    page.do("document.querySelector('comet-topic').setAttribute('topic', 'machine/mood')")
    page.until(f"{texts}.join() === '<b>tired</b>,<b>tired</b>'")
    page.do("document.querySelector('comet-topic').remove()")
    publish(site.daemon, "machine/mood", "awake")
    page.until("told.join() === '<b>tired</b>,<b>tired</b>,awake'")
    assert page.errors() == []


@pytest.mark.parametrize("name", ["react", "vue", "svelte"])
def test_rooms(browser: Browser, site: Site, name: str) -> None:
    """A component shows a room's history, once, and what comes; and another room's when its topic changes."""
    lobby, kitchen = f"{name} in the lobby", f"{name} in the kitchen"
    site.publish("chat/lobby", {"text": lobby})
    site.publish("chat/kitchen", {"text": kitchen})
    page = site.page(browser, f"{name}.html")
    page.until(f"{ITEMS}.at(-1) === '{lobby}' && document.body.innerText.includes('open')")
    site.publish("chat/lobby", {"text": "<b>here</b>"})
    page.until(f"{ITEMS}.at(-1) === '<b>here</b>'")
    assert page.run(f"{ITEMS}.filter((item) => item === '{lobby}').length") == 1
    page.do("""
        const room = document.querySelector("select");
        room.value = "kitchen";
        room.dispatchEvent(new Event("change", { bubbles: true }));
    """)
    page.until(f"{ITEMS}.at(-1) === '{kitchen}'")
    assert lobby not in page.run(ITEMS)
    until(lambda: [each["patterns"] for each in streams(site.daemon, "chat/kitchen")] == [["chat/kitchen"]], "changed")
    assert page.errors() == []


def test_latest(browser: Browser, site: Site) -> None:
    """With an EventSource the page has a row for each topic, with the newest message, also of the time before."""
    site.publish("machine/fan", {"rpm": 900})
    page = site.page(browser, "latest.html")
    row = "document.getElementById('machine/fan')?.innerText"
    page.until(f"""{row} === 'machine/fan\\t{{"rpm":900}}'""")
    publish(site.daemon, "machine/fan", "<b>off</b>")
    page.until(f"{row} === 'machine/fan\\t<b>off</b>'")
    assert page.errors() == []


def test_htmx(browser: Browser, site: Site) -> None:
    """htmx puts in what is published as HTML: first what was there before, then what comes."""
    site.run("comet pub news/html")
    page = site.page(browser, "htmx.html")
    page.until(f"{ITEMS}.length === 1")
    publish(site.daemon, "news/html", "<li><i>new</i>")
    page.until(f"{ITEMS}.length === 2")
    assert page.run(ITEMS) == ["new", "Comet and htmx work together"]
    assert page.run("document.querySelector('li i').innerText") == "new"
    assert streams(site.daemon, "news/html")[0]["transport"] == "sse"
    assert page.errors() == []


def test_no_other_host() -> None:
    """The pages take nothing from any other host than their own and the daemon's."""
    pages = [page for page in (ROOT / "examples").rglob("*.html") if "node_modules" not in page.parts]
    assert pages
    for page in pages:
        found = page.read_text().replace("http://127.0.0.1:7080/", "")
        assert "://" not in found and 'src="//' not in found, page
