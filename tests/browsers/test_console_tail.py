"""The console's live tail: what it shows of messages, however many come, and whatever is in them."""

from __future__ import annotations

import json

import pytest

from tests.browsers.browser import Browser
from tests.browsers.consoles import console, is_sound, publish_all, tailed, until_shown
from tests.daemons import Daemon, running
from tests.e2e.held import publish

TALLY = "$('#tally').textContent"


def test_history_and_news(browser: Browser, daemon: Daemon, topic: str) -> None:
    """What was published before is there, and what is published then comes on top."""
    for number in range(60):
        publish(daemon.http, topic, str(number))
    page = console(browser, daemon.http, topic)
    page.until("texts('#messages .data').length === 50")
    publish(daemon.http, topic, "new")
    until_shown(page, "new")
    assert page.run("texts('#messages .data')") == ["new", *(str(number) for number in range(59, 9, -1))]
    assert page.run("texts('#messages .topic')[0]") == topic
    assert "51 since" in page.run(TALLY)
    assert is_sound(page, daemon.http)


DUMPED = "000000  89 50 4e 47 ff 00                                .PNG.."
JSON_SHOWN = '{\n  "a": [\n    1,\n    "x"\n  ]\n}'
HTML = "<img src=x onerror=alert(1)></script>"
LINES = "one\ntwo \u202e"


@pytest.mark.parametrize(
    ("payload", "kind", "row", "whole", "content"),
    [
        pytest.param(b'{"a":[1,"x"]}', "application/json", '{"a":[1,"x"]}', JSON_SHOWN, "JSON", id="json"),
        pytest.param(HTML.encode(), "text/html", HTML, HTML, "text, 37 B", id="html"),
        pytest.param(LINES.encode(), "text/plain", LINES, LINES, "text, 11 B", id="lines"),
        pytest.param(b"", "text/plain", "", "", "text, 0 B", id="empty"),
        pytest.param(
            b"\x89PNG\xff\x00",
            "image/png",
            "6 bytes: 89 50 4e 47 ff 00",
            DUMPED,
            "6 bytes, no UTF-8; copied as base64",
            id="bytes",
        ),
    ],
)
def test_contents(
    browser: Browser, daemon: Daemon, topic: str, payload: bytes, kind: str, row: str, whole: str, content: str
) -> None:
    """Whatever a message carries is shown as text; a click shows all of it, with id and time."""
    position = publish(daemon.http, topic, payload, kind)
    page = tailed(browser, daemon.http, topic)
    until_shown(page, row)
    page.click("#messages button")
    page.until("$('#whole').open")
    assert page.run("$('#whole pre').textContent") == whole
    about = dict(zip(page.run("texts('#whole dt')"), page.run("texts('#whole dd')"), strict=True))
    assert (about["Topic"], about["Id"], about["Content"]) == (topic, position, content)
    assert page.run("document.querySelectorAll('#messages img, #whole img, #messages script').length") == 0
    page.press("Escape")
    page.until("!$('#whole').open")
    assert is_sound(page, daemon.http)


def test_long(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Of a very long message the beginning is shown; a long topic does not widen the page."""
    publish(daemon.http, f"{topic}/{'t' * 150}", "x" * 1_000_000)
    page = tailed(browser, daemon.http, f"{topic}/**")
    page.until("$('#messages .data')?.textContent.length === 401")
    page.click("#messages button")
    page.until("$('#whole pre').textContent.length === 100_001")
    assert "the first 100,000 characters are shown" in page.run("texts('#whole dd')[3]")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_pause(browser: Browser, daemon: Daemon, topic: str) -> None:
    """While the tail is paused nothing moves, and it is told what waits; then it is all there."""
    page = tailed(browser, daemon.http, topic)
    publish(daemon.http, topic, "one")
    until_shown(page, "one")
    page.click("#pause")
    publish(daemon.http, topic, "two")
    publish(daemon.http, topic, "three")
    page.until(f"{TALLY}.startsWith('Paused, 2 waiting')")
    assert page.run("texts('#messages .data')") == ["one"]
    assert page.run("$('#pause').textContent") == "Resume"
    page.click("#pause")
    until_shown(page, "three")
    assert page.run("texts('#messages .data')") == ["three", "two", "one"]
    page.click("#clear")
    assert page.run("texts('#messages .data')") == []
    assert is_sound(page, daemon.http)


def test_filter(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Only messages with a text in them are shown, of those that were there and of those that come."""
    page = tailed(browser, daemon.http, topic)
    publish_all(daemon.http, [(topic, {"name": name}) for name in ("Ada", "Grace", "adam")])
    page.until("texts('#messages .data').length === 3")
    page.fill("#filter", "ADA")
    page.until("texts('#messages .data').length === 2")
    publish(daemon.http, topic, "nothing of it")
    publish(daemon.http, topic, "Ada again")
    until_shown(page, "Ada again")
    assert page.run("texts('#messages .data')") == ["Ada again", '{"name":"adam"}', '{"name":"Ada"}']
    page.fill("#filter", "Linus")
    page.until("$('#why').textContent.startsWith('None of the last messages has')")
    assert page.run("location.hash.endsWith('filter=Linus')")


def test_burst(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Of thousands of messages at once the newest are shown, and it is told how many were not."""
    page = tailed(browser, daemon.http, topic, "now")
    for start in range(0, 20_000, 4_000):
        publish_all(daemon.http, [(topic, number) for number in range(start, start + 4_000)])
    until_shown(page, "19999")
    page.until(f"{TALLY}.includes('20,000 since')")
    found = page.run("texts('#messages .data').map(Number)")
    assert len(found) == 200
    assert found == sorted(found, reverse=True)
    skipped = int(page.run(f"{TALLY}.match(/([0-9,]+) came too fast/)[1].replace(',', '')"))
    assert 0 < skipped <= 20_000 - 200
    assert is_sound(page, daemon.http)


def test_gap(browser: Browser) -> None:
    """Where messages are missing, a row says so."""
    with running("--retain-messages", "10") as daemon:
        first = publish(daemon.http, "news", "0")
        for number in range(1, 20):
            publish(daemon.http, "news", str(number))
        page = tailed(browser, daemon.http, "news", first)
        page.until("texts('#messages li').length === 11")
        assert page.run("$('#messages .gap').textContent").startswith(f"Gap Messages after {first}, up to ")
        page.until("$('#since').value")
        assert page.run("$('#since').value") == first
        assert is_sound(page, daemon.http)


def test_address(browser: Browser, daemon: Daemon, topic: str) -> None:
    """What is shown stands in the page's address: who opens it sees the same."""
    publish(daemon.http, f"{topic}/a%20b", "one")
    page = console(browser, daemon.http, "elsewhere")
    page.fill("#pattern", f"{topic}/*")
    page.do("$('#since').value = 'last'")
    page.press("Enter")
    until_shown(page, "one")
    address = page.run("location.href")
    assert address.endswith(f"#{topic}/*?since=last")
    other = console(browser, daemon.http, address.partition("#")[2])
    until_shown(other, "one")
    assert other.run("[$('#pattern').value, $('#since').value]") == [f"{topic}/*", "last"]
    other.do(f"location.hash = {json.dumps('#' + topic + '/b')}")
    other.until(f"$('#pattern').value === {json.dumps(topic + '/b')} && !texts('#messages li').length")


def test_bad_pattern(browser: Browser, daemon: Daemon, topic: str) -> None:
    """What is no pattern is said to be none, and the tail goes on as it was."""
    page = tailed(browser, daemon.http, topic)
    page.fill("#pattern", "a//b")
    page.press("Enter")
    page.until("$('#pattern').validationMessage.includes('a//b')")
    publish(daemon.http, topic, "still here")
    until_shown(page, "still here")


def test_nothing_yet(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Where there is nothing, the console says what to do."""
    page = tailed(browser, daemon.http, f"{topic}/*/**")
    assert page.run("$('#why').textContent").startswith("Nothing on ")
    assert (
        page.run("$('#example').textContent") == f"curl --data-raw hello http://{daemon.http}/topics/{topic}/news/news"
    )
    page.fill("#topic", f"{topic}/news/news")
    page.click("#publish .strong")
    until_shown(page, "hello")
    assert page.run("$('#nothing').hidden")
