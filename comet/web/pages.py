"""The console at ``/`` and what it consists of: files of this package, read once at the start.

Every page has a strict Content-Security-Policy: whatever anybody publishes, it runs no script of theirs.
"""

from __future__ import annotations

import re
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple

from twisted.web.http import CACHED
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from comet.config import Config
from comet.errors import NotFound, shown
from comet.web.resources import Leaf

_TCP_PORT = re.compile(r"tcp:(?:port=)?([0-9]{1,5})\b", re.ASCII)
_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Page(NamedTuple):
    """A row of the table: what is found at ``/<name>``."""

    name: str
    file: str
    content_type: str


PAGES = (
    Page("", "index.html", "text/html; charset=utf-8"),
    Page("console.css", "console.css", "text/css; charset=utf-8"),
    Page("console.js", "console.js", "text/javascript; charset=utf-8"),
    Page("icon.svg", "icon.svg", "image/svg+xml"),
    Page("favicon.ico", "icon.svg", "image/svg+xml"),
)


def pages(config: Config) -> dict[bytes, IResource]:
    """Return the resources by the only segment of their path."""
    static = files("comet").joinpath("static")
    found: dict[bytes, IResource] = {}
    for page in PAGES:
        body = static.joinpath(page.file).read_bytes()
        if page.name == "":
            body = body.replace(b"%tcp-port%", _tcp_port(config).encode())
        found[page.name.encode()] = File(body, page.content_type)
    return found


class File(Leaf):
    """A file that is kept in memory. It may be kept elsewhere too, if it is asked about each time."""

    def __init__(self, body: bytes, content_type: str) -> None:
        super().__init__()
        self._body = body
        self._headers = {
            b"content-type": content_type.encode(),
            b"content-security-policy": _POLICY,
            b"x-content-type-options": b"nosniff",
            b"referrer-policy": b"no-referrer",
            b"cache-control": b"no-cache",
        }
        self._tag = b'"%b"' % sha256(body).hexdigest()[:16].encode()

    def render(self, request: Any) -> Any:
        """Answer GET, and HEAD, which a :class:`~comet.web.resources.Leaf` does not know."""
        if request.postpath:
            raise NotFound(f"there is nothing at {shown(request.path)}")
        return self.render_GET(request) if request.method == b"HEAD" else super().render(request)

    def render_GET(self, request: Any) -> Any:
        """Answer with the file, or say that it has not changed."""
        for name, value in self._headers.items():
            request.setHeader(name, value)
        if request.setETag(self._tag) is CACHED:
            request.finish()  # an empty body would be given a length, which is not the file's
            return NOT_DONE_YET
        request.setResponseCode(HTTPStatus.OK)
        request.setHeader(b"content-length", b"%d" % len(self._body))
        return self._body


def _tcp_port(config: Config) -> str:
    """The port of the TCP face, as far as it can be known: empty if there is none to tell."""
    for endpoint in config.tcp:
        match = _TCP_PORT.match(endpoint)
        if match is not None and match[1] != "0":
            return match[1]
    return ""
