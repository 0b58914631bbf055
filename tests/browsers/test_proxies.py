"""The browser client through proxies, good ones and bad ones: which transport it ends on, and that it loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.driver import Bridge, installed
from tests.browsers.flow import Flow
from tests.browsers.gate import Gate, Treatment
from tests.browsers.pages import TRANSPORTS
from tests.daemons import Daemon
from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.recipes.conftest import Served
from tests.recipes.faces import HTTP_1, HTTP_2, RECIPES, tried
from tests.recipes.proxies import proxy

LATE = 6_000
"""Milliseconds after which no message may come while the client looks for its way, on a slow machine."""
SOON = 1_000
"""The same once it has found it."""

CLIENT = """
    const { Comet } = await import(HOME + "comet.mjs");
    Object.assign(window, { comet: new Comet(HOME, OPTIONS), states: [], gaps: [], got: [], delays: [] });
    comet.on("state", (told) => states.push(told));
    comet.on("gap", (gap) => gaps.push(gap));
    comet.subscribe(TOPIC, ({ id, time }) => {
        got.push(id);
        delays.push(Date.now() - time * 1000);
    }, { since: "first" });
"""


def followed(browser: Browser, home: str, topic: str, **options: object) -> Page:
    """A page with a client for ``topic`` that reaches the daemon by ``home``, as the page itself was."""
    page = browser.open(f"{home}comet.d.ts")
    words = {"HOME": home, "TOPIC": topic, "OPTIONS": {"share": False, **options}}
    page.do("".join(f"const {name} = {json.dumps(value)};" for name, value in words.items()) + CLIENT)
    return page


def gets_all(page: Page, daemon: str, topic: str, how: str, count: int = 40) -> None:
    """The client settles on ``how``, while messages are published and after; it has each, once, in order and soon."""
    with Flow(daemon, [topic]) as flow:
        flow.go_on(count)
    page.until(f"got.length >= {len(flow.sent)}")
    page.until(f"comet.state === 'open' && comet.transport === '{how}'")
    until(lambda: [found["transport"] for found in streams(daemon, topic)] == [how], f"only {how} is held")
    found = len(flow.sent)
    for number in range(found, found + 10):
        flow.publish(topic, "then")
        page.until(f"got.length > {number}")
    assert not flow.doubtful
    assert page.run("got") == [sent.id for sent in flow.sent]
    assert (page.run("gaps"), errors(page)) == ([], [])
    assert page.run("Math.max(...delays)") < LATE
    assert page.run(f"Math.max(...delays.slice({found}))") < SOON


def errors(page: Page) -> list[str]:
    """What went wrong. Below a prefix there is no icon where browsers look for one."""
    return [error for error in page.errors() if "favicon.ico" not in error]


def reasons(page: Page) -> set[str]:
    """Why the client did not go on, in its words."""
    told: list[str] = page.run("states.map(({ reason }) => reason).filter(Boolean)")
    return set(told)


BUFFERING = """
server {
    listen LISTEN;
    location / {
        proxy_pass http://UPSTREAM;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_buffering on;
        proxy_ignore_headers X-Accel-Buffering;
        proxy_hide_header X-Accel-Buffering;
    }
}
"""


DEFAULT = pytest.param({}, id="default")
EACH_ALONE = [pytest.param({"transports": [name]}, id=name) for name in TRANSPORTS]


@pytest.mark.parametrize("options", [DEFAULT, *EACH_ALONE])
def test_buffering(browser: Browser, daemon: Daemon, topic: str, options: dict[str, Any]) -> None:
    """Behind an nginx that collects what it gets, and carries no WebSocket, messages come by polls: soon, and all."""
    with proxy("nginx", BUFFERING, daemon.http) as front:
        page = followed(browser, f"{front.url}/", topic, **options)
        gets_all(page, daemon.http, topic, "poll", 150)
        assert reasons(page) <= {"nothing was heard for too long"}
        page.run("comet.close()")


class Trusting:
    """Chromium that believes any certificate, and takes the names of the recipes for this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bridges: dict[str, Bridge] = {}

    def speaking(self, protocol: str) -> Browser:
        """A browser that speaks ``protocol`` if it is offered."""
        if protocol not in self._bridges:
            self._bridges[protocol] = Bridge("chromium", str(self._program(protocol)))
        return Browser(self._bridges[protocol])

    def end(self) -> None:
        """End all of them."""
        for bridge in self._bridges.values():
            bridge.end()

    def _program(self, protocol: str) -> Path:
        options = ["--ignore-certificate-errors", "--host-resolver-rules=MAP *.example.org 127.0.0.1"]
        options += ["--disable-http2"] if protocol == HTTP_1 else []
        words = " ".join(f"'{option}'" for option in options)
        program = self._directory / protocol.replace("/", "-")
        program.write_text(f'#!/bin/sh\nexec {installed("chromium", "make tools")} {words} "$@"\n')
        program.chmod(0o755)
        return program


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    """The browsers that do not know who has signed a certificate."""
    trusting = Trusting(tmp_path_factory.mktemp("chromium"))
    yield trusting
    trusting.end()


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[[str], Served]]:
    """What starts the recipe at a path, if it is not running yet."""
    with ExitStack() as stack:

        @cache
        def start(path: str) -> Served:
            face = stack.enter_context(tried(path))
            stack.enter_context(face.daemon())
            return Served(face, stack.enter_context(face.proxy()))

        yield start


@pytest.mark.parametrize("options", [DEFAULT, *EACH_ALONE])
@pytest.mark.parametrize("protocol", [HTTP_1, HTTP_2])
@pytest.mark.parametrize("path", ["nginx/comet.conf", "nginx/prefix.conf", "haproxy/haproxy.cfg"])
def test_recipes(
    trusting: Trusting,
    serving: Callable[[str], Served],
    topic: str,
    path: str,
    protocol: str,
    options: dict[str, Any],
) -> None:
    """Behind the proxies of the recipes the best transport gets through, over HTTP/1.1 and HTTP/2."""
    served = serving(path)
    browser = trusting.speaking(protocol)
    recipe = RECIPES[path]
    home = f"https://{recipe.host}:{served.front.address.rpartition(':')[2]}{recipe.prefix}/"
    try:
        page = followed(browser, home, topic, **options)
        gets_all(page, served.direct, topic, options.get("transports", TRANSPORTS)[0])
        assert page.run("states.map(({ state }) => state)") == ["idle", "connecting", "open"]
        spoken = page.run("performance.getEntriesByType('resource').map((each) => each.nextHopProtocol)")
        assert set(spoken) - {""} == {protocol}
    finally:
        browser.close()


class Bad(NamedTuple):
    """A bad proxy: what it does to which transports, the transport that gets through, and why others did not."""

    treat: dict[str, Treatment]
    how: str
    options: Mapping[str, Any] = MappingProxyType({})


STREAMS = ("stream", "sse", "iframe")

BAD = {
    "websocket answered with a page": Bad({"websocket": "page"}, "stream"),
    "websocket refused": Bad({"websocket": "refuse"}, "stream"),
    "websocket mute": Bad({"websocket": "mute"}, "stream"),
    "websocket slow": Bad({"websocket": "slow"}, "websocket"),
    "two mute": Bad({"websocket": "mute", "stream": "mute"}, "sse"),
    "streams answered with a page": Bad({"websocket": "page", "stream": "page", "sse": "page"}, "iframe"),
    "everything held is mute": Bad(dict.fromkeys(("websocket", *STREAMS), "mute"), "poll"),
    "everything held is refused": Bad(dict.fromkeys(("websocket", *STREAMS), "refuse"), "poll"),
    "one allowed, and mute": Bad({"sse": "mute"}, "poll", {"transports": ["sse"]}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_next_transport(browser: Browser, daemon: Daemon, topic: str, bad: Bad) -> None:
    """What a proxy does not let through is passed over, and what comes meanwhile comes by a poll."""
    with Gate(daemon.http) as gate:
        gate.treat.update(bad.treat)
        page = followed(browser, f"http://{gate.address}/", topic, **bad.options)
        gets_all(page, daemon.http, topic, bad.how)
        assert reasons(page) == set()
        # Next time it begins with what worked.
        gate.asked.clear()
        gate.cut()
        page.until(f"states.length > 2 && comet.transport === '{bad.how}'")
        until(lambda: set(gate.asked) >= {bad.how}, f"it asks for {bad.how}")
        page.run("comet.close()")


def test_blocked_later(browser: Browser, daemon: Daemon, topic: str) -> None:
    """A proxy that begins to block what worked costs no message."""
    with Gate(daemon.http) as gate, Flow(daemon.http, [topic]) as flow:
        page = followed(browser, f"http://{gate.address}/", topic)
        blocked: dict[str, Treatment] = {"websocket": "refuse", "stream": "mute", "sse": "page"}
        for how, treatment in blocked.items():
            page.until(f"comet.state === 'open' && comet.transport === '{how}'")
            flow.go_on(10)
            gate.treat[how] = treatment
            gate.cut()
        page.until("comet.state === 'open' && comet.transport === 'iframe'")
        flow.end()
        page.until(f"got.length >= {len(flow.sent)}")
        assert page.run("got") == [sent.id for sent in flow.sent]
        assert page.run("gaps") == []
        page.run("comet.close()")


@pytest.mark.parametrize("options", [DEFAULT, *EACH_ALONE])
def test_short_lives(browser: Browser, daemon: Daemon, topic: str, options: dict[str, Any]) -> None:
    """Through a proxy that cuts each connection after two seconds everything comes, once and in order."""
    with Gate(daemon.http, lifetime=2) as gate, Flow(daemon.http, [topic]) as flow:
        page = followed(browser, f"http://{gate.address}/", topic, **options)
        page.until("comet.state === 'open'")
        cuts = gate.cuts
        until(lambda: gate.cuts >= cuts + 2, "it was cut twice")
        flow.end()
        page.until(f"got.length >= {len(flow.sent)}")
        assert page.run("got") == [sent.id for sent in flow.sent]
        assert page.run("gaps") == []
        page.run("comet.close()")


def _more_cuts(gate: Gate, cuts: int) -> bool:
    return gate.cuts > cuts


@pytest.mark.parametrize("options", [DEFAULT, *EACH_ALONE])
def test_quiet_is_cut(browser: Browser, daemon: Daemon, topic: str, options: dict[str, Any]) -> None:
    """Through a proxy that cuts what is quiet for a second a message comes all the same, whenever it is published."""
    with Gate(daemon.http, idle=1) as gate:
        page = followed(browser, f"http://{gate.address}/", topic, **options)
        sent = []
        for _ in range(2):
            page.until("comet.state === 'open'")
            until(partial(_more_cuts, gate, gate.cuts), "it is cut")
            sent.append(publish(daemon.http, topic, "quiet"))
        page.until("got.length >= 2")
        assert page.run("got") == sent
        assert page.run("gaps") == []
        page.run("comet.close()")
