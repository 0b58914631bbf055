"""Script injection as a browser sees it: no payload ever runs, in the iframe of the client, in the pages of the daemon,
or when the response with the raw payload is opened as if it were a page."""

from __future__ import annotations

import json

import pytest

from tests.browsers.browser import Browser
from tests.browsers.pages import begin, own_page, subscribe
from tests.daemons import Daemon
from tests.e2e.held import asked, publish, streams
from tests.e2e.waiting import until

RUN = "(window.opener ?? parent).ran = 1; top.ran = 1; fetch('/topics/ran', { method: 'POST', body: 'x' })"
"""What an attacker would do first: he tells the page around, and publishes in its name."""

SCRIPTS = [
    f"</script><script>{RUN}</script>",
    f"<!--<script></script><script>{RUN}</script>-->",
    f'<img src=x onerror="{RUN.replace(chr(34), chr(39))}">',
    f'<svg onload="{RUN.replace(chr(34), chr(39))}">',
    f'");{RUN};//',
    f"');{RUN};//",
    f'\\");{RUN};//',
    f"\u2028{RUN}\u2029",
    f'<iframe srcdoc="<script>{RUN}</script>"></iframe>',
    f"</title></style></textarea><script>{RUN}</script>",
    f"javascript:{RUN}",
    json.dumps({"__proto__": {"ran": 1}, "constructor": {"prototype": {"ran": 1}}}),
]

PAGES = ("/", "/demo/chat.html", "/demo/")


def is_published(daemon: Daemon) -> bool:
    """Whether a script has published."""
    return bool(json.loads(asked(daemon.http, "GET", "/topics/ran?since=first&wait=0")[2])["messages"])


@pytest.mark.parametrize("how", ["iframe", "sse", "websocket"])
def test_script_injection_through_a_transport(browser: Browser, daemon: Daemon, topic: str, how: str) -> None:
    """The page has each payload as the text that it is, and nothing of it has run."""
    page = own_page(browser, daemon)
    begin(page, daemon, transports=[how])
    subscribe(page, topic)
    for text in SCRIPTS:
        publish(daemon.http, topic, text)
    publish(daemon.http, topic, SCRIPTS[-1], "application/json")
    publish(daemon.http, topic, "the end")
    page.until(f"got.length === {len(SCRIPTS) + 2}")
    assert page.run("got.map((message) => message.data)")[: len(SCRIPTS)] == SCRIPTS
    assert page.run("[typeof ran, typeof Object.prototype.ran, typeof got[0].ran]") == ["undefined"] * 3
    assert page.errors() == []
    assert not is_published(daemon)


TYPES = ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/javascript", "text/plain", "")
DOCUMENT = (
    f"<html xmlns='http://www.w3.org/1999/xhtml'><script>//<![CDATA[\n{RUN}//]]></script><body>shown</body></html>"
)


@pytest.mark.parametrize("kind", TYPES)
def test_payloads_opened_as_pages(browser: Browser, daemon: Daemon, topic: str, kind: str) -> None:
    """A payload that says it is a page of HTML, or a picture with a script in it, does not become a page of the
    daemon's origin, whichever way its response is opened: there it could publish in the name of who looks at it."""
    page = own_page(browser, daemon)
    publish(daemon.http, topic, DOCUMENT, kind)
    for query in (
        "transport=multipart",
        "transport=mixed",
        "transport=sse&format=raw",
        "transport=stream",
        "transport=poll",
    ):
        source = f"/topics/{topic}?since=first&wait=0&{query}"
        page.do(
            f"""
            const frame = Object.assign(document.createElement("iframe"), {{ src: {json.dumps(source)} }});
            document.body.append(frame);
            """
        )
    until(lambda: len(streams(daemon.http, topic)) >= 2, "the frames are held")
    publish(daemon.http, topic, DOCUMENT, kind)  # a part is shown once the next has come
    publish(daemon.http, topic, DOCUMENT, kind)
    page.do("await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.run("typeof ran") == "undefined"
    assert not is_published(daemon)


@pytest.mark.parametrize("path", PAGES)
def test_script_injection_into_the_pages(browser: Browser, daemon: Daemon, topic: str, path: str) -> None:
    """The console and the demos show what is published, and who published what on which topic, as text."""
    page = browser.open(f"http://{daemon.http}{path}#{topic}")
    for number, text in enumerate(SCRIPTS):
        publish(daemon.http, topic, text)
        publish(daemon.http, topic, json.dumps({"name": text, "text": text}), "application/json")
        publish(daemon.http, f"%3Cscript%3Eran=1%3C%2Fscript%3E{number}", text)
    page.do("await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.run("typeof ran") == "undefined"
    assert page.run("document.querySelectorAll('[onerror], [onload], [srcdoc]').length") == 0
    assert not is_published(daemon)
