"""From a publish to the page's function, in Chromium, over each transport: ``python -m bench.browser``.

A page publishes over HTTP, and its own clock tells when each message is back; then a program publishes over TCP, and
the clock of the machine, which both read, tells when the page has it. The browser is driven as in the tests.

The traps: a browser's clock is coarse (0.1 ms), and a page that is not to be seen is slowed down.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from comet.publish import Publisher
from tests.browsers.browser import Browser, Page
from tests.browsers.driver import Bridge
from tests.browsers.pages import TRANSPORTS, begin, own_page
from tests.daemons import Daemon, running

TOPIC = "bench/latency"

TAKE = """
    window.came = [];
    await comet.subscribe($TOPIC, ({ data }) => {
        const now = performance.now();
        // A program that publishes over TCP sends text.
        came.push(typeof data === "number" ? now - data : performance.timeOrigin + now - 1000 * data);
    }).ready;
"""

PUBLISH = """
    window.sent = 0;
    const timer = setInterval(() => {
        void comet.publish($TOPIC, performance.now());
        if (++sent === $MESSAGES) clearInterval(timer);
    }, $PAUSE);
"""


class Load(NamedTuple):
    """How many messages are published, and how many a second."""

    messages: int
    rate: float

    def words(self) -> dict[str, object]:
        """What stands for it in the scripts."""
        return {"$TOPIC": TOPIC, "$MESSAGES": self.messages, "$PAUSE": 1000 / self.rate}


class Row(NamedTuple):
    """The milliseconds that the messages of one publisher took, by one transport; ``missing`` never came."""

    transport: str
    publisher: str
    delays: Sequence[float]
    missing: int

    def line(self) -> str:
        """The row of the table."""
        shares = [f"{quantile(self.delays, share):.1f}" for share in (0.5, 0.99, 1)]
        return f"| {self.transport} | {self.publisher} | {' | '.join(shares)} | {self.missing} |"


HEAD = """| transport | published | p50 ms | p99 ms | max ms | missing |
| --- | --- | ---: | ---: | ---: | ---: |"""


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the table. Returns 1 if a message did not come."""
    asked = _parser().parse_args(arguments)
    load = Load(asked.messages, asked.rate)
    chromium = shutil.which(asked.chromium)
    if chromium is None:
        raise SystemExit(f"bench: there is no {asked.chromium} (Debian: apt-get install chromium)")
    missing = 0
    print(HEAD, flush=True)
    bridge = Bridge("chromium", chromium)
    try:
        for transport in asked.transports:
            for row in measured(bridge, transport, load):
                missing += row.missing
                print(row.line(), flush=True)
    finally:
        bridge.end()
    return 1 if missing else 0


def measured(bridge: Bridge, transport: str, load: Load) -> list[Row]:
    """Measure one transport, with a daemon and a page of its own."""
    browser = Browser(bridge)
    try:
        with running() as daemon:
            page = own_page(browser, daemon)
            begin(page, daemon, transports=[transport])
            _do(page, TAKE, load)
            page.until(f"comet.state === 'open' && comet.transport === '{transport}'")
            _do(page, PUBLISH, load)
            rows = [_row(page, transport, "by the page, over HTTP", load)]
            page.do("came.length = 0")
            _publish(daemon, load)
            return [*rows, _row(page, transport, "by a program, over TCP", load)]
    finally:
        browser.close()


def quantile(delays: Sequence[float], share: float) -> float:
    """The delay that this share of them does not exceed."""
    ordered = sorted(delays)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _publish(daemon: Daemon, load: Load) -> None:
    begun = time.monotonic()
    with Publisher(daemon.tcp) as publisher:
        for number in range(load.messages):
            time.sleep(max(0.0, begun + number / load.rate - time.monotonic()))
            publisher.publish(TOPIC, str(time.time()))


def _row(page: Page, transport: str, publisher: str, load: Load) -> Row:
    """Wait for the messages, and for those that do not come only so long."""
    deadline = time.monotonic() + 10 + load.messages / load.rate
    while len(delays := page.run("came")) < load.messages and time.monotonic() < deadline:
        time.sleep(0.1)
    return Row(transport, publisher, delays, load.messages - len(delays))


def _do(page: Page, script: str, load: Load) -> None:
    for word, value in load.words().items():
        script = script.replace(word, json.dumps(value))
    page.do(script)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.browser", description=__doc__)
    parser.add_argument("--messages", type=int, default=500, help="how many are published [default: 500]")
    parser.add_argument("--rate", type=float, default=50, help="how many a second [default: 50]")
    parser.add_argument("--transports", type=_names, default=TRANSPORTS, help=f"which of {', '.join(TRANSPORTS)}")
    parser.add_argument("--chromium", default="chromium", metavar="COMMAND", help="the browser [%(default)s]")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in TRANSPORTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(TRANSPORTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
