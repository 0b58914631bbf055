"""The console, the browser client, the demos: what is served, and how."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files
from pathlib import Path

import pytest

from comet.config import Config
from comet.web.pages import PUBLIC, TYPES, File, Folder
from tests.web_faces import Face

STATIC = Path(str(files("comet").joinpath("static")))
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
HOSTS = r"https?://(?!www\.w3\.org/(?:2000/svg|1999/xhtml)|\$)"
"""The address of another host. A name space is none, nor is what a page puts together."""


def path_of(file: str) -> str:
    """Where ``file`` is found."""
    return "/" + re.sub(r"(^|/)index\.html$", r"\1", file)


def text_of(file: str) -> str:
    """What is in ``file``."""
    return (STATIC / file).read_text()


@pytest.fixture
def face() -> Face:
    """A daemon in memory, with a page in a folder of its own."""
    face = Face(Config(origin=("https://shop.example",)))
    face.site.resource.putChild(b"folder", Folder({b"": File(b"a page", {}), b"empty": Folder({})}))
    return face


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_served_with_its_type_and_a_strict_policy(face: Face, file: str) -> None:
    """Each file has its type; nothing of another host, and no script of a publisher, runs on a page."""
    answer = face.ask("GET", path_of(file))
    assert (answer.status, answer.headers["content-type"]) == (200, TYPES[Path(file).suffix])
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body) > 0
    if file != "index.html":
        assert answer.body == (STATIC / file).read_bytes()


def test_browsers_that_ask_for_an_icon_get_it(face: Face) -> None:
    """Those that do not read the page's link, too."""
    assert face.ask("GET", "/favicon.ico").body == face.ask("GET", "/icon.svg").body


def test_no_file_stands_in_the_way_of_the_daemon(face: Face) -> None:
    """The first segments of the HTTP interface are no names of files."""
    ours = {b"topics", b"streams", b"stats", b"healthz", b"readyz", b"metrics"}
    assert ours <= set(face.site.resource.children)
    assert not {Path(file).parts[0].encode() for file in FILES} & ours


# -- caches and compression -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["{}", "W/{}", '"another", {}', "*"])
@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_file_that_has_not_changed_is_not_sent_again(face: Face, known: str, coding: str) -> None:
    """A browser that has a file is told so; also one that is behind a proxy which compresses."""
    tag = face.ask("GET", "/console.js", Accept_Encoding=coding).headers["etag"]
    answer = face.ask("GET", "/console.js", Accept_Encoding=coding, If_None_Match=known.format(tag))
    assert (answer.status, answer.body) == (304, b"")
    assert (answer.headers["etag"], answer.headers["vary"]) == (tag, "Accept-Encoding")
    assert "content-length" not in answer.headers


def test_a_file_that_has_changed_is_sent(face: Face) -> None:
    """Whatever else the browser has; the two forms of one file are not taken for each other."""
    packed = face.ask("GET", "/console.js", Accept_Encoding="gzip").headers["etag"]
    for tag in (packed, '"another"', "nonsense"):
        assert face.ask("GET", "/console.js", If_None_Match=tag).status == 200


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br, GZIP;q=0.5", "br;q=1 , gzip ; q=1.0"])
def test_a_browser_that_can_unpack_gets_it_compressed(face: Face, accepted: str) -> None:
    """The same bytes, fewer on the way; a cache between keeps both forms apart."""
    plain, packed = face.ask("GET", "/comet.mjs"), face.ask("GET", "/comet.mjs", Accept_Encoding=accepted)
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body) / 2
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000, br", "xgzip", "identity"])
def test_others_get_it_as_it_is(face: Face, accepted: str) -> None:
    """Who does not name gzip, or rules it out."""
    answer = face.ask("GET", "/comet.mjs", Accept_Encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert answer.body == (STATIC / "comet.mjs").read_bytes()


def test_what_would_not_become_smaller_is_not_compressed(face: Face) -> None:
    """As a picture is, which is compressed already: there is one form of it, for everyone."""
    picture = gzip.compress(bytes(range(256)))
    face.site.resource.putChild(b"picture", File(picture, {}))
    answer = face.ask("GET", "/picture", Accept_Encoding="gzip")
    assert answer.body == picture
    assert not {"content-encoding", "vary"} & set(answer.headers)


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_head_has_no_body(face: Face, accepted: str) -> None:
    """A HEAD request gets the headers that GET has, and nothing behind them."""
    whole, head = (face.ask(method, "/console.css", Accept_Encoding=accepted) for method in ("GET", "HEAD"))
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "location"), [("/folder", "folder/"), ("/f%6flder?a=%0A", "folder/?a=%0A")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_folder_without_its_slash_leads_to_the_folder(face: Face, method: str, target: str, location: str) -> None:
    """By a relative address, which is right below whatever path a proxy has the daemon."""
    answer = face.ask(method, target)
    assert (answer.status, answer.headers["location"], answer.body) == (301, location, b"")
    assert face.ask("GET", f"/{location}").body == b"a page"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        *(("POST", "/", 405), ("POST", "/folder", 405), ("POST", "/folder/", 405), ("DELETE", "/comet.js", 405)),
        *(("GET", "/console.js/x", 404), ("GET", "/static", 404), ("GET", "/folder/nothing.html", 404)),
        *(("GET", "/folder/empty", 404), ("GET", "/folder/empty/", 404), ("POST", "/folder/empty", 404)),
        *(("GET", "//folder", 404), ("GET", "/folder//", 404), ("GET", "/index.html", 404)),
        *(("GET", "/demo/../comet.js", 404), ("GET", "/demo/%2e%2e/comet.js", 404), ("GET", "/demo%2fdemo.css", 404)),
    ],
)
def test_there_is_nothing_else(face: Face, method: str, target: str, status: int) -> None:
    """Other methods and other paths get a problem document."""
    answer = face.ask(method, target)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


# -- pages of other origins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PUBLIC))
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example", "http://localhost", None])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_of_any_origin_may_load_the_client(face: Face, path: bytes, origin: str | None, method: str) -> None:
    """It is the same for all, so that a cache need not keep an answer for each."""
    headers = {"Origin": origin} if origin else {}
    answer = face.ask(method, path.decode(), b"", **headers)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(("GET", "/"), ("GET", "/console.js"), ("GET", "/demo/"), ("GET", "/demo"), ("GET", "/topics/comet.js")),
        *(("GET", "/comet.js/"), ("GET", "//comet.js"), ("GET", "/comet.js%2f")),
        *(("POST", "/comet.js"), ("OPTIONS", "/comet.js")),
    ],
)
def test_a_page_of_any_origin_may_nothing_else(face: Face, method: str, target: str) -> None:
    """Neither what else is served, nor what is published."""
    answer = face.ask(method, target, Origin="https://evil.example")
    assert (answer.status, answer.json()["code"]) == (403, "origin_refused")
    assert "access-control-allow-origin" not in answer.headers


def test_a_listed_page_may_read_pages(face: Face) -> None:
    """As it may read all; what the answer depends on is said in full."""
    answer = face.ask("GET", "/console.js", Origin="https://shop.example")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert face.ask("GET", "/console.js").headers["cross-origin-resource-policy"] == "same-origin"


def test_the_client_is_not_for_other_names_of_this_machine(face: Face) -> None:
    """A name that is made to mean the loopback leads nowhere, also not to the client."""
    wire = face.connect()
    wire.send(b"GET /comet.js HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n")
    assert wire.take().startswith(b"HTTP/1.1 421 ")


# -- what is in them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith((".png", "comet.d.ts"))])
def test_no_page_asks_another_host_or_makes_html_of_messages(file: str) -> None:
    """What is served names no other host, and shows text as text."""
    assert not re.findall(HOSTS, text_of(file))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text_of(file))


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith(".html")])
def test_pages_have_no_script_inline_and_work_below_any_path(file: str) -> None:
    """The policy would not run it; and behind a proxy the daemon may be below a path of its own."""
    html = text_of(file)
    assert not re.search(r"<style|\sstyle=|<script(?![^>]* src=)|\son[a-z]+=", html)
    assert not re.search(r"""\s(?:src|href|action)=["']?/""", html)


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
