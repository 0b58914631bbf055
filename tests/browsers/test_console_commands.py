"""The commands that the console shows for what is on the screen do that, as they stand there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browsers.browser import Browser, Page
from tests.browsers.consoles import console, is_sound, tailed, until_shown
from tests.daemons import Daemon, running
from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.recipes.documented import shell
from tests.recipes.proxies import free_port

HOSTILE = """it's "quoted" $HOME `id` \\n * ; & | > < # ! ~ [a-z] {x,y} %s é\ttab\nline"""
"""What a shell, a Redis client and JavaScript would all like to take for something else."""


@pytest.fixture(scope="module")
def known() -> Iterator[Daemon]:
    """A daemon whose TCP port is known to its console."""
    with running(
        "--tcp", f"tcp:{free_port()}:interface=127.0.0.1", anywhere=("--http", "tcp:0:interface=127.0.0.1")
    ) as known:
        yield known


def command(page: Page, name: str, place: str) -> str:
    """The command that is shown once its name is chosen."""
    page.do(
        f"[...document.querySelectorAll('{place} .names button')].find((each) => each.textContent === '{name}').click()"
    )
    found: str = page.run(f"$('{place} pre').textContent")
    return found


def run_script(page: Page, script: str) -> None:
    """Have the page run what is shown as JavaScript, and note what that prints."""
    script = script.replace("import { Comet } from", "const { Comet } = await import(").replace(";", ");", 1)
    page.do(f"window.printed = []; console.log = (...what) => printed.push(what); {script}")


@pytest.mark.parametrize(("kind", "key"), [("text", ""), ("json", "order 7")], ids=["text", "json-with-key"])
@pytest.mark.parametrize("name", ["curl", "JavaScript", "redis-cli", "nc", "comet"])
def test_publish(browser: Browser, known: Daemon, topic: str, name: str, kind: str, key: str, tmp_path: Path) -> None:
    """Each command publishes what is in the box; with a key only once."""
    topic = f"{topic}/it's <b>é"
    data = HOSTILE if kind == "text" else json.dumps({"said": HOSTILE})
    page = tailed(browser, known.http, f"{topic.partition('/')[0]}/**", "now")
    fields = {"topic": topic, "data": data, "key": key}
    page.do("".join(f"$('#{field}').value = {json.dumps(value)};" for field, value in fields.items()))
    page.do(f"$('#{kind}').checked = true; $('#publish').dispatchEvent(new Event('input'))")
    shown = command(page, name, "#publish-commands")
    for _ in range(2 if key else 1):
        if name == "JavaScript":
            run_script(page, shown)
        else:
            shell(known, tmp_path).run(shown)
    publish(known.http, f"{topic.partition('/')[0]}/end", "end")
    until_shown(page, "end")
    found = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False) if kind == "json" else data
    assert page.run("texts('#messages .data')") == ["end", found]
    assert page.run("texts('#messages .topic')[1]") == topic
    assert is_sound(page, known.http)


@pytest.mark.parametrize("name", ["curl", "nc", "comet"])
def test_subscribe(browser: Browser, known: Daemon, topic: str, name: str, tmp_path: Path) -> None:
    """Each command prints what the tail shows: what was there, and what comes."""
    pattern = f"{topic}/it's/**"
    publish(known.http, f"{topic}/it's/a", "before")
    page = tailed(browser, known.http, pattern)
    until_shown(page, "before")
    with shell(known, tmp_path).begun(command(page, name, "#tail-commands")) as running:
        running.until(b"before")
        until(lambda: len(streams(known.http, pattern)) == 2, "the command subscribes")
        publish(known.http, f"{topic}/it's/a", "after")
        running.until(b"after")


@pytest.mark.parametrize("beneath", ["it's [é]?", "it's/**"])
def test_subscribe_from_now_on(browser: Browser, known: Daemon, topic: str, beneath: str, tmp_path: Path) -> None:
    """A tail of what comes from now on can be had by a Redis client, too: of a topic, and of a pattern."""
    pattern = f"{topic}/{beneath}"
    page = tailed(browser, known.http, pattern, "now")
    with shell(known, tmp_path).begun(command(page, "redis-cli", "#tail-commands")) as running:
        until(lambda: len(streams(known.http, pattern)) == 2, "the command subscribes")
        publish(known.http, quote(pattern.replace("**", "a")), "after")
        running.until(b"after")


def test_what_a_redis_client_cannot(browser: Browser, known: Daemon, topic: str) -> None:
    """There is no command for it where a Redis client would not hear what the tail shows."""
    for pattern, since in ((topic, "first"), (f"{topic}/[a]/*", "now")):
        page = tailed(browser, known.http, pattern, since)
        assert "redis-cli" not in page.run("texts('#tail-commands .names button')")


def test_subscribe_in_a_script(browser: Browser, known: Daemon, topic: str) -> None:
    """The script prints what the tail shows."""
    publish(known.http, topic, "before")
    page = tailed(browser, known.http, topic)
    run_script(page, command(page, "JavaScript", "#tail-commands"))
    page.until("printed.length === 1")
    publish(known.http, topic, "after")
    page.until("printed.length === 2")
    assert page.run("printed") == [[topic, "before"], [topic, "after"]]


@pytest.mark.parametrize("secure", [True, False], ids=["clipboard", "selection"])
def test_copy(browser: Browser, known: Daemon, secure: bool) -> None:
    """The button copies the command; where a page is not given the clipboard, in the older way."""
    page = console(browser, known.http, "elsewhere")
    if not secure:
        page.do("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.click("#tail-commands .line > button:last-child")
    page.until("$('#tail-commands .line > button:last-child').textContent === 'Copied'")
    page.until("$('#tail-commands .line > button:last-child').textContent === 'Copy'")
    page.fill("#data", "")
    page.press("Control+v")
    page.until("$('#data').value === $('#tail-commands pre').textContent")


def test_unknown_port(browser: Browser, daemon: Daemon) -> None:
    """Where the page does not know the TCP port, there is no command for it."""
    page = console(browser, daemon.http, "elsewhere")
    assert page.run("texts('#publish-commands .names button')") == ["curl", "JavaScript"]
