"""``comet top`` on a real terminal: what is seen, how it is left, and a daemon that goes and comes back."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.daemons import LONGEST, Daemon, environment, running
from tests.e2e.held import publish, subscribe
from tests.e2e.terminals import Terminal, terminal
from tests.e2e.test_bench_load import endpoint
from tests.e2e.tools import COMET, begun
from tests.e2e.waiting import until


@contextmanager
def top(daemon: Daemon, *arguments: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """``comet top`` on a terminal, with figures on it."""
    command = (*COMET, "top", "--url", f"http://{daemon.http}/", *arguments)
    with terminal(command, columns, rows) as shown:
        shown.until("BUSIEST TOPICS")
        yield shown


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_screen(daemon: Daemon, topic: str, columns: int, rows: int) -> None:
    """The figures, the busiest topics and the slow streams are on the screen, and change in place."""
    with (
        top(daemon, columns=columns, rows=rows) as shown,
        subscribe(daemon.http, f"/topics/{topic}?transport=sse", "sse"),
    ):
        first = shown.until("Comet 0.1.0   http://")

        def busy() -> bool:
            publish(daemon.http, topic, "x")
            return any(line.startswith(topic[: columns - 45]) for line in shown.screen())

        until(busy, "the topic is among the busiest")
        screen = shown.until("  live", "in        ", "subscribers", "memory", "flush", "by transport", "SLOW STREAMS")
        assert screen[0] != first[0]  # it is up for longer
        assert sum("   http://" in line for line in screen) == 1
        [title] = [line for line in screen if line.startswith("BUSIEST TOPICS")]
        [row] = [line for line in screen if line.startswith(topic[: columns - 45])]
        assert len(title) == len(row) == columns - 1


def test_slow_stream(topic: str) -> None:
    """Who does not read is shown, with how far behind it is and what becomes of it."""
    with (
        running("--send-buffer", "4KiB") as daemon,
        subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream"),
    ):

        def stuck() -> bool:
            publish(daemon.http, topic, "x" * 100_000)
            return any(line.startswith("stream ") and " stuck for " in line for line in shown.screen())

        with top(daemon, columns=120) as shown:
            until(stuck, "the stream that does not read")
            shown.until(" behind (", f"  {topic}", "  dropped in ")


def test_larger_window(daemon: Daemon) -> None:
    """A window that becomes larger or smaller is made use of from the next look on."""
    with top(daemon) as shown:
        shown.resize(120, 40)
        until(lambda: shown.screen()[0].rstrip().endswith("  live") and len(shown.screen()[0]) > 100, "the wide screen")
        shown.resize(60, 12)
        until(lambda: shown.screen()[0].startswith("Comet 0.1.0 ") and len(shown.screen()[0]) < 60, "the narrow screen")
        screen = shown.until("   http://")
        assert sum("   http://" in line for line in screen) == 1


@pytest.mark.parametrize("key", ["q", "Q", "C-c"])
def test_quit(daemon: Daemon, key: str) -> None:
    """``q`` and ctrl-C quit, and leave the terminal as it was."""
    with top(daemon) as shown:
        assert not shown.cursor_is_shown()
        shown.type(key)
        screen = shown.until("[done 0]", "icanon")
        assert shown.cursor_is_shown()
        assert "-icanon" not in "".join(screen)
        assert sum("BUSIEST TOPICS" in line for line in screen) == 1  # the last look stays


def test_other_keys(daemon: Daemon) -> None:
    """What else is typed changes nothing, and is not shown."""
    with top(daemon) as shown:
        shown.type("x", "Enter", "Up", "é")
        before = shown.screen()[0]
        until(lambda: shown.screen()[0] != before, "another look")
        assert len(shown.until("   http://")) == 24
        shown.type("q")
        shown.until("[done 0]")


def test_count(daemon: Daemon) -> None:
    """After ``--count`` looks it ends by itself."""
    with top(daemon, "--count", "2") as shown:
        shown.until("[done 0]", "icanon")


def test_stopped_and_resumed(daemon: Daemon) -> None:
    """After ctrl-Z and ``fg`` the screen goes on, and keys are noticed at once, as before."""
    with terminal(("bash", "--norc", "-i")) as shown:
        shown.type(shlex.join((*COMET, "top", "--url", f"http://{daemon.http}/")), "Enter")
        shown.until("SLOW STREAMS")
        shown.type("C-z")
        shown.until("Stopped")
        until(shown.cursor_is_shown, "the cursor")
        shown.type("clear; fg", "Enter")
        shown.until("SLOW STREAMS")
        shown.type("q")
        until(shown.cursor_is_shown, "the end")
        shown.type("stty -a | grep -o -e '-*icanon'; exit", "Enter")
        screen = shown.until("[done 0]")
    assert sum("SLOW STREAMS" in line for line in screen) == 1
    assert "icanon" in screen


def test_terminated(daemon: Daemon) -> None:
    """A signal that ends it leaves the terminal as it was, too."""
    master, slave = pty.openpty()
    with (
        os.fdopen(master, "rb", buffering=0) as screen,
        os.fdopen(slave, "wb", buffering=0) as device,
        subprocess.Popen(
            [*COMET, "top", "--url", f"http://{daemon.http}/"],
            stdin=device,
            stdout=device,
            env=environment(TERM="xterm"),
            start_new_session=True,
        ) as process,
    ):
        out = b""
        while b"SLOW STREAMS" not in out:
            out += screen.read(65_536)
        process.send_signal(signal.SIGTERM)
        while b"\x1b[?25h" not in out:
            out += screen.read(65_536)
        assert process.wait(LONGEST) == 143
        settings = subprocess.run(["stty", "-a"], stdin=device, capture_output=True, text=True, check=True).stdout
    assert " icanon" in settings
    assert " echo " in settings


def test_restart(topic: str) -> None:
    """While the daemon is away, it is said so, and the last figures stay; when it is back, so are its figures."""
    with running("--spread", "0.1") as daemon, top(daemon) as shown:
        ports = ("--http", endpoint(daemon.http), "--tcp", endpoint(daemon.tcp))
        shown.until("  live")
        assert daemon.end() == 0
        shown.until("  disconnected, trying again", "BUSIEST TOPICS")
        with running(*ports, anywhere=()):
            shown.until("  live", "   up ")
            shown.type("q")
            shown.until("[done 0]")


def test_stopped_daemon() -> None:
    """A daemon that hangs is told by how long nothing has come of it."""
    with running() as daemon, top(daemon) as shown:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            shown.until("  silent for ")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        shown.until("  live")


def test_pipe_over_a_restart() -> None:
    """In a pipe there is a line a second all the time, which says whether the daemon is there."""
    with running("--spread", "0.1") as daemon:
        ports = ("--http", endpoint(daemon.http), "--tcp", endpoint(daemon.tcp))
        with begun(*COMET, "top", "--url", f"http://{daemon.http}/") as watching:
            started = time.monotonic()
            watching.until(b'"connected":true')
            daemon.end()
            watching.until(b'"connected":false')
            with running(*ports, anywhere=()):
                until(lambda: looks(watching.out)[-1]["connected"], "it is connected again")
            seconds = time.monotonic() - started
            watching.process.send_signal(signal.SIGINT)
            assert watching.wait() == 0
    assert abs(len(looks(watching.out)) - seconds) < 3


def looks(out: bytes) -> list[dict[str, object]]:
    """The complete lines of the output."""
    return [json.loads(line) for line in out.split(b"\n")[:-1]]
