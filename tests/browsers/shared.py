"""Tabs of one origin that share a connection: opening them, and finding out who leads.

Who leads is not to be seen from outside, but by the lock: it belongs to who leads, and each tab here holds one more, by
whose owner it is known. The last part of the name is what `share` was.
"""

from __future__ import annotations

import json
from typing import Any

from tests.browsers.browser import Browser, Page
from tests.e2e.held import asked_json
from tests.e2e.waiting import until

TAB = """
    window.NAME = $NAME;
    navigator.locks.request("tab " + NAME, () => new Promise(() => {}));
    const { Comet } = await import(HOME + "comet.mjs");
    Object.assign(window, { Comet, comet: new Comet(HOME, OPTIONS), states: [], gaps: [], had: {}, subscriptions: {} });
    comet.on("state", (told) => states.push(told));
    comet.on("gap", (gap) => gaps.push(gap));
    window.follow = (name, topics, options = {}) => {
        had[name] = [];
        return subscriptions[name] = comet.subscribe(topics, ({ id, data }) => had[name].push([id, data]), options);
    };
"""

LEADER = """
    const { held } = await navigator.locks.query();
    const led = held.filter(({ name }) => name.startsWith("comet ") && name.endsWith(" true"));
    const known = held.filter(({ name }) => name.startsWith("tab "));
    return led.map(({ clientId }) => known.find((lock) => lock.clientId === clientId)?.name.slice(4));
"""


def opened(browser: Browser, home: str, name: str, **options: object) -> Page:
    """A tab, in a window of its own, with a client of the daemon at ``home``.

    ``follow(name, topics)`` subscribes in it, and ``had[name]`` is what has come.
    """
    page = browser.open(f"{home}comet.d.ts")
    begin(page, home, name, **options)
    return page


def begin(page: Page, home: str, name: str, **options: object) -> None:
    """Make the client."""
    page.do(script(home, name, **options))


def script(home: str, name: str, **options: object) -> str:
    """The statements that make a client."""
    words = {"HOME": home, "$NAME": name, "OPTIONS": options}
    return "".join(f"const {word} = {json.dumps(value)};" for word, value in words.items()) + TAB


def leaders(page: Page) -> list[str]:
    """The names of the tabs that lead, as any of them sees it: one, or none while the lock passes on."""
    found: list[str] = page.do(LEADER)
    return found


def leader(page: Page) -> str:
    """The name of the one that leads."""
    return until(lambda: leaders(page), "somebody leads")[0]


def held(address: str, topic: str) -> list[dict[str, Any]]:
    """The connections that carry anything below ``topic``."""
    found: list[dict[str, Any]] = asked_json(address, "/stats/streams?limit=1000")["streams"]
    return [each for each in found if any(pattern.startswith(topic) for pattern in each["patterns"])]


def carried(address: str, topic: str) -> list[list[str]]:
    """What each of these connections carries."""
    return [sorted(each["patterns"]) for each in held(address, topic)]


def carries(address: str, topic: str, *names: str) -> None:
    """Wait until one connection carries exactly these."""
    expected = [sorted(f"{topic}/{name}" for name in names)]
    until(lambda: carried(address, topic) == expected, f"{expected} on one connection, not {carried(address, topic)}")


def hang(page: Page, seconds: int) -> None:
    """Have the page do nothing else for so long, from now on; ``hung`` is true after that."""
    busy = f"for (const end = Date.now() + {seconds * 1000}; Date.now() < end; );"
    page.do(f"window.hung = false; setTimeout(() => {{ {busy} window.hung = true; }})")
