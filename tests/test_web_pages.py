"""The console and its files."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from comet.config import Config
from comet.web.pages import PAGES, Page
from tests.web_faces import Face


@pytest.fixture
def face() -> Face:
    """A daemon in memory."""
    return Face()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name or "console")
def test_files_are_served_with_their_type_and_a_strict_policy(face: Face, page: Page) -> None:
    """Each file has its type; nothing of another host, and no script of a publisher, runs on a page."""
    answer = face.ask("GET", f"/{page.name}")
    assert (answer.status, answer.headers["content-type"]) == (200, page.content_type)
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert int(answer.headers["content-length"]) == len(answer.body) > 0


def test_a_file_that_has_not_changed_is_not_sent_again(face: Face) -> None:
    """A browser that has a file is told so."""
    tag = face.ask("GET", "/console.js").headers["etag"]
    answer = face.ask("GET", "/console.js", If_None_Match=tag)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == tag
    assert "content-length" not in answer.headers


def test_head_has_no_body(face: Face) -> None:
    """A HEAD request gets the headers that GET has, and nothing behind them."""
    whole, head = face.ask("GET", "/console.css"), face.ask("HEAD", "/console.css")
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


@pytest.mark.parametrize(
    ("method", "target", "status"), [("POST", "/", 405), ("GET", "/console.js/x", 404), ("GET", "/static", 404)]
)
def test_there_is_nothing_else(face: Face, method: str, target: str, status: int) -> None:
    """Other methods and other paths get a problem document."""
    answer = face.ask(method, target)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


def test_the_console_asks_no_other_host_and_makes_no_html_of_messages() -> None:
    """What the console consists of names no other host, has no script or style inline, and shows text as text."""
    for page in PAGES:
        text = files("comet").joinpath("static").joinpath(page.file).read_text()
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), page.file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), page.file
    html = files("comet").joinpath("static/index.html").read_text()
    assert not re.search(r"<style|style=|<script(?! src=)|\son[a-z]+=", html)


@pytest.mark.parametrize(
    ("tcp", "port"),
    [
        (("tcp:7081:interface=127.0.0.1",), "7081"),
        (("unix:/run/comet", "tcp:port=9000"), "9000"),
        (("tcp:0",), ""),
        ((), ""),
    ],
)
def test_the_console_knows_where_publishers_go(tcp: tuple[str, ...], port: str) -> None:
    """The commands that the console shows name the TCP port of this daemon, or are left out if it has none."""
    page = Face(Config(tcp=tcp)).ask("GET", "/").body.decode()
    assert f'data-tcp-port="{port}"' in page
