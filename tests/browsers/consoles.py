"""The console in a browser, as a person works with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

from tests.browsers.browser import Browser, Page
from tests.e2e.held import Address, asked, asked_json
from tests.framing_readers import Object

LIVE = "document.getElementById('state').textContent.startsWith('Live over ')"

LOOKS = """
    const $ = (selector) => document.querySelector(selector);
    const texts = (selector) => [...document.querySelectorAll(selector)].map((each) => each.textContent);
    const row = (table, text) => [...document.querySelectorAll(`${table} tbody tr`)]
        .find((each) => each.textContent.includes(text));
    Object.assign(window, { $, texts, row });
"""
"""Words in which the tests say what they look at."""


def console(browser: Browser, address: Address, place: str = "", **how: int) -> Page:
    """The console at ``address``, live; ``place`` is what stands behind the ``#``."""
    page = browser.open(f"http://{address}/{place and '#' + place}", **how)  # type: ignore[arg-type]
    page.do(LOOKS)
    page.until(LIVE)
    return page


def tailed(browser: Browser, address: Address, pattern: str, since: str = "first") -> Page:
    """The console with the tail of ``pattern``."""
    return console(browser, address, f"{quote(pattern)}?since={since}")


def until_shown(page: Page, data: str) -> None:
    """Wait until the newest message of the tail has ``data``."""
    page.until(f"$('#messages .data')?.textContent === {json.dumps(data)}")


def is_sound(page: Page, address: Address) -> bool:
    """Whether nothing went wrong in the page, and nobody but the daemon was asked."""
    assert page.errors() == []
    assert page.hosts() == {address}
    return True


def history(address: Address, topic: str) -> list[Object]:
    """What is retained of ``topic``."""
    found: list[Object] = asked_json(address, f"/topics/{topic}?since=first&wait=0")["messages"]
    return found


def publish_all(address: Address, messages: Iterable[tuple[str, object]]) -> None:
    """Publish messages, each a topic and its data, in one request."""
    lines = (json.dumps({"topic": topic, "data": data}) for topic, data in messages)
    status, _, answer = asked(
        address, "POST", "/topics", "\n".join(lines).encode(), Content_Type="application/x-ndjson"
    )
    assert status == 201, answer
