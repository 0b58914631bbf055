"""A web page of somebody else, in the browser of a person on whose machine a daemon runs with its defaults.

The page knows where the daemon is and which topic there is. It can neither publish there nor listen.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.browsers.browser import Browser
from tests.browsers.elsewhere import EMPTY, elsewhere
from tests.daemons import Daemon
from tests.e2e.held import asked, asked_json, publish, streams
from tests.e2e.waiting import until

PUBLISHING = {
    "a form": """
        const form = Object.assign(document.createElement("form"), {
          method: "post", action: url, enctype: "text/plain", target: "frame" });
        form.append(Object.assign(document.createElement("input"), { name: "evil", value: "1" }));
        const frame = Object.assign(document.createElement("iframe"), { name: "frame" });
        document.body.append(frame, form);
        form.submit();""",
    "a beacon": "navigator.sendBeacon(url, 'evil');",
    "a blind fetch": "fetch(url, { method: 'POST', mode: 'no-cors', body: 'evil' }).catch(() => {});",
    "a fetch": "fetch(url, { method: 'POST', body: 'evil' }).catch(() => {});",
    "a fetch of another type": """
        fetch(url, { method: "POST", body: "1", headers: { "Content-Type": "application/json" } }).catch(() => {});""",
    "a WebSocket": """
        const socket = new WebSocket(url.replace("http", "ws"));
        socket.onopen = () => socket.send(JSON.stringify({ publish: topic, data: "evil" }));""",
}

LISTENING = {
    "an image": "document.body.append(Object.assign(new Image(), { src: `${url}?transport=multipart` }));",
    "a script": """
        document.body.append(Object.assign(document.createElement("script"), { src: `${url}?since=first&wait=0` }));""",
    "an EventSource": "new EventSource(`${url}?transport=sse`).onmessage = (event) => heard.push(event.data);",
    "a fetch": "fetch(`${url}?transport=stream`).then((answer) => heard.push(answer.status), () => {});",
    "a blind fetch": "fetch(`${url}?wait=30`, { mode: 'no-cors' }).catch(() => {});",
    "an iframe": """
        window.onmessage = (event) => heard.push(event.data);
        const frame = document.createElement("iframe");
        frame.src = `${url}?transport=iframe`;
        document.body.append(frame);""",
    "a WebSocket": """
        new WebSocket(url.replace("http", "ws")).onmessage = (event) => heard.push(event.data);""",
}


def refusals(daemon: Daemon) -> int:
    """How much was refused until now."""
    _, _, body = asked(daemon.http, "GET", "/metrics")
    found = re.findall(r'^comet_refused_total\{code="[a-z_]+"\} ([0-9]+)$', body.decode(), re.MULTILINE)
    return sum(map(int, found))


def attack(browser: Browser, daemon: Daemon, topic: str, statements: str) -> list[object]:
    """Have a page of another site do ``statements``; returns what it has heard once the daemon has refused it."""
    # 127.0.0.1 and localhost are two sites.
    url = f"http://localhost:{daemon.http_port()}/topics/{topic}"
    with elsewhere({"/": EMPTY}) as origin:
        page = browser.open(origin)
        before = refusals(daemon)
        page.do(f"window.heard = []; const url = {json.dumps(url)}, topic = {json.dumps(topic)};{statements}")
        until(lambda: refusals(daemon) > before, "the daemon to refuse it")
        publish(daemon.http, topic, "for friends")
        heard: list[object] = page.run("heard")
        assert streams(daemon.http, topic) == []
    return heard


@pytest.mark.parametrize("way", PUBLISHING)
def test_a_foreign_page_cannot_publish(browser: Browser, daemon: Daemon, topic: str, way: str) -> None:
    """Whichever way a browser has to send something to another site."""
    attack(browser, daemon, topic, PUBLISHING[way])
    messages = asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0")["messages"]
    assert [message["data"] for message in messages] == ["for friends"]


@pytest.mark.parametrize("way", LISTENING)
def test_a_foreign_page_cannot_listen(browser: Browser, daemon: Daemon, topic: str, way: str) -> None:
    """Whichever way a browser has to show or load something of another site: it gets nothing, and holds nothing."""
    assert attack(browser, daemon, topic, LISTENING[way]) == []
