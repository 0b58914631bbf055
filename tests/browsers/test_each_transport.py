"""The browser client, over each of its transports, in pages of the daemon's own origin and of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.elsewhere import EMPTY, elsewhere
from tests.browsers.pages import LOADED, PLAIN, TRANSPORTS, begin, own_page, subscribe
from tests.daemons import Daemon, running
from tests.e2e.held import asked_json, publish, streams
from tests.e2e.waiting import until
from tests.recipes.proxies import free_port
from tests.relay import Relay

BYTES = bytes(range(256))

PUBLISHED: list[tuple[str | bytes, str, object]] = [
    ("one", "text/plain", "one"),
    ("two – ‘zwei’ 二 \u2028 \0 😀", "text/plain", "two – ‘zwei’ 二 \u2028 \0 😀"),
    ("</script><b>--></b>", "text/plain", "</script><b>--></b>"),
    ("line\nline\r\n", "text/plain", "line\nline\r\n"),
    ('{"a":[1,null,"é"]}', "application/json", {"a": [1, None, "é"]}),
    ("false", "application/json", False),
    (BYTES, "application/octet-stream", {"bytes": [*BYTES]}),
    ("", "text/plain", ""),
    ("x" * 100_000, "text/plain", "x" * 100_000),
]
"""What is published, as which content type, and what the page has then."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The origin of pages that are not the daemon's."""
    with elsewhere({"/": EMPTY}) as origin:
        yield origin


def settled(page: Page, daemon: Daemon, topic: str, how: str) -> None:
    """Wait until messages come by this transport, and by no other."""
    page.until(f"comet.state === 'open' && comet.transport === '{how}'")
    until(lambda: [found["transport"] for found in streams(daemon.http, topic)] == [how], f"only {how} is held")


def gets_each(page: Page, daemon: Daemon, topic: str) -> None:
    """Publish one message after the other, each once the page has the one before; then many at once."""
    for number, (body, content_type, _) in enumerate(PUBLISHED, 1):
        publish(daemon.http, topic, body, content_type)
        page.until(f"got.length === {number}")
    assert page.run(PLAIN) == [[topic, data] for _, _, data in PUBLISHED]
    for number in range(200):
        publish(daemon.http, topic, str(number))
    page.until(f"got.length === {len(PUBLISHED) + 200}")
    assert page.run(f"got.slice({len(PUBLISHED)}).map((message) => message.data)") == [str(n) for n in range(200)]


@pytest.mark.parametrize("script", LOADED)
@pytest.mark.parametrize("how", TRANSPORTS)
def test_own_origin(browser: Browser, daemon: Daemon, topic: str, how: str, script: str) -> None:
    """A page of the daemon's origin gets each message once, in order, under a strict policy, and asks nobody else."""
    page = own_page(browser, daemon)
    begin(page, daemon, script, transports=[how])
    subscribe(page, topic)
    settled(page, daemon, topic, how)
    gets_each(page, daemon, topic)
    assert (page.run("gaps"), page.errors(), page.failures()) == ([], [], [])
    assert page.hosts() == {daemon.http}
    page.run("comet.close()")
    until(lambda: not streams(daemon.http, topic), "the closed client no longer listens")


@pytest.mark.parametrize("script", LOADED)
@pytest.mark.parametrize("how", TRANSPORTS)
def test_other_origin(browser: Browser, shop: str, how: str, script: str) -> None:
    """So does a page of another origin, if the operator has listed it."""
    with running("--origin", shop) as daemon:
        page = browser.open(f"{shop}/")
        begin(page, daemon, script, transports=[how])
        subscribe(page, "news")
        settled(page, daemon, "news", how)
        gets_each(page, daemon, "news")
        assert (page.run("gaps"), page.errors(), page.failures()) == ([], [], [])


@pytest.mark.parametrize("how", TRANSPORTS)
def test_message(browser: Browser, daemon: Daemon, topic: str, how: str) -> None:
    """A message has its id, its topic and its time, and the client says up to where everything has come."""
    page = own_page(browser, daemon)
    begin(page, daemon, transports=[how])
    subscribe(page, f"{topic}/*")
    settled(page, daemon, f"{topic}/*", how)
    position = publish(daemon.http, f"{topic}/a", "hello")
    page.until("got.length")
    message = page.run("got[0]")
    assert {**message, "time": 0} == {"id": position, "topic": f"{topic}/a", "time": 0, "data": "hello"}
    assert page.run("Math.abs(Date.now() / 1000 - got[0].time)") < 60
    page.until(f"comet.lastId === '{position}'")


@pytest.mark.parametrize("how", TRANSPORTS)
def test_history(browser: Browser, daemon: Daemon, topic: str, how: str) -> None:
    """What was published before comes first, as far back as is asked for; then what comes."""
    for number in range(5):
        publish(daemon.http, f"{topic}/{number % 2}", str(number))
    page = own_page(browser, daemon)
    begin(page, daemon, transports=[how])
    page.do(
        f"""
        window.starts = {{ now: [], first: [], last: [], "-3": [] }};
        for (const [since, had] of Object.entries(starts))
            await comet.subscribe({json.dumps(f"{topic}/**")}, ({{ data }}) => had.push(data), {{ since }}).ready;
        """
    )
    publish(daemon.http, f"{topic}/0", "5")
    page.until("Object.values(starts).every((had) => had.at(-1) === '5')")
    assert page.run("starts") == {
        "now": ["5"],
        "first": ["0", "1", "2", "3", "4", "5"],
        "last": ["3", "4", "5"],
        "-3": ["2", "3", "4", "5"],
    }


@pytest.mark.parametrize("how", TRANSPORTS)
def test_topics_change(browser: Browser, daemon: Daemon, topic: str, how: str) -> None:
    """Topics come and go while messages come, and the connection stays one."""
    page = own_page(browser, daemon)
    begin(page, daemon, transports=[how])
    subscribe(page, f"{topic}/a")
    settled(page, daemon, f"{topic}/a", how)
    page.do(f"window.second = comet.subscribe({json.dumps(f'{topic}/b')}, take); await second.ready")
    for name in ("a", "b"):
        publish(daemon.http, f"{topic}/{name}", name)
    page.until("got.length === 2")
    page.run("second.close()")
    until(lambda: not streams(daemon.http, f"{topic}/b"), "the topic is no longer subscribed to")
    for name in ("b", "a"):
        publish(daemon.http, f"{topic}/{name}", name)
    page.until("got.length === 3")
    assert page.run("got.map(({ data }) => data)") == ["a", "b", "a"]
    assert (page.run("gaps"), page.errors(), page.failures()) == ([], [], [])


def test_iterate(browser: Browser, daemon: Daemon, topic: str) -> None:
    """A subscription can be iterated over, until it is closed."""
    page = own_page(browser, daemon)
    begin(page, daemon)
    publish(daemon.http, topic, "before")
    page.do(
        f"""
        window.subscription = comet.subscribe({json.dumps(topic)}, {{ since: "first" }});
        (async () => {{
            for await (const message of subscription) take(message);
            window.over = true;
        }})();
        await subscription.ready;
        """
    )
    publish(daemon.http, topic, "after")
    page.until("got.length === 2")
    page.run("subscription.close()")
    page.until("window.over")
    assert page.run("got.map(({ data }) => data)") == ["before", "after"]


def test_publish(browser: Browser, daemon: Daemon, topic: str) -> None:
    """What a page publishes arrives in its order, as what it was: text, JSON, bytes."""
    page = own_page(browser, daemon)
    begin(page, daemon)
    subscribe(page, topic)
    page.do(
        f"""
        const data = ["text – 二", {{ a: [1, null] }}, 7, null, new Uint8Array([0, 255]).buffer, new Blob(["blob"])];
        window.ids = Promise.all(data.map((each) => comet.publish({json.dumps(topic)}, each)));
        """
    )
    ids = page.run("(await ids).map(({ id }) => id)")
    page.until("got.length === 6")
    assert page.run("got.map(({ id }) => id)") == ids
    expected = ["text – 二", {"a": [1, None]}, 7, None, {"bytes": [0, 255]}, "blob"]
    assert page.run(PLAIN) == [[topic, data] for data in expected]
    assert page.errors() == []


def test_publish_once(browser: Browser, daemon: Daemon, topic: str) -> None:
    """What is published again under a key is not, and its id is the first one."""
    page = own_page(browser, daemon)
    begin(page, daemon)
    again = f"comet.publish({json.dumps(topic)}, 'once', {{ key: 'k' }})"
    assert page.run(f"(await {again}).id") == page.run(f"(await {again}).id")
    assert len(asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0")["messages"]) == 1


def test_publish_from_another_origin(browser: Browser, shop: str) -> None:
    """A page of a listed origin publishes, too."""
    with running("--origin", shop) as daemon:
        page = browser.open(f"{shop}/")
        begin(page, daemon)
        page.run("comet.publish('news', { from: 'elsewhere' })")
        (message,) = asked_json(daemon.http, "/topics/news?since=first&wait=0")["messages"]
        assert message["data"] == {"from": "elsewhere"}
        assert page.errors() == []


def test_publish_refused(browser: Browser, daemon: Daemon) -> None:
    """What the daemon refuses is rejected, in its words."""
    page = own_page(browser, daemon)
    begin(page, daemon)
    failed = "comet.publish('$stats/mine', 1).then(() => 0, ({ name, code, status }) => [name, code, status])"
    assert page.run(failed) == ["CometError", "bad_topic", 400]


def test_unreachable(browser: Browser, daemon: Daemon) -> None:
    """What cannot be published in time is rejected, and says so."""
    with running() as gone:
        page = own_page(browser, gone)
        begin(page, gone)
        assert gone.end() == 0
        failed = "comet.publish('news', 1, { timeout: 300 }).then(() => 0, ({ code, status }) => [code, status])"
        assert page.run(failed) == ["unreachable", 0]


def test_states(browser: Browser, daemon: Daemon, topic: str) -> None:
    """A client tells how things stand: nothing to do, on the way, open, closed for good."""
    page = own_page(browser, daemon)
    begin(page, daemon, transports=["sse"])
    assert page.run("states") == [{"state": "idle"}]
    subscribe(page, topic)
    page.until("comet.transport === 'sse'")
    assert page.run("states.map(({ state }) => state).slice(0, 3)") == ["idle", "connecting", "open"]
    page.run("subscription.close()")
    page.until("comet.state === 'idle'")
    page.run("comet.close()")
    assert page.run("states.at(-1)") == {"state": "closed"}
    assert page.errors() == []


@pytest.mark.parametrize("how", TRANSPORTS)
def test_restart(browser: Browser, shop: str, how: str) -> None:
    """A daemon that comes back without its messages is found again, the gap is told, and what comes then arrives."""
    endpoint = ("--http", f"tcp:{free_port()}:interface=127.0.0.1", "--origin", shop, "--retry", "50ms")
    page = browser.open(f"{shop}/")
    with running(*endpoint) as before:
        begin(page, before, transports=[how])
        subscribe(page, "news")
        settled(page, before, "news", how)
        publish(before.http, "news", "before")
        page.until("got.length === 1")
        assert before.end() == 0
    page.until("comet.state === 'waiting' || comet.state === 'connecting'")
    assert page.run("gaps") == []
    with running(*endpoint) as after:
        page.run("comet.retryNow()")
        page.until("gaps.length")
        gap = page.run("gaps[0]")
        assert (gap["topics"], gap["since"]) == (["news"], page.run("got[0].id"))
        settled(page, after, "news", how)
        publish(after.http, "news", "after")
        page.until("got.length === 2")
        assert page.run("got.map(({ data }) => data)") == ["before", "after"]
        assert (len(page.run("gaps")), page.errors()) == (1, [])


@pytest.mark.parametrize("how", TRANSPORTS)
def test_broken_off(browser: Browser, how: str) -> None:
    """Where a connection breaks off is where it goes on: the message that was lost with it comes all the same, once.

    An iframe is not told that it broke off: there the client has to find that it was silent for too long, and goes on
    by something else.
    """
    lost = {b"lost 1", b"lost 2"}

    def whole(data: bytes) -> bool:
        found = {text for text in lost if text in data}
        lost.difference_update(found)
        return not found

    with running("--silence", "1s") as daemon, Relay(daemon.http, whole) as relay:
        before = replace(daemon, http=relay.address)
        page = own_page(browser, before)
        begin(page, before, transports=[how])
        subscribe(page, "news")
        settled(page, daemon, "news", how)
        for number in (1, 2):
            publish(daemon.http, "news", f"lost {number}")
            publish(daemon.http, "news", f"then {number}")
            page.until(f"got.length === {2 * number}")
        assert not lost
        assert page.run("got.map(({ data }) => data)") == ["lost 1", "then 1", "lost 2", "then 2"]
        assert (page.run("gaps"), page.errors()) == ([], [])
        page.run("comet.close()")
