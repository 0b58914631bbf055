"""The applications of ``docs/tokens.rst``: what they sign and answer lets their visitors in, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.browsers.browser import Browser, Page
from tests.daemons import ROOT, Daemon, running
from tests.e2e.held import asked
from tests.e2e.tools import COMET, run
from tests.e2e.waiting import until
from tests.recipes.documented import commands, listens, shell
from tests.recipes.proxies import free_port

PAGE = "docs/tokens.rst"
SERVERS = {
    "django": "with_django.py",
    "flask": "with_flask.py",
    "fastapi": "with_fastapi:app",
    "express": "with-express",
}
"""Part of the command that starts each."""


@dataclass(frozen=True, slots=True)
class Application:
    """One that runs, at ``origin``, with its daemon."""

    origin: str
    daemon: Daemon

    def visitor(self, name: str) -> Visitor:
        """Somebody who has logged in."""
        visitor = Visitor(self)
        body = json.dumps({"user": name}).encode()
        assert visitor.ask("/login", body, Content_Type="application/json")[0] == 204
        return visitor


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser without a page: it keeps cookies."""

    application: Application
    cookies: CookieJar = field(default_factory=CookieJar)

    def ask(self, path: str, body: bytes | None = None, **header: str) -> tuple[int, str]:
        """What the application answers."""
        opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.cookies))
        fields = {name.replace("_", "-"): value for name, value in header.items()}
        try:
            with opener.open(Request(self.application.origin + path, body, fields), timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def by_token(self, method: str, target: str, body: bytes = b"") -> int:
        """The status that the daemon answers to a request with the visitor's token."""
        status, token = self.ask("/token")
        assert status == 200, token
        return asked(self.application.daemon.http, method, target, body, Authorization=f"Bearer {token}")[0]

    def by_cookie(self, method: str, target: str, body: bytes = b"") -> int:
        """The same with the visitor's cookies, from the application's page: so the daemon asks the application."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        header = {"Origin": self.application.origin, **({"Cookie": cookies} if cookies else {})}
        return asked(self.application.daemon.http, method, target, body, **header)[0]


@pytest.fixture(scope="module", params=SERVERS)
def application(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Each application, and a daemon with the same key, both started as the page says."""
    place, port = tmp_path_factory.mktemp(request.param), free_port()
    key = place / "comet.key"
    assert run(*COMET, "token", "--new-key", str(key)).code == 0
    options = documented("comet serve", place, port, "--origin").split()[2:]
    with running(*options) as daemon:
        copied(place / "tokens", daemon)
        (place / "node_modules").symlink_to(ROOT / "browser/node_modules")
        command = documented(SERVERS[request.param], place, port)
        with shell(daemon, place).begun(command, PUSH_KEY=str(key), PORT=str(port)) as server:
            until(lambda: listens(f"127.0.0.1:{port}"), f"{command} listens; it says {server.out.decode()}")
            yield Application(f"http://127.0.0.1:{port}", daemon)


def documented(part: str, place: Path, port: int, further: str = "") -> str:
    """The command of the page with ``part``, for files in ``place`` and a port of its own."""
    (found,) = (each.text for each in commands(PAGE) if part in each.text and further in each.text)
    found = found.replace("8000", str(port)).replace("comet.key", str(place / "comet.key")).replace("'", "")
    return found.replace("examples/tokens", str(place / "tokens"))


def copied(place: Path, daemon: Daemon) -> None:
    """The examples, with a page that uses ``daemon``."""
    shutil.copytree(ROOT / "examples/tokens", place)
    page = place / "page.html"
    page.write_text(page.read_text().replace("127.0.0.1:7080", daemon.http))


def test_stranger(application: Application) -> None:
    """Who has not logged in gets no token, and the daemon has the application say no."""
    stranger = Visitor(application)
    assert stranger.ask("/token")[0] == 401
    assert stranger.by_cookie("GET", "/topics/chat/lobby?wait=0") == 401
    assert stranger.by_cookie("POST", "/topics/chat/lobby", b"{}") == 401


def test_token(application: Application) -> None:
    """The token of a visitor is good for what the application allows, and for nothing else."""
    alice = application.visitor("alice")
    assert alice.by_token("POST", "/topics/chat/lobby", b"{}") == 201
    assert alice.by_token("POST", "/topics/chat/other", b"{}") == 403
    assert alice.by_token("GET", "/topics?topic=chat/*&topic=user/alice&wait=0") == 200
    assert alice.by_token("GET", "/topics/user/bob?wait=0") == 403
    assert alice.by_token("GET", "/stats") == 403


def test_application_decides(application: Application) -> None:
    """Without a token the daemon asks the application, with the visitor's cookies, and goes by its answer."""
    alice = application.visitor("alice")
    assert alice.by_cookie("POST", "/topics/chat/lobby", b"{}") == 201
    assert alice.by_cookie("POST", "/topics/chat/other", b"{}") == 403
    assert alice.by_cookie("GET", "/topics?topic=chat/*&topic=user/alice&wait=0") == 200
    assert alice.by_cookie("GET", "/topics/user/bob?wait=0") == 403


@pytest.mark.parametrize("name", ["**", "*", "a/b", "$stats"])
def test_names_are_no_patterns(application: Application, name: str) -> None:
    """Whoever calls himself like a pattern is allowed no more than others."""
    visitor = application.visitor(name)
    for target in ("/topics/user/bob?wait=0", "/topics/user/**?wait=0", "/topics/$stats/daemon?wait=0"):
        assert visitor.by_token("GET", target) == 403
    assert visitor.by_token("GET", "/topics/chat/lobby?wait=0") == 200


def test_page(browser: Browser, application: Application) -> None:
    """A visitor of the page sees nothing, logs in, and says something that another one sees."""
    with browser.open(f"{application.origin}/") as bob, browser.open(f"{application.origin}/") as alice:
        bob.until("document.querySelector('#state').textContent === 'log in first'")
        for page, name in ((bob, "bob"), (alice, "alice")):
            filled_in(page, "#login", "user", name)
        said = f"hello from {application.origin}"
        filled_in(alice, "#say", "text", said)
        bob.until(f"[...document.querySelectorAll('li')].some((item) => item.textContent === {json.dumps(said)})")


def filled_in(page: Page, form: str, field: str, text: str) -> None:
    """Fill in a form of the page, and send it."""
    page.do(f"const form = document.querySelector('{form}'); form.{field}.value = '{text}'; form.requestSubmit();")
