"""The pages in ``examples/pages``, in a browser, with what is published by the commands of their documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemons import ROOT, running
from tests.e2e.browser import Browser, Page
from tests.e2e.held import asked_json, streams
from tests.e2e.tools import path_of
from tests.e2e.waiting import until
from tests.recipes.documented import Shell, commands, listens, shell
from tests.recipes.proxies import free_port

SERVE, FILES, PUBLISH, INSTALL, PUBLISH_HTML = (command.text for command in commands("docs/recipes/pages.rst"))


@dataclass(frozen=True, slots=True)
class Site:
    """The pages at ``origin``, as the documentation has them served, and a shell to publish from."""

    origin: str
    shell: Shell

    def page(self, browser: Browser, name: str) -> Page:
        """The page, which listens."""
        page = browser.open(f"{self.origin}/{name}")
        until(lambda: asked_json(self.shell.daemon.http, "/stats")["subscriptions"], "the page listens")
        return page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages, with the addresses of a daemon that lists their origin, and with htmx from the package index."""
    port = free_port()
    directory = tmp_path_factory.mktemp("site")
    with running(*SERVE.replace("8000", str(port)).split()[2:]) as daemon:
        at_home = shell(daemon, tmp_path_factory.mktemp("bin"))
        copied(ROOT / "examples/pages", directory, at_home)
        path_of("npm")
        at_home.run(INSTALL.replace("examples/pages", str(directory)))
        with at_home.begun(FILES.replace("8000", str(port)).replace("examples/pages", str(directory))) as server:
            until(lambda: listens(f"127.0.0.1:{port}"), f"the pages are served; {server.out.decode()}")
            yield Site(f"http://127.0.0.1:{port}", at_home)


def copied(pages: Path, directory: Path, shell: Shell) -> None:
    """Copy the files of ``pages``, with the addresses of the shell's daemon in them."""
    for file in pages.iterdir():
        if file.is_file():
            (directory / file.name).write_text(shell.at_home(file.read_text()))


def test_latest(browser: Browser, site: Site) -> None:
    """The page has a row for each topic, with the newest message, also of the time before it was opened."""
    site.shell.run(PUBLISH)
    site.shell.run("comet pub --json machine/load '{\"1m\": 0.5}'")
    with site.page(browser, "latest.html") as page:
        page.until("document.querySelectorAll('tr').length === 2")
        rows = "[...document.querySelectorAll('tr')].map(row => row.innerText)"
        assert sorted(page.run(rows)) == ['machine/load\t{"1m":0.5}', "machine/mood\tfine"]
        site.shell.run(PUBLISH.replace("fine", "'<b>tired</b>'"))
        page.until(f"{rows}.includes('machine/mood\\t<b>tired</b>')")
        assert len(page.run(rows)) == 2


def test_htmx(browser: Browser, site: Site) -> None:
    """htmx puts in what is published as HTML: first what was there before, then what comes."""
    site.shell.run(PUBLISH_HTML)
    with site.page(browser, "htmx.html") as page:
        items = "[...document.querySelectorAll('li')].map(item => item.innerText)"
        page.until(f"{items}.length === 1")
        site.shell.run("comet pub news/html '<li><i>new</i>'")
        page.until(f"{items}.length === 2")
        assert page.run(items) == ["new", "Comet and htmx work together"]
        assert page.run("document.querySelector('li i').innerText") == "new"
        assert streams(site.shell.daemon.http, "news/html")[0]["transport"] == "sse"


def test_no_other_host(site: Site) -> None:
    """The pages take nothing from any other host than their own and the daemon's."""
    pages = [*(ROOT / "examples").rglob("*.html")]
    assert pages
    for page in pages:
        if "node_modules" not in page.parts:
            found = page.read_text().replace("http://127.0.0.1:7080/", "")
            assert "://" not in found and 'src="//' not in found, page
