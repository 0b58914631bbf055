"""Pages that use the browser client, of the daemon's own origin and of another."""

from __future__ import annotations

import json

from tests.browsers.browser import Browser, Page
from tests.daemons import Daemon

TRANSPORTS = ("websocket", "stream", "sse", "iframe", "poll")

MODULE = "const {{ Comet }} = await import('http://{daemon}/comet.mjs');"
CLASSIC = """
    await new Promise((onload, onerror) => {{
        const src = "http://{daemon}/comet.js";
        document.documentElement.append(Object.assign(document.createElement("script"), {{ src, onload, onerror }}));
    }});
"""
LOADED = {"comet.mjs": MODULE, "comet.js": CLASSIC}
"""How a page comes by the client."""

CLIENT = """
    window.comet = new Comet("http://{daemon}/", {options});
    window.states = [];
    window.gaps = [];
    window.got = [];
    window.take = (message) => got.push(message);
    comet.on("state", (told) => states.push(told));
    comet.on("gap", (gap) => gaps.push(gap));
"""

PLAIN = """got.map(({ topic, data }) => [topic, data instanceof Uint8Array ? { bytes: [...data] } : data])"""
"""The messages that have come, as JSON carries them."""


def own_page(browser: Browser, daemon: Daemon) -> Page:
    """A page of the daemon's origin, under its strict policy, that does nothing."""
    return browser.open(f"http://{daemon.http}/comet.d.ts")


def begin(page: Page, daemon: Daemon, script: str = "comet.mjs", **options: object) -> None:
    """Have the page make a client, ``comet``; what that tells is in ``states``, ``gaps`` and, of messages, ``got``."""
    made = LOADED[script] + CLIENT
    page.do(made.format(daemon=daemon.http, options=json.dumps({"share": False, **options})))


def subscribe(page: Page, topic: str, **options: object) -> None:
    """Have the page subscribe, and wait until messages come."""
    page.do(f"window.subscription = comet.subscribe({json.dumps(topic)}, take, {json.dumps(options)})")
    page.do("await subscription.ready")
