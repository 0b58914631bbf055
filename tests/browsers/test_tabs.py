"""Tabs of one origin: one connection for all of them, whoever of them comes, goes, sleeps or hangs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.driver import BrowserError
from tests.browsers.elsewhere import EMPTY, elsewhere
from tests.browsers.gate import Gate
from tests.browsers.shared import begin, carried, carries, hang, held, leader, leaders, opened, script
from tests.daemons import Daemon, running
from tests.e2e.held import asked, asked_json, publish
from tests.e2e.waiting import until

Tab = Callable[..., Page]


@pytest.fixture
def tab(browser: Browser, daemon: Daemon) -> Tab:
    """Opens a tab of the daemon's origin, by its name."""
    return lambda name, **options: opened(browser, f"http://{daemon.http}/", name, **options)


@pytest.fixture
def three(tab: Tab, topic: str) -> dict[str, Page]:
    """Three tabs, each with a topic of its name and with one that all have; A leads."""
    pages = {}
    for name in "ABC":
        pages[name] = tab(name)
        pages[name].do(f"follow('own', {json.dumps(f'{topic}/{name}')}); follow('all', {json.dumps(f'{topic}/all')});")
        pages[name].do("await Promise.all(Object.values(subscriptions).map(({ ready }) => ready))")
    assert leader(pages["A"]) == "A"
    return pages


def get(pages: dict[str, Page], daemon: Daemon, topic: str, text: str) -> None:
    """What is published now, on every topic, comes to whom it is for, once."""
    for name in (*pages, "all"):
        publish(daemon.http, f"{topic}/{name}", text)
    for page in pages.values():
        for name in ("own", "all"):
            page.until(f"had.{name}.at(-1)?.[1] === '{text}'")
        expected = page.run("had.own.map(([id, data]) => data)")
        assert page.run("had.all.map(([id, data]) => data)") == expected
        assert len(set(expected)) == len(expected)
        assert page.run("gaps") == []


def test_union(three: dict[str, Page], daemon: Daemon, topic: str) -> None:
    """The one connection carries what any of them wants, and no more of it when one has gone."""
    carries(daemon.http, topic, "A", "B", "C", "all")
    get(three, daemon, topic, "one")
    three.pop("B").close()
    carries(daemon.http, topic, "A", "C", "all")
    get(three, daemon, topic, "two")
    three["C"].run("subscriptions.own.close()")
    carries(daemon.http, topic, "A", "all")


def test_crash(three: dict[str, Page], daemon: Daemon, topic: str) -> None:
    """A tab that crashes has gone, too; if it led, another does."""
    for name, left in (("B", "AC"), ("A", "C")):
        with pytest.raises(BrowserError):
            three.pop(name).go("chrome://crash")
        carries(daemon.http, topic, *left, "all")
        get(three, daemon, topic, f"without {name}")


LEAVING = {
    "closed": lambda page: page.close(),
    "left for another page": lambda page: page.go("about:blank"),
    "loaded again": lambda page: page.reload(),
    "done with it": lambda page: page.run("comet.close()"),
}
"""In which ways a tab can stop leading."""


@pytest.mark.parametrize("way", LEAVING)
def test_leader_goes(three: dict[str, Page], daemon: Daemon, topic: str, way: str) -> None:
    """When the leader goes another goes on, with its own topics and with the others'."""
    get(three, daemon, topic, "one")
    LEAVING[way](three.pop("A"))
    carries(daemon.http, topic, "B", "C", "all")
    get(three, daemon, topic, "two")
    assert leader(three["B"]) in three


@pytest.mark.cannot("firefox", "its driver cannot freeze a page")
@pytest.mark.cannot("webkit", "its driver cannot freeze a page")
def test_leader_freezes(three: dict[str, Page], daemon: Daemon, topic: str) -> None:
    """A leader that is frozen is followed by another, and follows that one when it goes on; it has missed nothing."""
    frozen = three.pop("A")
    frozen.freeze(True)
    until(lambda: leaders(three["B"]) in (["B"], ["C"]), "another leads")
    carries(daemon.http, topic, "A", "B", "C", "all")
    get(three, daemon, topic, "one")
    leads = leader(three["B"])
    frozen.freeze(False)
    frozen.show()
    three["A"] = frozen
    publish(daemon.http, f"{topic}/A", "one")
    get(three, daemon, topic, "two")
    stays_one(three, daemon, topic, leads)


def stays_one(pages: dict[str, Page], daemon: Daemon, topic: str, leads: str) -> None:
    """Nobody else comes to lead for as long as it takes to miss a leader, and the connection stays the same."""
    (before,) = held(daemon.http, topic)
    page = pages[leads]
    page.do("const until = performance.now() + 8000; window.over = false; setTimeout(() => over = true, 8000)")
    page.until("over")
    assert leaders(page) == [leads]
    (after,) = held(daemon.http, topic)
    assert after["stream"] == before["stream"]


def test_leader_hangs(three: dict[str, Page], daemon: Daemon, topic: str) -> None:
    """A leader that does not answer is followed by another, and follows that one when it is there again."""
    hanging = three.pop("A")
    hang(hanging, 9)
    until(lambda: leaders(three["B"]) in (["B"], ["C"]), "another leads")
    get(three, daemon, topic, "one")
    publish(daemon.http, f"{topic}/A", "one")
    hanging.until("window.hung")
    three["A"] = hanging
    carries(daemon.http, topic, "A", "B", "C", "all")
    get(three, daemon, topic, "two")
    assert leader(hanging) in ("B", "C")


def test_follower_hangs(three: dict[str, Page], daemon: Daemon, topic: str) -> None:
    """A tab that did not listen for some time has nothing to say against its leader."""
    get(three, daemon, topic, "one")
    hang(three["C"], 6)
    three["C"].until("window.hung")
    get(three, daemon, topic, "two")
    stays_one(three, daemon, topic, "A")


def test_all_at_once(browser: Browser, daemon: Daemon, topic: str) -> None:
    """Of tabs that begin at the same moment one leads."""
    home = f"http://{daemon.http}/"
    names = [str(number) for number in range(5)]
    pages = {name: browser.open(f"{home}comet.d.ts") for name in names}
    start = pages["0"].run("Date.now()") + 1000
    wait = f"await new Promise((done) => setTimeout(done, {start} - Date.now()));"
    for name, page in pages.items():
        follow = f"for (const name of ['{name}', 'all']) follow(name, `{topic}/${{name}}`);"
        page.do(f"window.begin = async () => {{ {wait} {script(home, name)} {follow} }}; void begin();")
    carries(daemon.http, topic, *names, "all")
    assert leader(pages["0"]) in names
    for page in pages.values():
        page.until("window.subscriptions?.all")
        page.do("await subscriptions.all.ready")
    publish(daemon.http, f"{topic}/all", "hello")
    for page in pages.values():
        page.until("had.all.length === 1")


WITHOUT = ["delete Navigator.prototype.locks;", "delete window.BroadcastChannel;"]


@pytest.mark.parametrize("without", WITHOUT)
def test_cannot_share(browser: Browser, tab: Tab, daemon: Daemon, topic: str, without: str) -> None:
    """A tab in which the browser cannot share has a connection of its own."""
    home = f"http://{daemon.http}/"
    page = browser.open(f"{home}comet.d.ts")
    page.do(without)
    page.do(script(home, "old").replace("navigator.locks.request", "navigator.locks?.request"))
    pages = [tab("A"), tab("B"), page]
    for each in pages:
        each.do(f"await follow('all', '{topic}/all').ready")
    assert carried(daemon.http, topic) == [[f"{topic}/all"]] * 2
    publish(daemon.http, f"{topic}/all", "hello")
    for each in pages:
        each.until("had.all.length === 1")


def test_who_shares(tab: Tab, daemon: Daemon, topic: str) -> None:
    """Those share that say the same, and nobody who does not want to."""
    shares = (True, True, "ada", "ada", "bob", False, False)
    pages = [tab(str(number), share=share) for number, share in enumerate(shares)]
    for page in pages:
        page.do(f"await follow('all', '{topic}/all').ready")
    until(lambda: carried(daemon.http, topic) == [[f"{topic}/all"]] * 5, "five connections")
    publish(daemon.http, f"{topic}/all", "hello")
    for page in pages:
        page.until("had.all.length === 1")


def test_two_clients_of_a_page(tab: Tab, daemon: Daemon, topic: str) -> None:
    """Two clients of one page share, too; one that is closed leaves the other alone."""
    page = tab("A")
    page.do(
        f"""
        window.second = new Comet();
        await follow("first", {json.dumps(f"{topic}/all")}).ready;
        window.got = [];
        await second.subscribe({json.dumps(f"{topic}/all")}, ({{ data }}) => got.push(data)).ready;
        """
    )
    carries(daemon.http, topic, "all")
    publish(daemon.http, f"{topic}/all", "one")
    page.until("had.first.length === 1 && got.length === 1")
    page.run("comet.close()")
    carries(daemon.http, topic, "all")
    page.until("second.state === 'open'")
    publish(daemon.http, f"{topic}/all", "two")
    page.until("got.length === 2")
    assert page.run("had.first.length") == 1


def test_two_daemons(browser: Browser) -> None:
    """Tabs of an origin that has two daemons have one connection to each."""
    with ExitStack() as stack:
        shop = stack.enter_context(elsewhere({"/comet.d.ts": EMPTY}))
        daemons = [stack.enter_context(running("--origin", shop)) for _ in range(2)]
        pages = []
        for daemon in daemons * 2:
            page = browser.open(f"{shop}/comet.d.ts")
            begin(page, f"http://{daemon.http}/", daemon.http)
            page.do("await follow('news', 'news').ready")
            pages.append(page)
        for daemon in daemons:
            assert carried(daemon.http, "news") == [["news"]]
            publish(daemon.http, "news", daemon.http)
        for daemon, page in zip(daemons * 2, pages, strict=True):
            page.until("had.news.length")
            assert page.run("had.news.map(([id, data]) => data)") == [daemon.http]


def test_publish(three: dict[str, Page], topic: str) -> None:
    """What a tab publishes comes to all of them, and to itself, once."""
    for page in three.values():
        page.run(f"comet.publish('{topic}/all', NAME)")
    for page in three.values():
        page.until("had.all.length === 3")
        assert page.run("had.all.map(([id, data]) => data)") == ["A", "B", "C"]


@pytest.fixture
def gate(daemon: Daemon) -> Iterator[Gate]:
    """A proxy that can be taken away."""
    with Gate(daemon.http) as gate:
        yield gate


def test_states(browser: Browser, gate: Gate, topic: str) -> None:
    """All tabs are told how things stand, and each of them can have it tried again at once."""
    home = f"http://{gate.address}/"
    pages = {name: opened(browser, home, name) for name in "ABC"}
    for page in pages.values():
        page.do(f"await follow('all', '{topic}/all').ready")
        page.until("comet.state === 'open' && comet.transport === 'websocket'")
    late = opened(browser, home, "late")
    late.do(f"follow('all', '{topic}/all')")
    late.until("comet.state === 'open' && comet.transport === 'websocket'")
    assert leader(late) == "A"
    # The first waits are 0.9, 1.8, 3.6, 7.2 seconds.
    pages["A"].do("Math.random = () => 0.9")
    gate.shut()
    for page in (*pages.values(), late):
        page.until("states.at(-1).state === 'waiting' && states.at(-1).retry > 5000")
        assert page.run("typeof states.at(-1).reason") == "string"
    gate.open()
    late.run("comet.retryNow()")
    tried = late.run("performance.now()")
    for page in (*pages.values(), late):
        page.until("comet.state === 'open' && comet.transport === 'websocket'")
    assert late.run("performance.now()") - tried < 4000


def publish_many(daemon: Daemon, topic: str, count: int) -> None:
    """Publish the numbers below ``count``."""
    for start in range(0, count, 500):
        lines = "\n".join(json.dumps({"topic": topic, "data": n}) for n in range(start, start + 500))
        status, _, answer = asked(daemon.http, "POST", "/topics", lines.encode(), Content_Type="application/x-ndjson")
        assert status == 201, answer


MANY = 5000

ITERATE = """
    window.got = [];
    window.go = new Promise((done) => window.let_go = done);
    window.subscription = comet.subscribe(TOPIC, { since: SINCE });
    (async () => {
        for await (const { data } of subscription) {
            got.push(data);
            if (got.length === 1) await go;
            if (got.length % 250 === 0) await new Promise((done) => setTimeout(done, 10));
        }
    })();
"""


@pytest.mark.parametrize("since", ["now", "first"])
@pytest.mark.parametrize("share", [True, False])
def test_slow_reader(tab: Tab, daemon: Daemon, topic: str, since: str, share: bool) -> None:
    """A loop that is slower than what comes gets all of it, in order; what it has no room for is left in the log."""
    if since == "first":
        publish_many(daemon, topic, MANY)
    page = tab("A", share=share)
    page.do(f"const TOPIC = {json.dumps(topic)}, SINCE = {json.dumps(since)}; {ITERATE}")
    page.do(f"await follow('quick', {json.dumps(topic)}).ready")
    if since == "now":
        page.do("await subscription.ready")
        publish_many(daemon, topic, MANY)
        page.until(f"had.quick.length === {MANY}")
    page.until("got.length === 1")
    before = pages_asked(page)
    page.run("let_go()")
    page.until(f"got.length === {MANY}")
    assert page.run("got") == [*range(MANY)]
    assert pages_asked(page) - before >= 3
    assert page.run("gaps") == []
    publish(daemon.http, topic, "5000", "application/json")
    page.until(f"got.length === {MANY + 1}")


def pages_asked(page: Page) -> int:
    """How often the page has asked for what is retained."""
    return sum("wait=0" in url for url in page.requests())


def test_leaving_a_loop(tab: Tab, daemon: Daemon, topic: str) -> None:
    """A loop that is left ends its subscription."""
    page = tab("A")
    page.do(
        f"""
        await follow("other", {json.dumps(f"{topic}/other")}).ready;
        window.left = (async () => {{
            for await (const message of comet.subscribe({json.dumps(f"{topic}/loop")})) return message.data;
        }})();
        """
    )
    carries(daemon.http, topic, "loop", "other")
    publish(daemon.http, f"{topic}/loop", "hello")
    assert page.run("await left") == "hello"
    carries(daemon.http, topic, "other")


def test_throwing(tab: Tab, daemon: Daemon, topic: str) -> None:
    """A function that throws disturbs nobody else, and the page is told of it as of any mistake."""
    page = tab("A")
    page.do(
        f"""
        const topic = {json.dumps(topic)};
        comet.on("state", () => {{ throw new Error("state"); }});
        comet.subscribe(topic, () => {{ throw new Error("first"); }});
        await follow("second", topic).ready;
        """
    )
    for number in range(3):
        publish(daemon.http, topic, str(number))
    page.until("had.second.length === 3")
    assert page.run("had.second.map(([id, data]) => data)") == ["0", "1", "2"]
    page.until("comet.state === 'open'")
    until(lambda: len(page.errors()) >= 4, "the errors are told")
    assert sum("first" in error for error in page.errors()) == 3
    assert asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0")["messages"][-1]["data"] == "2"
