"""``comet bench`` against real daemons: what it measures, what it notices, and that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comet.transports import BY_NAME
from tests import comets
from tests.daemons import LONGEST, Daemon, Ended, running
from tests.e2e.held import asked_json
from tests.e2e.terminals import terminal
from tests.e2e.tools import COMET, begun, run
from tests.e2e.waiting import until

EVERY = ",".join(BY_NAME)
RETAINED = ("--retain-messages", "100000", "--spread", "0.5")


def at(daemon: Daemon) -> tuple[str, ...]:
    """The arguments that say where ``daemon`` is."""
    return ("--url", f"http://{daemon.http}/", "--server", daemon.tcp)


def bench(daemon: Daemon, *arguments: str) -> Ended:
    """Run a bench until it ends."""
    return run(*COMET, "bench", *at(daemon), *arguments)


def children_of(pid: int) -> list[int]:
    """The processes that the process has begun."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that are still there."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@contextmanager
def busy(daemon: Daemon, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A long bench that is under way."""
    with comets.begun("bench", *at(daemon), "--seconds", "60", *arguments) as bench:
        assert bench.stderr is not None
        assert next(line for line in bench.stderr if "published_per_second" in line)
        yield bench


def crew_of(bench: subprocess.Popen[str]) -> list[int]:
    """The processes that the bench has begun: two of subscribers, one that publishes."""
    crew = children_of(bench.pid)
    assert len(crew) == 3
    return crew


CREWED = ("--subscribers", "40", "--processes", "2")


def test_every_transport(daemon: Daemon) -> None:
    """On every transport each message comes once and in order, and the result says so in JSON."""
    ended = bench(daemon, "--subscribers", "70", "--transports", EVERY, "--seconds", "2", "--rate", "200", "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert [row["transport"] for row in result["transports"]] == list(BY_NAME)
    assert result["published"] == pytest.approx(400, abs=2)
    for row in result["transports"]:
        assert row["delivered"] == 10 * result["published"]
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
        assert not any(
            row[fault] for fault in ("lost", "twice", "disordered", "damaged", "misrouted", "gaps", "dropped")
        )
    assert result["daemon"]["version"]
    assert result["processes"] >= 1


def test_topics_and_publishers(daemon: Daemon) -> None:
    """Several publishers share the topics, each of which has subscribers in several processes."""
    arguments = ("--subscribers", "40", "--topics", "5", "--publishers", "2", "--processes", "2", "--rate", "500")
    ended = bench(daemon, *arguments, "--transports", "stream,websocket", "--seconds", "1", "--size", "3000", "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["all"]["delivered"] == 8 * result["published"]
    assert result["all"]["bytes"] > 3000 * result["all"]["delivered"]


def test_large_messages(daemon: Daemon) -> None:
    """Messages that come in many pieces are put together on every transport."""
    arguments = ("--subscribers", "14", "--transports", EVERY, "--size", "300000", "--rate", "10", "--seconds", "1")
    ended = bench(daemon, *arguments, "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert [row["delivered"] for row in result["transports"]] == [2 * result["published"]] * len(BY_NAME)


def test_without_a_rate(daemon: Daemon) -> None:
    """With ``--rate 0`` it publishes as fast as it is acknowledged; progress is a line of JSON a second on stderr."""
    ended = bench(daemon, "--subscribers", "4", "--seconds", "2", "--rate", "0")
    assert ended.code == 0, ended
    assert re.search(r"^stream +4 .* 0 +0 +0 +\d+$", ended.out, re.MULTILINE), ended.out
    assert "as fast as acknowledged" in ended.out
    progress = [json.loads(line) for line in ended.err.splitlines()]
    assert max(each.get("published_per_second", 0) for each in progress) > 500


# -- what it notices --------------------------------------------------------------------------------------------------


class Meddler:
    """Stands in front of a daemon and changes what comes from it: ``meddle`` is given each line of a response."""

    def __init__(self, target: str, meddle: Callable[[bytes], bytes]) -> None:
        self._target = target
        self._meddle = meddle
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self._target.rpartition(":")
        with client, socket.create_connection((host, int(port))) as server, server.makefile("rb") as lines:
            request = client.recv(65_536)
            if b" HTTP/1.1\r\n" in request:  # in HTTP/1.0 it ends anyway, and who says so is a proxy
                request = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            server.sendall(request)
            try:
                for line in lines:
                    client.sendall(self._meddle(line))
            except OSError:
                pass

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Change:
    """Changes the hundredth message, and leaves all else as it is."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change
        self._messages = 0

    def __call__(self, line: bytes) -> bytes:
        self._messages += b"~bench." in line
        return self._change(line) if b"~bench." in line and self._messages == 100 else line


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "lost": lambda _: b"",
    "twice": lambda line: line * 2,
    "damaged": lambda line: line.replace(b"k", b"j"),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_fault(daemon: Daemon, fault: str) -> None:
    """One message of hundreds that is lost, repeated or damaged for one subscriber is noticed: exit code 1."""
    meddler = Meddler(daemon.http, Change(CHANGES[fault]))
    arguments = ("--url", f"http://{meddler.address}/", "--server", daemon.tcp, "--subscribers", "5", "--rate", "200")
    ended = run(*COMET, "bench", *arguments, "--seconds", "1", "--json")
    meddler.close()
    assert ended.code == 1, ended
    all_ = json.loads(ended.out)["all"]
    assert all_[fault] == 1
    assert all_["lost"] == (fault != "twice")  # what is damaged has not come
    assert not all_["disordered"]


def test_gap() -> None:
    """What a daemon no longer keeps when a subscriber comes back is a gap that is told, and no fault."""
    with running("--retain-messages", "5") as daemon:
        breaking = threading.Event()

        def meddle(line: bytes) -> bytes:
            if b"~bench." in line and not breaking.is_set():
                breaking.set()
                raise OSError
            return line

        meddler = Meddler(daemon.http, meddle)
        arguments = ("--url", f"http://{meddler.address}/", "--server", daemon.tcp, "--subscribers", "1", "--rate", "0")
        ended = run(*COMET, "bench", *arguments, "--seconds", "1", "--json")
        meddler.close()
    all_ = json.loads(ended.out)["all"]
    assert (ended.code, all_["lost"], all_["dropped"]) == (0, 0, 1), ended
    assert all_["gaps"] >= 1
    assert all_["skipped"] >= 1


def test_restart() -> None:
    """While a daemon is ended and another one takes its ports, a bench with keys goes on, and nothing is lost."""
    with running(*RETAINED) as daemon:
        ports = ("--http", endpoint(daemon.http), "--tcp", endpoint(daemon.tcp))
        options = ("--transports", EVERY, "--subscribers", "35", "--rate", "100", "--seconds", "6", "--keys", "--json")
        with begun(*COMET, "bench", *at(daemon), *options) as bench:
            until(lambda: published(daemon) > 100, "the bench publishes")
            assert daemon.end() == 0
            with running(*ports, *RETAINED, anywhere=()):
                code = bench.wait()
    assert code == 0, bench.out
    all_ = json.loads(bench.out)["all"]
    assert all_["dropped"] >= 35
    assert (all_["lost"], all_["twice"], all_["disordered"], all_["damaged"]) == (0, 0, 0, 0)


def endpoint(address: str) -> str:
    """The endpoint that listens at ``address``."""
    host, _, port = address.rpartition(":")
    return f"tcp:{port}:interface={host}"


def published(daemon: Daemon) -> int:
    """How many messages ``daemon`` has taken."""
    stats: dict[str, Any] = asked_json(daemon.http, "/stats")
    return int(stats["published"])


def test_restart_without_keys() -> None:
    """Without keys nobody could tell what was stored, so a publisher that is cut off ends the bench, with a hint."""
    with running() as short_lived:
        options = ("--subscribers", "2", "--rate", "0", "--window", "1000")
        with busy(short_lived, *options) as bench:
            short_lived.end(signal.SIGKILL)
            _, errors = bench.communicate(timeout=LONGEST)
    said = errors.splitlines()[-1]
    assert bench.returncode == 1
    assert said.startswith("comet bench: ")
    assert "--keys" in said


# -- what is left behind ----------------------------------------------------------------------------------------------


def test_interrupted(daemon: Daemon) -> None:
    """Ctrl-C ends a bench with all its processes."""
    with busy(daemon, *CREWED) as bench:
        crew = crew_of(bench)
        bench.send_signal(signal.SIGINT)
        assert bench.wait(LONGEST) == 130
        until(lambda: not alive(crew), "its processes have gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed(daemon: Daemon, number: int) -> None:
    """Even where a bench is killed, its processes end."""
    with busy(daemon, *CREWED) as bench:
        crew = crew_of(bench)
        bench.send_signal(number)
        bench.wait(LONGEST)
        until(lambda: not alive(crew), "its processes have gone")


@pytest.mark.parametrize("which", [0, -1])
def test_a_process_dies(daemon: Daemon, which: int) -> None:
    """If one of its processes dies, a bench says so in a line and ends all others."""
    with busy(daemon, *CREWED) as bench:
        crew = crew_of(bench)
        os.kill(crew[which], signal.SIGKILL)
        _, errors = bench.communicate(timeout=LONGEST)
        assert bench.returncode == 1
        until(lambda: not alive(crew), "its processes have gone")
    assert "one of its own processes has ended (SIGKILL); try again" in errors.splitlines()[-1]


def test_refused() -> None:
    """If the daemon does not take as many subscribers, the bench ends with what the daemon says."""
    with running("--max-streams", "5") as small:
        ended = bench(small, "--subscribers", "20", "--seconds", "30")
    assert (ended.code, ended.out) == (1, "")
    assert "a subscriber by stream cannot be opened: " in ended.err
    assert "max-streams" in ended.err


def test_no_publisher(daemon: Daemon) -> None:
    """If there is nobody to publish to, the bench ends with a hint."""
    ended = run(*COMET, "bench", "--url", f"http://{daemon.http}/", "--server", "127.0.0.1:1", "--subscribers", "2")
    assert (ended.code, ended.out) == (1, "")
    assert "cannot reach 127.0.0.1:1: connection refused" in ended.err
    wrong_port = run(*COMET, "bench", "--url", f"http://{daemon.http}/", "--server", daemon.http, "--subscribers", "2")
    assert wrong_port.code == 1
    assert wrong_port.err.count("\n") == 1, wrong_port.err


# -- on a terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_on_a_terminal(daemon: Daemon, columns: int, rows: int) -> None:
    """A line says how it goes, in place; then there is a table, whose columns are in line."""
    command = (*COMET, "bench", *at(daemon), "--transports", EVERY, "--subscribers", "70", "--seconds", "3")
    with terminal(command, columns, rows) as shown:
        screen = shown.until(" of 3 s  in ", "  out ", "  p99 ")
        assert sum(" of 3 s  in " in line for line in screen) == 1
        screen = shown.until("[done 0]")
        assert shown.cursor_is_shown()
    title = next(place for place, line in enumerate(screen) if line.startswith("transport "))
    table = screen[title : title + len(BY_NAME) + 2]
    assert [line.split()[0] for line in table[1:]] == [*BY_NAME, "all"]
    assert len({len(line) for line in table}) == 1
    assert sum(" of 3 s  in " in line for line in screen) == 1
    assert any("each came once and in order" in line for line in screen)


def test_interrupted_on_a_terminal(daemon: Daemon) -> None:
    """Ctrl-C, which all processes of a terminal get, ends a bench quietly, and the cursor is there again."""
    with terminal((*COMET, "bench", *at(daemon), "--subscribers", "10", "--seconds", "60")) as shown:
        shown.until(" of 60 s  in ")
        shown.type("C-c")
        screen = shown.until("[done 130]")
        assert shown.cursor_is_shown()
    assert not any("Traceback" in line for line in screen)
