"""What pages get with what browsers have, and no client of ours: of the daemon's own origin, and of another."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.elsewhere import EMPTY, elsewhere
from tests.browsers.pages import own_page
from tests.daemons import Daemon, running
from tests.e2e.held import asked, publish, streams
from tests.e2e.pictures import png
from tests.e2e.waiting import until
from tests.recipes.proxies import free_port

BEGUN = """
    window.shown = [];
    window.told = [];
    window.take = (object) => {
        if (object.comet === "open") window.stream = object.stream;
        if (object.comet) told.push(object.comet); else shown.push(object.data);
    };
"""

LISTENERS = {
    "sse": """
        window.source = new EventSource(url + "?transport=sse");
        source.onmessage = event => take(JSON.parse(event.data));
        source.addEventListener("comet", event => take(JSON.parse(event.data)));
    """,
    "stream": """
        (async () => {
            var response = await fetch(url + "?transport=stream");
            var reader = response.body.pipeThrough(new TextDecoderStream()).getReader(), rest = "";
            for (var read; !(read = await reader.read()).done;) {
                var lines = (rest + read.value).split("\\n");
                rest = lines.pop();
                lines.forEach(line => take(JSON.parse(line)));
            }
        })();
    """,
    "xhr": """
        var xhr = new XMLHttpRequest(), taken = 0;
        xhr.onprogress = () => {
            for (var end; (end = xhr.responseText.indexOf("\\n", taken)) >= 0; taken = end + 1)
                take(JSON.parse(xhr.responseText.slice(taken, end)));
        };
        xhr.open("GET", url + "?transport=stream");
        xhr.send();
    """,
    "poll": """
        (async () => {
            told.push("open");
            for (var next = "now"; ;) {
                var answer = await (await fetch(url + "?since=" + next)).json();
                answer.messages.forEach(take);
                next = answer.next;
            }
        })();
    """,
    "websocket": """
        window.websocket = new WebSocket(url.replace("http", "ws"), "comet.v1");
        websocket.onmessage = event => take(JSON.parse(event.data));
    """,
    "iframe": """
        if (new URL(url).origin === location.origin) window.comet = objects => objects.forEach(take);
        else onmessage = event => event.origin === new URL(url).origin && event.data.forEach(take);
        var frame = document.createElement("iframe");
        frame.src = url + "?transport=iframe"
            + (new URL(url).origin === location.origin ? "" : "&origin=" + encodeURIComponent(location.origin));
        frame.style.display = "none";
        document.body.appendChild(frame);
    """,
}
"""How a page listens, by hand, with what browsers have."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The origin of pages that are not the daemon's."""
    with elsewhere({"/": EMPTY}) as origin:
        yield origin


def begin(page: Page, how: str, daemon: Daemon, topic: str) -> None:
    """Have the page begin to listen to ``topic``."""
    page.do(f"const url = {json.dumps(f'http://{daemon.http}/topics/{topic}')}; {BEGUN} {LISTENERS[how]}")


def listen(page: Page, how: str, daemon: Daemon, topic: str) -> None:
    """Have the page listen to ``topic``."""
    begin(page, how, daemon, topic)
    page.until("told.indexOf('open') >= 0")
    until(lambda: streams(daemon.http, topic), f"{how} is held")


def shows_each(page: Page, daemon: Daemon, topic: str) -> None:
    """Publish one message after the other, each once the page shows the one before."""
    texts = ["one", "two – ‘zwei’ 二 \u2028", "</script><b>--></b>", "line\nline\r\n", "x" * 100_000]
    for number, text in enumerate(texts, 1):
        publish(daemon.http, topic, text)
        page.until(f"shown.length === {number}")
    assert page.run("shown") == texts
    for number in range(200):
        publish(daemon.http, topic, str(number))
    page.until(f"shown.length === {len(texts) + 200}")
    assert page.run(f"shown.slice({len(texts)})") == [str(number) for number in range(200)]


@pytest.mark.parametrize("how", LISTENERS)
def test_own_page(browser: Browser, daemon: Daemon, topic: str, how: str) -> None:
    """A page of the daemon's origin shows each message as it comes, whichever way it listens."""
    with own_page(browser, daemon) as page:
        listen(page, how, daemon, topic)
        shows_each(page, daemon, topic)
        assert page.errors() == []
    until(lambda: not streams(daemon.http, topic), "the closed page no longer listens")


@pytest.mark.parametrize("how", LISTENERS)
def test_page_elsewhere(browser: Browser, shop: str, how: str) -> None:
    """A page of another origin does so too, if the operator has listed it."""
    with running("--origin", shop) as daemon, browser.open(f"{shop}/") as page:
        listen(page, how, daemon, "news")
        shows_each(page, daemon, "news")


@pytest.mark.parametrize("how", ["sse", "stream", "websocket", "iframe"])
def test_origin_that_is_not_listed(browser: Browser, daemon: Daemon, shop: str, topic: str, how: str) -> None:
    """A page of an origin that is not listed hears nothing."""
    with browser.open(f"{shop}/") as page:
        begin(page, how, daemon, topic)
        ended = {
            "sse": "source.readyState === 2",
            "websocket": "websocket.readyState === 3",
            "stream": f"fetch({json.dumps(f'http://{daemon.http}/topics/{topic}?wait=0')}).then(() => 0, () => 1)",
            "iframe": "fetch('/').then(() => 1)",
        }
        page.until(ended[how])
        assert page.run("[shown, told]") == [[], []]
    assert not streams(daemon.http, topic)


def test_image(browser: Browser, daemon: Daemon, topic: str) -> None:
    """An ``<img>`` shows each picture as it comes, without any script, and the last one stays."""
    with own_page(browser, daemon) as page:
        url = f"http://{daemon.http}/topics/{topic}"
        page.do(f"window.image = document.body.appendChild(new Image()); image.src = {json.dumps(url)}")
        until(lambda: [stream["transport"] for stream in streams(daemon.http, topic)] == ["multipart"], "it is held")
        for width in (50, 120, 300, 80, 250):
            publish(daemon.http, topic, png(width), "image/png")
            page.until(f"image.naturalWidth === {width}")


def test_image_of_another_origin(browser: Browser, shop: str) -> None:
    """An ``<img>`` of another page shows pictures, too: images ask no permission."""
    with running() as daemon, browser.open(f"{shop}/") as page:
        publish(daemon.http, "camera", png(70), "image/png")
        url = f"http://{daemon.http}/topics/camera?since=last"
        page.do(f"window.image = document.body.appendChild(new Image()); image.src = {json.dumps(url)}")
        for width in (70, 90, 110):
            page.until(f"image.naturalWidth === {width}")
            publish(daemon.http, "camera", png(width + 20), "image/png")


@pytest.mark.cannot("firefox", "its EventSource gives up when a server cannot be reached; our client does not")
def test_restart(browser: Browser, shop: str) -> None:
    """An EventSource finds the daemon again after a restart, is told of the gap, and shows what comes then."""
    endpoint = ("--http", f"tcp:{free_port()}:interface=127.0.0.1", "--origin", shop, "--retry", "50ms")
    with browser.open(f"{shop}/") as page:
        with running(*endpoint) as before:
            listen(page, "sse", before, "news")
            publish(before.http, "news", "before")
            page.until("shown.length === 1")
            assert before.end() == 0
        page.until("told.indexOf('bye') >= 0")
        with running(*endpoint) as after:
            page.until("told.indexOf('gap') >= 0")
            publish(after.http, "news", "after")
            page.until("shown.length === 2")
            assert page.run("shown") == ["before", "after"]


def test_resume(browser: Browser, shop: str) -> None:
    """An EventSource whose stream is ended comes back by itself, and misses nothing of what happened meanwhile."""
    with running("--origin", shop, "--retry", "50ms") as daemon, browser.open(f"{shop}/") as page:
        listen(page, "sse", daemon, "news")
        for number in range(1, 4):
            publish(daemon.http, "news", "here")
            page.until(f"shown.length === {2 * number - 1}")
            assert asked(daemon.http, "DELETE", f"/streams/{page.run('stream')}")[0] == 204
            publish(daemon.http, "news", "away")
            page.until(f"shown.length === {2 * number}")
        assert page.run("shown") == ["here", "away"] * 3
        assert page.run("told.filter(kind => kind !== 'open')") == ["bye"] * 3
