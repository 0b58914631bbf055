"""The main job, on real input: what a program prints reaches a terminal and a browser, line by line, as it comes."""

from __future__ import annotations

from tests.browsers.browser import Browser
from tests.daemons import Daemon
from tests.e2e.held import streams
from tests.e2e.tools import COMET, begun, path_of, piped
from tests.e2e.waiting import until


def test_vmstat(daemon: Daemon, topic: str, browser: Browser) -> None:
    """``vmstat 1 | comet pub load --lines`` is watched by ``comet sub load`` and by the console, second by second."""
    publisher = (*COMET, "pub", topic, "--lines", "--server", daemon.tcp)
    subscriber = (*COMET, "sub", topic, "--url", f"http://{daemon.http}/")
    with begun(*subscriber) as terminal, browser.open(f"http://{daemon.http}/#{topic}") as page:
        until(lambda: len(streams(daemon.http, topic)) == 2, "the terminal and the browser listen")
        with piped((path_of("vmstat"), "1"), publisher):
            until(lambda: terminal.out.count(b"\n") >= 4, "four lines in the terminal")
            page.until("document.querySelectorAll('#messages li').length >= 4")
        shown = page.run("Array.from(document.querySelectorAll('#messages .data'), row => row.textContent)")
    assert "procs" in shown[-1]
    assert "swpd" in shown[-2]
    assert all(word.isdigit() for word in shown[-3].split())
    assert [line.removeprefix(f"{topic}  ") for line in terminal.out.decode().splitlines()][:4] == shown[::-1][:4]
