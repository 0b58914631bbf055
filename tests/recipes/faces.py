"""The recipes, and a real daemon behind each in its real proxy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import jwt

from tests.daemons import Daemon, running
from tests.recipes.clients import Client
from tests.recipes.files import daemon_options, recipe
from tests.recipes.frames import DEBIAN_MPM, KINDS
from tests.recipes.proxies import Front, filled, free_port, proxy
from tests.recipes.wires import connect

TRANSPORTS = ("poll", "stream", "sse", "iframe", "multipart", "mixed", "websocket")
HTTP_1 = "http/1.1"
HTTP_2 = "h2"
SILENCE = 0.5
"""Seconds between the heartbeats of the daemons in these tests."""

_SECRET = "a secret of these tests, which is long enough"
ANYBODY = ("--anonymous", "publish:**", "--anonymous", "subscribe:**")
"""Options that let everybody in, as far as topics go: what comes through a proxy is not of this machine."""

_KEY = "/etc/comet/key"
_PORT = {"7080": "UPSTREAM_PORT", _KEY: "KEY_FILE"}
_TLS = {"/etc/ssl/comet/cert.pem": "CERT", "/etc/ssl/comet/key.pem": "KEY"}
_NGINX = {"listen 443": "listen LISTEN", **_TLS}
_HAPROXY = {
    "/etc/ssl/comet/both.pem": "BOTH",
    "bind :443": "bind LISTEN",
    "bind :6380": "bind RESP_LISTEN",
    "7081": "RESP_PORT",
    "maxconn 20000": "maxconn 500",
    "user haproxy": "user USER",
    "group haproxy": "group GROUP",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A configuration and how it is tried: ``changes`` are those of a user, ``frame`` gives what stands around
    it, if that is a recipe too.

    ``protocols`` are those that it offers, and ``websockets`` those over which WebSockets come through. ``unnoticed``
    are the transports whose client may leave without the proxy noticing.
    """

    path: str
    changes: Mapping[str, str]
    protocols: tuple[str, ...] = (HTTP_1, HTTP_2)
    websockets: tuple[str, ...] = (HTTP_1,)
    host: str = "push.example.org"
    unnoticed: tuple[str, ...] = ()
    prefix: str = ""
    frame: Callable[[], str] | None = None

    @property
    def kind(self) -> str:
        """The name of the proxy."""
        return self.path.partition("/")[0]

    def carried(self, protocol: str) -> list[str]:
        """The transports that it carries over ``protocol``."""
        return [name for name in TRANSPORTS if name != "websocket" or protocol in self.websockets]


def _nginx_frame() -> str:
    return recipe("nginx/nginx.conf", {"/etc/nginx/conf.d/*.conf": "DIRECTORY/site", "www-data": "USER"})


def _apache_frame() -> str:
    return KINDS["apache"].frame.replace(DEBIAN_MPM, recipe("apache/mpm_event.conf", {}))


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        found.path: found
        for found in (
            Recipe("nginx/comet.conf", {**_NGINX, **_PORT}, frame=_nginx_frame),
            Recipe("nginx/prefix.conf", {**_NGINX, **_PORT}, host="www.example.org", prefix="/push"),
            Recipe("nginx/unix.conf", {**_NGINX, "/run/comet/http.sock": "SOCKET", _KEY: "KEY_FILE"}),
            Recipe("haproxy/haproxy.cfg", {**_HAPROXY, **_PORT}, websockets=(HTTP_1, HTTP_2)),
            Recipe(
                "apache/comet.conf",
                {"*:443": "LISTEN", **_TLS, **_PORT},
                (HTTP_1,),
                unnoticed=("poll",),
                frame=_apache_frame,
            ),
            Recipe("varnish/default.vcl", {'"7080"': '"UPSTREAM_PORT"', _KEY: "KEY_FILE"}, (HTTP_1,)),
            Recipe("squid/squid.conf", {"http_port 80": "http_port LISTEN", **_PORT}, (HTTP_1,)),
        )
    }
)
"""By their path."""

OFFERED = [(path, protocol) for path, found in RECIPES.items() for protocol in found.protocols]
"""Each recipe with each protocol that it offers."""

CARRIED = [(path, protocol, name) for path, protocol in OFFERED for name in RECIPES[path].carried(protocol)]
"""The same with each transport that it carries."""


@dataclass(frozen=True, slots=True)
class Face:
    """A recipe as it is tried: its proxy and its daemon are started and ended at will.

    ``upstream`` is where the proxy expects the daemon. What comes through it may subscribe and publish without a token
    in most of these tests, which are about other things.
    """

    recipe: Recipe
    directory: Path
    upstream: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    resp: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    resp_port: str = field(default_factory=lambda: str(free_port()))

    def text(self) -> str:
        """The recipe, changed as its table says, with words that the harness replaces."""
        return recipe(self.recipe.path, self.recipe.changes)

    def words(self) -> dict[str, str]:
        """What is replaced in it beside what the harness knows."""
        socket, key = str(self.directory / "http.sock"), str(self.directory / "key")
        return {"SOCKET": socket, "KEY_FILE": key, "RESP_LISTEN": self.resp, "RESP_PORT": self.resp_port}

    @property
    def direct(self) -> str:
        """Where the daemon is reached past the proxy, as a program of this machine."""
        return str(self.directory / "direct.sock")

    def token(self, **allowed: object) -> str:
        """A token for who is ``allowed`` that."""
        return jwt.encode({"sub": "tester", "comet": allowed}, _SECRET, "HS256")

    @contextmanager
    def proxy(self) -> Iterator[Front]:
        """The proxy."""
        frame = None if self.recipe.frame is None else self.recipe.frame()
        with proxy(self.recipe.kind, self.text(), self.upstream, words=self.words(), frame=frame) as front:
            yield front

    @contextmanager
    def daemon(self, allowed: Sequence[str] = ANYBODY) -> Iterator[Daemon]:
        """The daemon with the options that the recipe names; ``allowed`` says what may be done without a token."""
        (self.directory / "key").write_text(_SECRET)
        port = self.upstream.rpartition(":")[2]
        options = [filled(option, {"UPSTREAM_PORT": port, **self.words()}) for option in daemon_options(self.text())]
        if "--http" not in options:
            options += ["--http", f"tcp:{port}:interface=127.0.0.1"]
        if "--tcp" not in options:
            options += ["--tcp", f"tcp:{self.resp_port}:interface=127.0.0.1"]
        plain = ("--http", f"unix:{self.direct}", "--silence", f"{SILENCE}s")
        with running(*plain, *options, *allowed, anywhere=()) as daemon:
            yield daemon

    def client(self, front: Front, protocol: str) -> Client:
        """A new connection to the proxy."""
        tried = self.recipe
        return Client(lambda: connect(front.address, front.ca, tried.host, protocol), tried.host, tried.prefix)


@contextmanager
def tried(path: str) -> Iterator[Face]:
    """The recipe at ``path``, with a directory for it; nothing is started."""
    with tempfile.TemporaryDirectory(prefix="comet-") as name:
        yield Face(RECIPES[path], Path(name))
