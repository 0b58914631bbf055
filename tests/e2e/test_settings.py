"""Settings of real daemons: the file, what SIGHUP changes, and what the reference page says of it."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent

import pytest

from tests.daemons import ANYWHERE, ROOT, TWISTD, Daemon, environment, running
from tests.e2e.held import asked, asked_json, connected, publish, subscribe
from tests.e2e.tools import COMET, Running, begun
from tests.e2e.waiting import PATIENCE, until

PAGE = ROOT / "docs/reference/settings.rst"
FREE = "tcp:0:interface=127.0.0.1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings file is."""
    return tmp_path / "comet.toml"


def reload(daemon: Daemon, file: Path, text: str, last: str) -> None:
    """Change the file, send SIGHUP, and wait until the log says ``last``."""
    file.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: last in "".join(daemon.log), f"{last!r} in the log {daemon.log[-5:]}")


def status(daemon: Daemon, method: str, target: str, body: bytes = b"", **header: str) -> int:
    """The status that a request is answered with."""
    return asked(daemon.http, method, target, body, **header)[0]


def test_reload(file: Path) -> None:
    """SIGHUP brings a new silence, retention, payload, origin and host to a daemon that goes on with its streams."""
    file.write_text("silence = '1h'\nretain-messages = 50\nmax-payload = 100\n")
    changed = "silence = 1\nretain-messages = 5\nmax-payload = 200\n"
    # With another name the daemon has a proxy; which, it has to know, or nobody is of this machine any more.
    changed += "origin = ['https://a.example']\nhost = ['b.example']\nproxy = ['127.0.0.2']\n"
    large = b"x" * 150
    command = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nb\r\n$150\r\n%b\r\n" % large
    with running("--config", str(file)) as daemon, connected(daemon.tcp) as publisher:
        position = ""
        for number in range(20):
            position = publish(daemon.http, "a", str(number))
        with subscribe(daemon.http, "/topics/a?transport=stream", "stream") as stream:
            assert stream.until_control("open")["silence"] == 3600
            publisher.sendall(command)
            assert publisher.recv(1000).startswith(b"-")
            assert status(daemon, "POST", "/topics/b", large) == 413
            assert status(daemon, "GET", "/healthz", Origin="https://a.example") == 403
            assert status(daemon, "GET", "/healthz", Host="b.example") == 421

            reload(daemon, file, changed, "reloaded: silence = 1s (was 1h)")

            assert stream.until_control("beat")["position"] == position
            publisher.sendall(command)
            assert publisher.recv(1000).startswith(b":")
            assert status(daemon, "POST", "/topics/b", large) == 201
            assert status(daemon, "GET", "/healthz", Origin="https://a.example") == 200
            assert status(daemon, "GET", "/healthz", Host="b.example") == 200
            until(lambda: len(history(daemon)) == 5, "less is retained")
            assert history(daemon) == ["15", "16", "17", "18", "19"]
            with subscribe(daemon.http, "/topics/a?transport=sse", "sse") as other:
                assert other.until_control("open")["silence"] == 1
            assert daemon.end() == 0
            assert stream.until_end().controls("bye")
        log = "".join(daemon.log)
    for line in ("host = b.example (was none)", "max-payload = 200 (was 100)", "retain-messages = 5 (was 50)"):
        assert f"reloaded: {line}\n" in log
    assert "Traceback" not in log


def history(daemon: Daemon) -> list[str]:
    """The payloads that the topic ``a`` still has."""
    return [message["data"] for message in asked_json(daemon.http, "/topics/a?since=first&wait=0")["messages"]]


def test_reload_of_a_bad_file(file: Path) -> None:
    """A mistake in the file is one line in the log, and the daemon goes on as it was; so it does without a file."""
    file.write_text("silence = 20")
    with running("--config", str(file)) as daemon:
        reload(
            daemon, file, "silence = 10s", f"not reloaded, nothing has changed: {file} is not TOML: Expected newline"
        )
        reload(daemon, file, "slience = 10", "slience is not a setting of Comet; the nearest is silence")
        assert silence(daemon.http) == 20
        reload(daemon, file, "silence = 10", "reloaded: silence = 10s (was 20s)")
        assert silence(daemon.http) == 10
        reload(daemon, file, "log-format = 'json'", '"text":"reloaded: log-format = json (was human)"')
        assert daemon.end() == 0
        assert "Traceback" not in "".join(daemon.log)


def test_nothing_to_reload() -> None:
    """A daemon without a settings file does not die of SIGHUP; it says that there is none."""
    with running() as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        line = "there is no settings file to read again; start with --config PATH"
        until(lambda: line in "".join(daemon.log), line)
        assert silence(daemon.http) == 25
        assert daemon.end() == 0


def silence(http: str) -> float:
    """The silence that a stream which opens now is told."""
    with subscribe(http, "/topics/quiet?transport=stream", "stream") as held:
        return float(held.until_control("open")["silence"])


def console(serving: Running) -> str:
    """Where a daemon that was started by hand speaks HTTP."""
    found = re.search(rb"console +http://(\S+?)/\n", serving.until(b"comet pub news hello"))
    assert found is not None
    return found[1].decode()


def test_serve(file: Path) -> None:
    """Under ``comet serve`` it is the same; of what needs a new process the log says so, and what to type."""
    file.write_text(f'http = "{FREE}"\ntcp = "{FREE}"\nsilence = 20\n')
    with begun(*COMET, "serve", "--config", str(file)) as serving:
        http = console(serving)
        file.write_text(f'http = "{FREE}:backlog=9"\ntcp = "{FREE}"\nsilence = 10\n')
        serving.process.send_signal(signal.SIGHUP)
        serving.until(b"http has changed too, but needs a restart: comet serve --replace\n")
        assert b"reloaded: silence = 10s (was 20s)\n" in serving.out
        assert silence(http) == 10
        serving.process.send_signal(signal.SIGTERM)
        assert serving.wait() == 0


# -- terminals --------------------------------------------------------------------------------------------------------


@contextmanager
def on_a_terminal(*command: str) -> Iterator[tuple[Running, int]]:
    """``command`` in the foreground of a terminal of its own, and the other end of that terminal."""
    other, terminal = pty.openpty()
    try:
        with begun("setsid", "--ctty", *command, stdin=terminal) as running:
            os.close(terminal)
            yield running, other
    finally:
        with suppress(OSError):
            os.close(other)


def test_terminal() -> None:
    """A daemon in the foreground of a terminal ends with it, as any program does, though that sends SIGHUP too."""
    with on_a_terminal(*COMET, "serve", *ANYWHERE) as (serving, other):
        http = console(serving)
        serving.process.send_signal(signal.SIGHUP)
        serving.until(b"there is no settings file")
        assert silence(http) == 25
        os.close(other)
        assert serving.wait() == 0
        assert b"the terminal is closed\n" in serving.out


def test_nohup() -> None:
    """One that was started by nohup outlives its terminal."""
    with on_a_terminal("nohup", *COMET, "serve", *ANYWHERE) as (serving, other):
        http = console(serving)
        os.close(other)
        serving.until(b"there is no settings file")
        assert silence(http) == 25


# -- the reference page -----------------------------------------------------------------------------------------------


def blocks(text: str) -> Iterator[str]:
    """Yield the literal blocks of a page, without their indent."""
    for block in re.findall(r"(?:::\n|code-block:: toml\n(?: +:.*\n)*)\n((?: {3,}.*\n|\n)+)", text):
        yield dedent(block).strip("\n") + "\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the commands that the page types, and with its settings file."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, start in (("comet", COMET[1:]), ("twistd", TWISTD)):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *start])} "$@"\n')
        script.chmod(0o755)
    [settings] = [block for block in blocks(PAGE.read_text()) if "max-payload = " in block and "$ " not in block]
    (tmp_path / "comet.toml").write_text(settings)
    return tmp_path


def typed(place: Path, command: str) -> str:
    """What a shell prints that is given ``command``."""
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environ = environment(PATH=path, COMET_HTTP=FREE, COMET_TCP=FREE)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=place,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.replace(str(place), "/etc/comet")


def test_page_reloads(place: Path) -> None:
    """What the page types to change a setting of a daemon in the background changes it, and is logged as it says."""
    text = PAGE.read_text()
    [commands] = [block for block in blocks(text) if "kill -HUP" in block]
    assert "reloaded: silence = 20s (was 15s)\n" in list(blocks(text))
    start, *change = (line.removeprefix("$ ") for line in commands.splitlines())
    log, pid = place / "comet.log", place / "comet.pid"
    assert typed(place, start) == ""
    try:
        until(lambda: log.exists() and "comet pub news hello" in log.read_text(), "the daemon listens")
        for command in change:
            assert typed(place, command) == ""
        until(lambda: "reloaded: silence = 20s (was 15s)\n" in log.read_text(), "the log says what has changed")
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)
    until(lambda: not pid.exists(), "the daemon is gone")
