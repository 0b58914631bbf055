"""The applications in ``examples/``: each with its own server, a daemon, and visitors in a browser."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browsers.browser import Browser, Page
from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, streams, subscribe
from tests.e2e.waiting import until
from tests.recipes.documented import Shell, commands, listens, shell
from tests.recipes.proxies import free_port

PAGE = "docs/recipes/applications.rst"
SERVERS = {"django": "runserver", "flask": "flask --app", "fastapi": "uvicorn"}
"""Part of the command that starts each."""

LATENESS = 10.0
"""The most seconds that a visitor waits whose bid cannot be published; ``patience`` in the examples is 2."""


@dataclass(frozen=True, slots=True)
class Auction:
    """An application that runs, at ``address``, with its daemon and its database."""

    address: str
    daemon: Daemon
    database: Path

    def bids(self) -> list[int]:
        """What is in the database."""
        tables = "SELECT name FROM sqlite_master WHERE name IN ('bids', 'auction_bid')"
        with closing(sqlite3.connect(self.database)) as database:
            (table,) = database.execute(tables).fetchone()
            return [price for (price,) in database.execute(f"SELECT price FROM {table} ORDER BY price")]

    def published(self) -> list[int]:
        """What was published."""
        answer = asked_json(self.daemon.http, "/topics/auction/7?since=first&wait=0")
        return [message["data"]["price"] for message in answer["messages"]]


def documented(part: str) -> str:
    """The command of the page in which ``part`` stands."""
    (found,) = (command.text for command in commands(PAGE) if part in command.text)
    return found


@contextmanager
def auction(name: str, directory: Path) -> Iterator[Auction]:
    """The application ``name``, started as its page says."""
    port = free_port()
    serve = documented("comet serve").replace("8000", str(port))
    with running(*serve.split()[2:]) as daemon:
        commands = shell(daemon, directory)
        database = directory / "auction.db"
        if name == "django":
            migrated(commands, database)
        with commands.begun(documented(SERVERS[name]).replace("8000", str(port)), DATABASE=str(database)) as server:
            address = f"127.0.0.1:{port}"
            until(lambda: listens(address), f"{name} listens; it says {server.out.decode()}")
            yield Auction(address, daemon, database)


def migrated(commands: Shell, database: Path) -> None:
    """Make Django's tables."""
    with commands.begun(documented("migrate"), DATABASE=str(database)) as made:
        assert made.wait() == 0, made.out.decode()


@pytest.fixture(scope="module", params=SERVERS)
def running_auction(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auction]:
    """Each of the applications."""
    with auction(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


def visit(browser: Browser, auction: Auction) -> Page:
    """A visitor's page, which listens."""
    page = browser.open(f"http://{auction.address}/")
    page.until("stream.readyState === 1")
    return page


def offer(page: Page, price: int) -> int:
    """Bid through the form of the page, without leaving it; returns the status of the answer, 204 for a redirect."""
    status: int = page.do(
        f"""
        const form = document.forms[0];
        form.price.value = {price};
        const headers = {{ "Content-Type": "application/json" }}, body = JSON.stringify({{ price: {price} }});
        const sent = form.method === "post" ? {{ body: new FormData(form) }} : {{ headers, body }};
        const answer = await fetch("/bid", {{ method: "POST", redirect: "manual", ...sent }});
        return answer.type === "opaqueredirect" ? 204 : answer.status;
        """
    )
    return status


def test_bid(browser: Browser, running_auction: Auction) -> None:
    """A bid that one visitor sends with the form is shown on another visitor's page, which is not loaded again."""
    with visit(browser, running_auction) as seller, visit(browser, running_auction) as bidder:
        before = int(seller.run("shown.textContent"))
        seller.run("window.loaded = 'once'")
        bidder.do(f"document.forms[0].price.value = {before + 10}; document.forms[0].requestSubmit()")
        seller.until(f"shown.textContent === '{before + 10}'")
        bidder.until(f"typeof shown !== 'undefined' && shown.textContent === '{before + 10}'")
        assert seller.run("window.loaded") == "once"


def test_rollback(browser: Browser, running_auction: Auction) -> None:
    """A bid whose transaction is rolled back is neither stored nor published."""
    with visit(browser, running_auction) as page:
        price = int(page.run("shown.textContent")) + 10
        assert offer(page, price) == 204
        page.until(f"shown.textContent === '{price}'")
        before = running_auction.bids(), running_auction.published()
        assert offer(page, price - 5) == 400
        assert (running_auction.bids(), running_auction.published()) == before
        assert before[0] == before[1]


def test_nothing_is_missed(browser: Browser, running_auction: Auction) -> None:
    """What is bid after a page was rendered and before it subscribes is the first thing that its stream carries."""
    status, _, body = asked(running_auction.address, "GET", "/")
    assert status == 200
    found = re.search(r'data-stream="([^"]+)">(\d+)<', body.decode())
    assert found is not None, body
    target, rendered = html.unescape(found[1]).removeprefix(f"http://{running_auction.daemon.http}"), int(found[2])
    with visit(browser, running_auction) as page:
        assert offer(page, rendered + 10) == 204
    with subscribe(running_auction.daemon.http, target, "sse", Accept="text/event-stream") as held:
        assert held.until_messages(1)[0]["data"] == {"price": rendered + 10}


def test_gap(browser: Browser, running_auction: Auction) -> None:
    """A page that is told of a gap is loaded again, and so shows the state."""
    with visit(browser, running_auction) as page:
        page.run("window.loaded = 'once'")
        gap = json.dumps({"comet": "gap"})
        page.run(f"stream.dispatchEvent(new MessageEvent('comet', {{ data: {json.dumps(gap)} }}))")
        page.until("window.loaded === undefined && typeof stream !== 'undefined' && stream.readyState === 1")


@pytest.mark.parametrize("name", SERVERS)
def test_without_the_daemon(browser: Browser, name: str, tmp_path: Path) -> None:
    """While the daemon is away a bid is stored all the same, and its bidder hears nothing of it."""
    with auction(name, tmp_path) as found, visit(browser, found) as page:
        until(lambda: streams(found.daemon.http, "auction/7"), "the page listens")
        assert found.daemon.end() == 0
        began = page.run("performance.now()")
        assert (offer(page, 10), found.bids()) == (204, [10])
        assert page.run("performance.now()") - began < LATENESS * 1000
