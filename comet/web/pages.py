"""The pages that the daemon serves: the console at ``/``, the browser client, the demos at ``/demo/``.

They are the files of ``comet/static``, each found at its path there and a folder's ``index.html`` at the folder's, read
and compressed once in the life of the process: some hundred kilobytes. Every page has a strict Content-Security-Policy:
whatever anybody publishes, it runs no script of theirs. The browser client alone may be read by pages of any origin.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Any, NamedTuple

from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from comet.config import Config
from comet.errors import NotFound, shown
from comet.web.resources import Branch, Leaf

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
}
"""The content type of a file by the end of its name. What has none here is not served."""

PUBLIC = frozenset({b"/comet.d.ts", b"/comet.js", b"/comet.mjs"})
"""What a page of any origin may load, because that is how it gets the client.

There is no harm in it: they are files that anybody can install, the same for everyone, whatever is published and
whoever asks. All that a page learns is that Comet is here, which a ``<script>`` of any page could tell before. What the
client then asks for passes the gate like anything else.
"""

# 'self' includes the WebSocket of the same host and port (CSP 3). Safari knows that since version 16, and in an older
# one the client takes the next transport: naming the host would be wrong behind a proxy that gives it another.
_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    b"content-security-policy": _POLICY,
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",
    b"cross-origin-resource-policy": b"same-origin",
}
_PUBLIC_HEADERS = {
    b"access-control-allow-origin": b"*",
    b"cross-origin-resource-policy": b"cross-origin",
}

_INDEX = "index.html"
_TCP_PORT = re.compile(r"tcp:(?:port=)?([0-9]{1,5})\b", re.ASCII)
_NEVER = re.compile(rb"q=0(?:\.0*)?")
_TAG = re.compile(rb'"[^"]*"|\*')
_WORTHWHILE = 0.9
"""What is compressed to more than this part of itself is sent as it is."""


def pages(config: Config) -> dict[bytes, IResource]:
    """Return the resources by the first segment of their path."""
    console = files("comet").joinpath("static", _INDEX).read_bytes()
    console = console.replace(b"%tcp-port%", _tcp_port(config).encode())
    return {**_static(), b"": File(console, _headers("/", ".html"))}


def static_names() -> frozenset[bytes]:
    """The first segments of the paths of the files that are the same for everyone."""
    return frozenset(_static()) - {b""}


@cache
def _static() -> Mapping[bytes, IResource]:
    """All files, for every site of the process: nothing in them is of one site."""
    found = _found(files("comet").joinpath("static"), "/")
    return {**found, b"favicon.ico": found[b"icon.svg"]}


def _found(folder: Traversable, path: str) -> dict[bytes, IResource]:
    """What is in ``folder``, which is at ``path``, by name."""
    found: dict[bytes, IResource] = {}
    for entry in folder.iterdir():
        suffix = PurePath(entry.name).suffix
        if entry.is_dir():
            found[entry.name.encode()] = Folder(_found(entry, f"{path}{entry.name}/"))
        elif suffix in TYPES:
            name = "" if entry.name == _INDEX else entry.name
            found[name.encode()] = File(entry.read_bytes(), _headers(path + name, suffix))
    return found


def _headers(path: str, suffix: str) -> dict[bytes, bytes]:
    headers = {**_HEADERS, b"content-type": TYPES[suffix].encode()}
    return {**headers, **_PUBLIC_HEADERS} if path.encode() in PUBLIC else headers


class Shape(NamedTuple):
    """A form in which a file is sent: as it is, or compressed. Each has a tag of its own (RFC 9110, section 8.8.3)."""

    body: bytes
    coding: bytes
    tag: bytes


def _shapes(body: bytes) -> dict[bytes, Shape]:
    """The forms of ``body`` by their coding, as far as they are worth it."""
    # No time in it: the same file has the same tag after a restart.
    packed = gzip.compress(body, mtime=0)
    bodies = {b"": body, b"gzip": packed} if len(packed) < len(body) * _WORTHWHILE else {b"": body}
    return {
        coding: Shape(each, coding, b'"%b"' % sha256(each).hexdigest()[:16].encode()) for coding, each in bodies.items()
    }


class Readable(Leaf):
    """Answers HEAD as well as GET, and nothing beneath its path."""

    def render(self, request: Any) -> Any:
        if request.postpath:
            raise NotFound(f"there is nothing at {shown(request.path)}")
        return self.render_GET(request) if request.method == b"HEAD" else super().render(request)

    def render_GET(self, request: Any) -> Any:
        """Answer."""
        raise NotImplementedError


class File(Readable):
    """A file that is kept in memory. It may be kept elsewhere too, if it is asked about each time."""

    def __init__(self, body: bytes, headers: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._shapes = _shapes(body)
        self._headers = {**headers, b"vary": b"Accept-Encoding"} if len(self._shapes) > 1 else headers

    def render_GET(self, request: Any) -> Any:
        """Answer with the file, or say that it has not changed."""
        known = request.head.known
        shape = self._shapes[b""]
        if takes_gzip(known.get(b"accept-encoding", b"")):
            shape = self._shapes.get(b"gzip", shape)
        for name, value in (*self._headers.items(), (b"etag", shape.tag)):
            request.setHeader(name, value)
        if names(shape.tag, known.get(b"if-none-match", b"")):
            request.setResponseCode(HTTPStatus.NOT_MODIFIED)
            request.finish()  # an empty body would be given a length, which is not the file's
            return NOT_DONE_YET
        request.setResponseCode(HTTPStatus.OK)
        if shape.coding:
            request.setHeader(b"content-encoding", shape.coding)
        request.setHeader(b"content-length", b"%d" % len(shape.body))
        return shape.body


class Folder(Branch):
    """Files by name. Asked for without the slash at its end, it sends there: relative links would miss otherwise."""

    def render(self, request: Any) -> Any:
        """Redirect, if there is a page."""
        if b"" not in self.children:
            raise NotFound(f"there is nothing at {shown(request.path)}")
        return Slash().render(request)


class Slash(Readable):
    """Sends to the same path with a slash at its end: relatively, for a proxy may have it below another path."""

    def render_GET(self, request: Any) -> bytes:
        """Redirect."""
        query = b"?" + request.query if request.query else b""
        request.setResponseCode(HTTPStatus.MOVED_PERMANENTLY)
        request.setHeader(b"location", request.prepath[-1] + b"/" + query)
        request.setHeader(b"cache-control", b"no-cache")
        return b""


def takes_gzip(accepted: bytes) -> bool:
    """Whether an ``Accept-Encoding`` names gzip (RFC 9110, section 12.5.3), and not to rule it out."""
    for item in accepted.lower().split(b","):
        coding, _, weight = b"".join(item.split()).partition(b";")
        if coding == b"gzip":
            return not _NEVER.fullmatch(weight)
    return False


def names(tag: bytes, known: bytes) -> bool:
    """Whether an ``If-None-Match`` names ``tag``, be it marked as weak by a proxy that compresses."""
    return any(each in (tag, b"*") for each in _TAG.findall(known))


def _tcp_port(config: Config) -> str:
    """The port of the TCP face, as far as it can be known: empty if there is none to tell."""
    for endpoint in config.tcp:
        match = _TCP_PORT.match(endpoint)
        if match is not None and match[1] != "0":
            return match[1]
    return ""
