"""The console: figures, topics, streams, publishing, and what becomes of it when the daemon restarts."""

from __future__ import annotations

import json

import pytest

from tests.browsers.browser import Browser
from tests.browsers.consoles import LIVE, LOOKS, console, history, is_sound, publish_all, tailed, until_shown
from tests.daemons import Daemon, running
from tests.e2e.held import Held, connected, publish, streams, subscribe
from tests.e2e.waiting import until
from tests.recipes.proxies import free_port, proxy

FIGURE = "$('#tiles .tile:nth-child({}) strong').textContent"
BELOW_A_PATH = """
server {
    listen LISTEN;
    location /push/ {
        proxy_pass http://UPSTREAM/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
}
"""


def test_figures(browser: Browser) -> None:
    """The rates move when something is published, and a chart is drawn of them."""
    with running() as daemon:
        page = console(browser, daemon.http)
        page.until(f"{FIGURE.format(1)} === '0'")
        # An answer for a reader of the page is as good as any other: the figure is of one second, and passes.
        page.do(
            f"window.most = '0'; setInterval(() => {{ if ({FIGURE.format(1)} !== '0') most = {FIGURE.format(1)} }}, 20)"
        )
        publish_all(daemon.http, [("news", number) for number in range(500)])
        page.until("most !== '0'")
        page.until(f"{FIGURE.format(4)} === '1'")
        page.until("texts('#tiles .note')[0] === '500 in all'")
        page.until("document.querySelectorAll('#tiles path:not([d])').length === 0")
        assert "websocket 1" in page.run("texts('#tiles .note')[3]")
        assert page.run("texts('#facts dt')")[:3] == ["Uptime", "Version", "Topics"]
        assert is_sound(page, daemon.http)


def test_topics(browser: Browser) -> None:
    """Of ten thousand topics the busiest are in front; the filter finds the others; a click shows the messages."""
    with running() as daemon:
        page = console(browser, daemon.http, "news")
        publish_all(daemon.http, [(f"many/{number:04}", "x") for number in range(10_000)])
        page.until("$('#topics .below').textContent.startsWith('100 of 10,0')")
        assert page.run("document.querySelectorAll('#topics tbody tr').length") == 100
        with subscribe(daemon.http, "/topics/many/7777?transport=stream", "stream"):
            page.fill("#prefix", "many/777")
            page.until("texts('#topics tbody .topic').length === 10")
            page.until("row('#topics', 'many/7777').textContent === 'many/777711'")  # one message, one subscriber
        page.do("row('#topics', 'many/7777').querySelector('button').click()")
        page.until("location.hash === '#many/7777'")
        until_shown(page, "x")
        page.fill("#prefix", "none")
        page.until("$('#topics .below').textContent === 'No topic begins with “none”.'")
        assert is_sound(page, daemon.http)


def test_busiest(browser: Browser, daemon: Daemon, topic: str) -> None:
    """A topic that something is published on is listed with its rate."""
    page = console(browser, daemon.http, topic)
    publish_all(daemon.http, [(topic, "x" * 1_000)] * 200)
    # The figures are of one second, and whoever looks later sees none.
    page.until(f"row('#topics', {json.dumps(topic)})?.children[3].textContent === '200'")
    assert is_sound(page, daemon.http)


def test_streams(browser: Browser, daemon: Daemon, topic: str) -> None:
    """An open stream is listed with its transport, address and patterns, and leaves the list when it ends."""
    page = console(browser, daemon.http, topic)
    page.do("$('#streams').scrollIntoView()")  # what is not on the screen is not asked for
    with subscribe(daemon.http, f"/topics/{topic}/*?transport=mixed&conflate=1&pace=250", "mixed") as held:
        host, port = held.socket.getsockname()
        page.until(f"!!row('#streams', '{host}:{port}')")
        cells = page.run(f"[...row('#streams', '{host}:{port}').cells].map((each) => each.innerText.trim())")
        assert cells[0].split() == ["mixed", f"{host}:{port}"]
        assert cells[1] == f"{topic}/*"
        assert cells[2].split() == ["live", "conflated", "every", "250", "ms"]
        assert cells[3] == "–"
    page.until(f"!row('#streams', '{host}:{port}')")
    assert is_sound(page, daemon.http)


def test_slow_streams(browser: Browser, topic: str) -> None:
    """A stream that does not read is in front, with what it was not given, and what becomes of it."""
    with running("--send-buffer", "8KiB", "--retain-messages", "5000") as daemon:
        page = console(browser, daemon.http, "elsewhere")
        with Held(connected(daemon.http)).ask(f"/topics/{topic}?transport=sse", "sse"):
            for _ in range(40):
                publish_all(daemon.http, [(topic, "x" * 10_000)] * 50)
            page.until("$('#streams tbody .badge')?.textContent === 'stuck'")
            assert page.run("$('#streams tbody tr .treatment').textContent").startswith("dropped in ")
            page.until("/^1,000\\+ 10 MB$/.test($('#streams tbody tr .behind').textContent)")
            page.do("$('#stream-state').value = 'live'; $('#stream-state').dispatchEvent(new Event('change'))")
            page.until("texts('#streams .badge').every((each) => each === 'live')")
        assert is_sound(page, daemon.http)


@pytest.mark.parametrize(
    ("choice", "data", "shown"),
    [("text", "<b>hello</b> – 二", "<b>hello</b> – 二"), ("json", '{"bid": [1, null]}', '{"bid":[1,null]}')],
)
def test_publish(browser: Browser, daemon: Daemon, topic: str, choice: str, data: str, shown: str) -> None:
    """What is published from the box arrives, as text or as JSON, and the box says under which id."""
    page = tailed(browser, daemon.http, topic)
    page.fill("#topic", topic)
    page.fill("#data", data)
    page.click(f"#{choice}")
    page.click("#publish .strong")
    until_shown(page, shown)
    (position,) = (found["id"] for found in history(daemon.http, topic))
    page.until(f"$('#answer').textContent === 'Published on {topic} as {position}'")
    assert is_sound(page, daemon.http)


def test_key(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Of two messages with one key the second is not published."""
    page = tailed(browser, daemon.http, topic)
    page.fill("#topic", topic)
    page.fill("#key", "order 7")
    for data in ("one", "two"):
        page.fill("#data", data)
        page.do("$('#answer').textContent = ''")
        page.press("Control+Enter")
        page.until("$('#answer').textContent.startsWith('Published')")
    publish(daemon.http, topic, "three")
    until_shown(page, "three")
    assert page.run("texts('#messages .data')") == ["three", "one"]


@pytest.mark.parametrize(
    ("topic", "data", "said"),
    [
        ("news", "{", "application/json"),
        ("$stats/x", "1", "$stats/x"),
        ("a//b", "1", "a//b"),
        ("a/../b", "1", "a/../b"),
    ],
)
def test_refused(browser: Browser, daemon: Daemon, topic: str, data: str, said: str) -> None:
    """What the daemon does not publish is answered with its reason, in words."""
    page = console(browser, daemon.http, "elsewhere")
    page.fill("#topic", topic)
    page.fill("#data", data)
    page.click("#json")
    page.click("#publish .strong")
    page.until("$('#answer').className === 'wrong'")
    answer = page.run("$('#answer').textContent")
    assert answer.startswith("Not published: ")
    assert said in answer


def test_keyboard(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Publishing and looking at a message need no mouse."""
    page = tailed(browser, daemon.http, topic)
    page.press("Tab")
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to publishing"
    page.press("Enter")
    page.press("Control+a")
    page.type(topic)
    page.press("Tab")
    page.press("Control+a")
    page.type("by hand")
    page.press("Control+Enter")
    until_shown(page, "by hand")
    page.do("$('#messages').focus()")
    page.press("ArrowDown")
    page.press("Enter")
    page.until("$('#whole').open && $('#whole pre').textContent === 'by hand'")
    page.press("Escape")
    page.until("!$('#whole').open && document.activeElement.matches('#messages button')")
    assert page.run("location.hash.startsWith('#test')")  # the jump did not change what is tailed
    assert is_sound(page, daemon.http)


def test_one_connection(browser: Browser) -> None:
    """All that two consoles show comes over one connection."""
    with running() as daemon:
        first = tailed(browser, daemon.http, "news")
        second = tailed(browser, daemon.http, "weather")
        publish(daemon.http, "news", "one")
        publish(daemon.http, "weather", "two")
        until_shown(first, "one")
        until_shown(second, "two")
        (stream,) = streams(daemon.http, "$stats/daemon")
        assert {"news", "weather", "$stats/topics"} < set(stream["patterns"])


def test_restart(browser: Browser) -> None:
    """The console says that the daemon is gone, and goes on by itself when it is there again, with a gap marked."""
    port = free_port()
    anywhere = ("--http", f"tcp:{port}:interface=127.0.0.1", "--tcp", "tcp:0:interface=127.0.0.1")
    with running(anywhere=anywhere) as before:
        page = tailed(browser, before.http, "news")
        publish(before.http, "news", "before")
        until_shown(page, "before")
        assert before.end() == 0
    page.until("$('#state').textContent.startsWith('Not connected: ')")
    page.until("!$('#retry').hidden && $('#countdown').textContent.startsWith('next try in ')")
    with running(anywhere=anywhere) as after:
        until(lambda: page.do("$('#retry').click(); return true") and page.run(LIVE), "it is live again")
        assert page.run("$('#retry').hidden && $('#countdown').textContent === ''")
        page.until("$('#messages .gap')?.textContent.includes('may be missing')")
        publish(after.http, "news", "after")
        until_shown(page, "after")
        page.until(f"{FIGURE.format(4)} === '1'")
        assert page.errors() == []


def test_below_a_path(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Behind a proxy that has the daemon below a path, the console works, and its commands go there."""
    with proxy("nginx", BELOW_A_PATH, daemon.http) as front:
        page = browser.open(f"{front.url}/push/#{topic}")
        page.do(LOOKS)
        page.until(LIVE)
        page.fill("#topic", topic)
        page.click("#publish .strong")
        until_shown(page, "hello")
        assert page.run("texts('.commands pre')") == [
            f"curl -N '{front.url}/push/topics/{topic}?transport=stream&since=-50'",
            f"curl --data-raw hello {front.url}/push/topics/{topic}",
        ]
        assert is_sound(page, front.url.removeprefix("http://"))


def test_theme(browser: Browser, daemon: Daemon) -> None:
    """Light and dark can be chosen, and stay chosen."""
    page = console(browser, daemon.http, "elsewhere")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    page.click("#theme")
    assert page.run(f"[$('#theme').textContent, {ground}]") == ["Theme: light", light]
    page.click("#theme")
    assert page.run(ground) != light
    page.reload()
    assert page.run("document.getElementById('theme').textContent") == "Theme: dark"
    assert page.run(ground) != light
