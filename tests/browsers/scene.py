"""Tabs that share a connection, the proxy and the daemon behind it, and messages that are published the whole time."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.browsers.browser import Browser, Page
from tests.browsers.flow import Flow
from tests.browsers.gate import Gate
from tests.browsers.pages import TRANSPORTS
from tests.browsers.shared import hang, held, leaders, opened
from tests.browsers.verdict import Judge, Watched, watched
from tests.daemons import LONGEST, Daemon, running
from tests.e2e.held import asked_json
from tests.e2e.waiting import until
from tests.recipes.proxies import free_port

ROOT = "torture"
TOPICS = [f"{ROOT}/{name}" for name in "abcd"]
TABS = 4

SETTINGS = ("--retain-messages", "100000", "--silence", "2s", "--retry", "100ms", "--spread", "200ms")
"""Nothing is trimmed, so that no gap has its reason in that; what is dead is known to be soon."""

WATCH = """
    Object.assign(window, { records: {}, acknowledged: {} });
    window.watch = (name, topics, since) => {
        const record = (records[name] = { topics, since, from: null, closed: false });
        follow(name, topics, { since }).ready.then(() => record.from = comet.lastId ?? null);
    };
    window.unwatch = (name) => {
        subscriptions[name].close();
        records[name].closed = true;
    };
    window.isComplete = (name) => {
        const ids = had[name].map(([id]) => id);
        const isWanted = (topic) => records[name].topics.some((one) => one === topic || one.endsWith("**"));
        return Object.keys(lasts).every((topic) => !isWanted(topic) || ids.includes(lasts[topic]));
    };
    window.say = (topic, data) => comet.publish(topic, data).then(({ id }) => acknowledged[id] = topic, () => {});
"""


class Scene:
    """What is tortured. ``busy`` are the tabs that do not answer at the moment, and until when."""

    def __init__(self, browser: Browser, chance: random.Random, directory: Path) -> None:
        port = free_port()
        self.chance = chance
        self.address = f"127.0.0.1:{port}"
        self.gate = Gate(self.address)
        self.flow = Flow(self.address, TOPICS, random.Random(chance.random()))
        self.tabs: dict[str, Page] = {}
        self.busy: dict[str, float] = {}
        self._browser = browser
        self._options = ["--http", f"tcp:{port}:interface=127.0.0.1", "--tcp", "tcp:0:interface=127.0.0.1", *SETTINGS]
        self._options += ["--handover", str(directory / "handover")]
        self._stack = ExitStack()
        self._epochs: list[str] = []
        self._known: dict[str, str] = {}
        self._gone: list[Watched] = []
        self._count = 0

    @contextmanager
    def begun(self) -> Iterator[Scene]:
        """It is under way, and ended with the block."""
        with self._stack:
            self.start()
            self._stack.enter_context(self.gate)
            for _ in range(TABS):
                self.open_tab()
            self._stack.enter_context(self.flow)
            yield self

    # -- the daemon ----------------------------------------------------------------------------------------------------

    def start(self, *further: str) -> None:
        """Start a daemon."""
        self.daemon: Daemon = self._stack.enter_context(running(*self._options, *further, anywhere=()))
        epoch = self._ask(f"{ROOT}?wait=0&since=now")["next"].rpartition("-")[0]
        if epoch not in self._epochs:
            self._epochs.append(epoch)

    def restart(self, number: int) -> None:
        """End the daemon by a signal, and start it again."""
        self.daemon.end(number)
        self.start()

    def replace(self) -> None:
        """Have another daemon take its place."""
        old = self.daemon
        self.start("--replace")
        old.process.wait(LONGEST)

    def _ask(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = asked_json(self.address, f"/topics/{what}")
        return found

    # -- tabs ----------------------------------------------------------------------------------------------------------

    def open_tab(self) -> None:
        """Open a tab, which may have a few of the transports only, and subscribe in it."""
        name = f"tab{self.number()}"
        few = self.chance.sample(TRANSPORTS, self.chance.randint(1, 3))
        options = {"transports": few} if self.chance.random() < 0.3 else {}
        page = self.tabs[name] = opened(self._browser, f"http://{self.gate.address}/", name, **options)
        page.do(WATCH)
        for _ in range(2):
            self.watch(page)

    def close_tab(self, name: str) -> None:
        """Close a tab, and keep what it has to report."""
        page = self.tabs.pop(name)
        self._gone += self._reported(name, page, over=True)
        page.close()

    def awake(self) -> list[str]:
        """The names of the tabs that answer."""
        return [name for name in self.tabs if name not in self.busy]

    def any_tab(self) -> str:
        """One that answers."""
        return self.chance.choice(self.awake())

    def leader(self) -> str | None:
        """The tab that leads, if it is one that answers."""
        found = leaders(self.tabs[self.any_tab()])
        return found[0] if found and found[0] in self.awake() else None

    def watch(self, page: Page) -> None:
        """Subscribe to some topics, from somewhere on."""
        number = self.number()
        topics = self.chance.choice([[f"{ROOT}/**"], self.chance.sample(TOPICS, self.chance.randint(1, 3))])
        since = self.chance.choice(["now", "now", "first", "-20", page.run("comet.lastId") or "now"])
        # A topic of its own, by which a gap says whose it is.
        page.do(f"watch('{number}', {[*topics, f'own/{number}']}, '{since}')")

    def number(self) -> int:
        """One that was not used yet."""
        self._count += 1
        return self._count

    def _reported(self, name: str, page: Page, *, over: bool) -> list[Watched]:
        report = page.run("{ records, had, gaps, acknowledged }")
        self._known |= report["acknowledged"]
        return [*watched(name, report, over=over)]

    def hang(self, name: str, seconds: int) -> None:
        """Have a tab do nothing for so long; nobody is to talk to it meanwhile."""
        hang(self.tabs[name], seconds)
        self.busy[name] = time.monotonic() + seconds

    def look(self) -> None:
        """See who is there again of those that did not answer."""
        for name, end in [*self.busy.items()]:
            if time.monotonic() > end:
                self.tabs[name].until("window.hung")
                del self.busy[name]

    # -- the end -------------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Nothing is in anybody's way any more; the last messages are published, and one connection is left."""
        self.gate.treat.clear()
        for name, page in self.tabs.items():
            if name in self.busy:
                page.until("window.hung")
            page.run("comet.retryNow()")
        self.busy.clear()
        self.flow.end()
        for topic in TOPICS:
            self.flow.publish(topic, "last")
        last = self.flow.sent[-1].id
        for page in self.tabs.values():
            page.until(f"comet.lastId === '{last}'")
        until(lambda: len(held(self.address, ROOT)) == 1, "one connection is left")
        self._wait_for_readers()

    def _wait_for_readers(self) -> None:
        """Those that are behind read on by themselves, until each has the last message that is for it."""
        lasts = {sent.topic: sent.id for sent in self.flow.sent[-len(TOPICS) :]}
        for page in self.tabs.values():
            page.do(f"window.lasts = {json.dumps(lasts)}")
            page.until("Object.keys(records).every((name) => records[name].closed || isComplete(name))")

    def faults(self) -> list[str]:
        """What is wrong with what the tabs have had."""
        reports = self._reports()
        judge = Judge(self._epochs, self._messages())
        return [fault for report in reports for fault in judge.faults(report)]

    def gaps(self) -> list[Watched]:
        """Who was told of a gap."""
        return [report for report in self._reports() if report.lost]

    def _reports(self) -> list[Watched]:
        found = [*self._gone]
        for name, page in self.tabs.items():
            found += self._reported(name, page, over=False)
        return found

    def published_twice(self) -> list[str]:
        """What pages have published once and the log has more than once."""
        said = Counter(message["data"] for message in self.retained() if message["data"].startswith("said"))
        return [data for data, times in said.items() if times > 1]

    def _messages(self) -> dict[str, str]:
        """The topics of all messages that are known to have been in the log, by their positions."""
        retained = {message["id"]: message["topic"] for message in self.retained()}
        return self._known | {sent.id: sent.topic for sent in self.flow.sent} | retained

    def retained(self) -> Iterator[dict[str, Any]]:
        """What the log has in the end."""
        page = self._ask(f"{ROOT}/**?wait=0&since=first")
        while page["messages"]:
            yield from page["messages"]
            page = self._ask(f"{ROOT}/**?wait=0&since={page['next']}")
