"""``comet doctor`` before real proxies: it names the fault of a wrong configuration, and finds none in a right one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.daemons import Daemon, running
from tests.e2e.tools import COMET, run
from tests.recipes.documented import commands
from tests.recipes.faces import ANYBODY, HTTP_2, RECIPES, tried
from tests.recipes.proxies import free_port, proxy

DOCTORS = ("--anonymous", "publish:doctor/**", "--anonymous", "subscribe:doctor/**")
OPTIONS = ("--max-streams", "10000", "--silence", "5s", *ANYBODY)

NGINX = """
map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
server {
    listen LISTEN;
    gzip off;
    location / {
        proxy_pass http://UPSTREAM;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        FURTHER
    }
}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    FURTHER
frontend pages
    bind LISTEN
    default_backend comet
backend comet
    server comet UPSTREAM
"""

APACHE = """
<VirtualHost LISTEN>
    ProxyPreserveHost On
    ProxyPass / http://UPSTREAM/ upgrade=websocket
    FURTHER
</VirtualHost>
"""

VARNISH = """
vcl 4.1;
backend comet { .host = "127.0.0.1"; .port = "UPSTREAM_PORT"; }
sub vcl_recv {
    if (req.http.upgrade || req.url ~ "transport=(stream|sse|iframe|mixed|multipart)") { return (pipe); }
}
sub vcl_pipe {
    if (req.http.upgrade) {
        set bereq.http.upgrade = req.http.upgrade;
        set bereq.http.connection = req.http.connection;
    }
}
sub vcl_backend_response { FURTHER }
"""

STREAMS = {"stream", "sse", "iframe", "multipart", "mixed"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Daemon]:
    """A daemon behind all of these proxies."""
    with running(*OPTIONS) as daemon:
        yield daemon


class Told(NamedTuple):
    """The exit code of ``comet doctor``, and by code what it says is to be done."""

    code: int
    todo: dict[str, dict[str, Any]]

    def outcome(self) -> tuple[int, set[str]]:
        """The exit code, and the codes of the faults."""
        return self.code, set(self.todo)

    def mend(self, code: str) -> str:
        """What is said to be done about the fault of that code."""
        return str(self.todo[code]["mend"])


def doctor(url: str, *arguments: str) -> Told:
    """Run ``comet doctor``."""
    ended = run(*COMET, "doctor", url, "--json", *arguments)
    assert not ended.err
    last = json.loads(ended.out.splitlines()[-1])
    assert last["exit"] == ended.code
    return Told(ended.code, {thing["code"]: thing for thing in last["todo"]})


class Wrong(NamedTuple):
    """A wrong configuration: what is to be said of it, of which checks, and a part of how it is mended."""

    kind: str
    config: str
    code: str
    status: str
    checks: set[str]
    mend: str
    arguments: tuple[str, ...] = ()
    alone: bool = True


def nginx(further: str, *rest: Any, **more: Any) -> Wrong:
    """nginx with ``further`` lines."""
    return Wrong("nginx", NGINX.replace("FURTHER", further), *rest, **more)


CACHE = "proxy_cache_path DIRECTORY/cache keys_zone=pages:1m;\n"
LIMIT = "limit_conn_zone $server_port zone=few:1m;\n"

WRONG = {
    "nginx buffers": nginx(
        "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;",
        "held_back",
        "bad",
        STREAMS,
        "nginx: 'proxy_buffering off;'",
    ),
    "nginx compresses": nginx(
        "gzip on; gzip_types *; gzip_proxied any;", "compressed", "warn", STREAMS, "nginx: 'gzip off;'"
    ),
    "nginx compresses pages": nginx("gzip on;", "compressed", "warn", {"iframe"}, "nginx: 'gzip off;'"),
    "apache compresses": Wrong(
        "apache",
        APACHE.replace("FURTHER", "SetOutputFilter DEFLATE"),
        "compressed",
        "warn",
        STREAMS,
        "Apache: 'SetEnv no-gzip 1'",
    ),
    "nginx cuts": nginx(
        "proxy_read_timeout 2s;",
        "idle_cut",
        "bad",
        {f"idle {name}" for name in (*STREAMS, "poll", "websocket")},
        "nginx: 'proxy_read_timeout 90s;'",
        ("--idle", "4"),
    ),
    "haproxy cuts": Wrong(
        "haproxy",
        HAPROXY.replace("FURTHER", "").replace("timeout server 60s", "timeout server 2s"),
        "idle_cut",
        "bad",
        {f"idle {name}" for name in (*STREAMS, "poll", "websocket")},
        "HAProxy: 'timeout server 90s'",
        ("--idle", "4"),
    ),
    "haproxy cuts tunnels": Wrong(
        "haproxy",
        HAPROXY.replace("FURTHER", "timeout tunnel 2s"),
        "idle_cut",
        "bad",
        {"idle websocket"},
        "'timeout tunnel 90s'",
        ("--idle", "4"),
    ),
    "nginx eats upgrades": Wrong(
        "nginx",
        NGINX.replace("proxy_set_header Upgrade $http_upgrade;", "").replace("FURTHER", ""),
        "upgrade",
        "bad",
        {"websocket"},
        "proxy_set_header Upgrade $http_upgrade",
    ),
    "nginx eats Host": Wrong(
        "nginx",
        NGINX.replace("proxy_set_header Host $http_host;", "").replace("FURTHER", ""),
        "origin",
        "warn",
        {"own pages"},
        "proxy_set_header Host $http_host",
    ),
    "nginx asks another Host": Wrong(
        "nginx",
        NGINX.replace("Host $http_host", "Host push.example").replace("FURTHER", ""),
        "host_refused",
        "bad",
        {"comet"},
        "--host push.example",
    ),
    "varnish stores": Wrong(
        "varnish",
        VARNISH.replace("FURTHER", "set beresp.ttl = 1m; set beresp.uncacheable = false; return (deliver);"),
        "cached",
        "bad",
        {"cache"},
        "return (pass)",
    ),
    "nginx stores": Wrong(
        "nginx",
        CACHE
        + NGINX.replace(
            "FURTHER",
            "proxy_cache pages; proxy_cache_valid 200 1m; proxy_ignore_headers Cache-Control X-Accel-Buffering;",
        ),
        "cached",
        "bad",
        {"cache"},
        "nginx: 'proxy_cache off;'",
        alone=False,
    ),
    "nginx takes no-store away": nginx(
        "proxy_hide_header Cache-Control;", "headers", "warn", {"poll", *STREAMS}, "proxy_hide_header Cache-Control"
    ),
    "nginx changes the type": nginx(
        "proxy_hide_header Content-Type; add_header Content-Type text/plain;",
        "changed_type",
        "bad",
        {"poll", *STREAMS},
        "add_header Content-Type",
    ),
    "nginx allows few": Wrong(
        "nginx",
        LIMIT + NGINX.replace("FURTHER", "limit_conn few 3;"),
        "refused",
        "bad",
        set(),
        "limit_conn",
        alone=False,
    ),
    "nginx closes": Wrong(
        "nginx",
        NGINX.replace("gzip off;", "gzip off; keepalive_timeout 0;").replace("FURTHER", ""),
        "keep_alive",
        "warn",
        {"keep-alive"},
        "nginx: 'keepalive_timeout 75s;'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(upstream: Daemon, name: str) -> None:
    """The fault is named, with the checks that show it and what to write into the proxy at hand."""
    wrong = WRONG[name]
    with proxy(wrong.kind, wrong.config, upstream.http) as front:
        told = doctor(front.url, *wrong.arguments)
    assert told.code == (1 if wrong.status == "bad" else 0)
    found = told.todo[wrong.code]
    assert found["status"] == wrong.status
    assert wrong.checks <= set(found["checks"])
    assert wrong.mend in found["mend"]
    if wrong.alone:
        assert set(told.todo) == {wrong.code}


def comparable(text: str) -> str:
    """``text`` without what differs from one run to the next: figures, paths, and where a line was wrapped."""
    for pattern, word in ((r"/\S+ *$", "PATH"), (r"(localhost|[0-9.]+):[0-9]+", "ADDRESS"), (r"[0-9][0-9.,]*", "N")):
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return " ".join(text.split())


def test_example(upstream: Daemon) -> None:
    """The example in the documentation is what is printed."""
    shown = next(each for each in commands("docs/command-line.rst") if each.text.startswith("comet doctor"))
    with proxy("nginx", WRONG["nginx buffers"].config, upstream.http) as front:
        ended = run(*COMET, "doctor", f"{front.url}/")
    assert ended.code == 1
    assert comparable(ended.out) in comparable(shown.output)


def test_haproxy_delays(upstream: Daemon) -> None:
    """HAProxy without ``http-no-delay`` lets the chunks of a proxy behind it wait for 200 ms; that is recognised."""
    with (
        proxy("nginx", NGINX.replace("FURTHER", ""), upstream.http) as inner,
        proxy("haproxy", HAPROXY.replace("FURTHER", ""), inner.address) as front,
    ):
        told = doctor(front.url)
    assert told.outcome() == (1, {"late"})
    assert set(told.todo["late"]["checks"]) == STREAMS
    assert "HAProxy: 'option http-no-delay'" in told.mend("late")


RIGHT = {
    "nginx": ("nginx", NGINX.replace("FURTHER", "")),
    "haproxy": ("haproxy", HAPROXY.replace("FURTHER", "option http-no-delay")),
    "apache": ("apache", APACHE.replace("FURTHER", "SetEnv no-gzip 1")),
    "varnish": ("varnish", VARNISH.replace("FURTHER", "")),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(upstream: Daemon, name: str) -> None:
    """Nothing is found where nothing is wrong."""
    with proxy(*RIGHT[name], upstream.http) as front:
        assert doctor(front.url).outcome() == (0, set())


@pytest.mark.parametrize("path", RECIPES)
def test_recipes(path: str) -> None:
    """Nothing is found in the recipes, also in silence, where the topics of the examination are everybody's."""
    with tried(path) as face, face.daemon(DOCTORS), face.proxy() as front:
        trust = ("--ca", front.ca) if front.ca else ()
        url = f"{front.url}{face.recipe.prefix}/"
        told = doctor(url, "--host", face.recipe.host, "--idle", "3", *trust)
    offered = HTTP_2 in face.recipe.protocols or not trust
    assert told.outcome() == (0, set() if offered else {"http1"})


@pytest.mark.parametrize(("kind", "config"), [("nginx", NGINX), ("haproxy", HAPROXY)])
def test_no_daemon(kind: str, config: str) -> None:
    """A proxy that answers for a daemon which does not run is told apart from the daemon."""
    with proxy(kind, config.replace("FURTHER", ""), f"127.0.0.1:{free_port()}") as front:
        told = doctor(front.url)
    assert told.outcome() == (1, {"daemon_down"})
    assert "comet serve" in told.mend("daemon_down")


def test_prefix(upstream: Daemon) -> None:
    """A prefix that comes through to the daemon is named, and so is a URL at which there is something else."""
    config = NGINX.replace("FURTHER", "").replace("location / {", "location /push/ {")
    with proxy("nginx", config, upstream.http) as front:
        told = doctor(f"{front.url}/push/")
        assert told.outcome() == (1, {"wrong_prefix"})
        assert "location /push/ { proxy_pass http://127.0.0.1:7080/; }" in told.mend("wrong_prefix")
        assert doctor(front.url).outcome() == (1, {"not_comet"})


def test_no_prefix(upstream: Daemon) -> None:
    """Who asks below a prefix that there is none of is told where Comet is."""
    config = NGINX.replace("FURTHER", "").replace("location / {", "location /other/ { return 404; } location / {")
    with proxy("nginx", config, upstream.http) as front:
        told = doctor(f"{front.url}/other/")
    assert told.outcome() == (1, {"wrong_address"})
    assert f"use {front.url}/" in told.mend("wrong_address")


SECURE = NGINX.replace("listen LISTEN;", "listen LISTEN ssl; ssl_certificate CERT; ssl_certificate_key KEY;")


def test_tls(upstream: Daemon) -> None:
    """What is wrong with a certificate is named, and the rest is examined nevertheless."""
    with proxy("nginx", SECURE.replace("FURTHER", ""), upstream.http) as front:
        trust = ("--ca", str(front.ca))
        assert doctor(front.url, *trust).outcome() == (0, {"http1"})
        assert doctor(front.url, "--insecure").outcome() == (0, {"http1"})
        told = doctor(front.url)
        assert told.outcome() == (1, {"certificate", "http1"})
        assert "--ca FILE" in told.mend("certificate")
        named = doctor(front.url, *trust, "--host", "other.example")
        assert "the name that is in the certificate" in named.mend("certificate")
        assert doctor(front.url.replace("https:", "http:")).outcome() == (1, {"wrong_address"})


def test_redirect(upstream: Daemon) -> None:
    """A redirect to TLS is followed and named."""
    with proxy("nginx", SECURE.replace("FURTHER", ""), upstream.http) as front:
        there = f"server {{ listen LISTEN; return 301 {front.url}$request_uri; }}"
        with proxy("nginx", there, upstream.http) as here:
            told = doctor(here.url, "--ca", str(front.ca))
    assert told.outcome() == (0, {"redirected", "http1"})
    assert f"give clients {front.url}/" in told.mend("redirected")
