"""The bench works, and its load finds what it is there to find. A C compiler is needed, as ``cc``: without it these
tests fail, and say so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.measuring import build
from bench.report import Run, faults, table
from bench.scenarios import FAULTS, QUICK_SCENARIOS, SCENARIOS, flow, quick
from bench.servers import FACES
from tests.daemons import ROOT

LONGEST = 60.0


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the compiled load."""
    directory = tmp_path_factory.mktemp("bench")
    build(directory)
    return directory


@pytest.mark.parametrize("name", ["1k-32", "10k-poll"])
def test_a_quick_run_delivers_everything_once(name: str, tmp_path: Path) -> None:
    """``python -m bench --quick`` prints a table, and finds nothing wrong with Comet or the floor."""
    figures = tmp_path / "figures"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--scenarios", name, "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"## {name}" in done.stdout
    runs = [json.loads(line) for line in figures.read_text().splitlines()]
    assert [run["face"] for run in runs] == [
        face for face in SCENARIOS[name].faces if face.startswith(("floor", "comet"))
    ]
    for run in runs:
        assert run["figures"]["deliveries"] > 200
        assert {fault: run["figures"][fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0)


def _replaced(block: bytes, number: int, by: Callable[[bytes], bytes]) -> bytes:
    return by(block) if b"@%08x" % number in block else block


WRONG: dict[str, tuple[Callable[[bytes], bytes], str, int]] = {
    "nothing": (lambda block: block, "lost", 0),
    "one is left out": (lambda block: _replaced(block, 2, lambda _: b""), "lost", 1),
    "the last is left out": (lambda block: _replaced(block, 9, lambda _: b""), "lost", 1),
    "one comes twice": (lambda block: _replaced(block, 3, lambda each: each + each), "twice", 1),
    "one has another byte": (
        lambda block: _replaced(block, 4, lambda each: each[:-3] + b"!" + each[-2:]),
        "damaged",
        1,
    ),
    "one has another number": (
        lambda block: _replaced(block, 4, lambda each: each[:9] + b"f" + each[10:]),
        "damaged",
        1,
    ),
    "one is cut short": (lambda block: _replaced(block, 5, lambda each: each[:40] + b"\n\n"), "damaged", 1),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_load_finds_what_is_wrong(what: str, programs: Path) -> None:
    """What a server loses, repeats or damages is counted."""
    spoil, fault, count = WRONG[what]
    with _relay(spoil) as port:
        assert _found(programs, port, "topics=1")[fault] == count


def test_the_load_finds_what_comes_out_of_order(programs: Path) -> None:
    """A message that comes after its successor is out of order, and not lost."""
    held: list[bytes] = []

    def swap(block: bytes) -> bytes:
        if b"@00000002" in block:
            held.append(block)
            return b""
        return block + held.pop() if held else block

    with _relay(swap) as port:
        found = _found(programs, port, "topics=1")
    assert (found["out_of_order"], found["lost"], found["twice"]) == (1, 0, 0)


def test_the_load_finds_what_was_meant_for_others(programs: Path) -> None:
    """A message of another topic is misrouted."""
    with _relay(lambda block: block) as port:
        found = _found(programs, port, "topics=2")  # the relay sends all to all
    assert found["misrouted"] == 5


def _found(programs: Path, port: int, *options: str) -> dict[str, Any]:
    ports = (f"port={port}", f"publisher_port={port}")
    done = subprocess.run(
        [programs / "load", *ports, "subscribers=1", "messages=10", "window=10", "depth=10", "drain=0.3", *options],
        input="\n\n\n",
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _relay(spoil: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server for one subscriber, then one publisher, that passes on what ``spoil`` makes of each block; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, spoil))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(LONGEST)


def _serve(listener: socket.socket, spoil: Callable[[bytes], bytes]) -> None:
    subscriber = listener.accept()[0]
    with subscriber:
        subscriber.recv(4096)
        subscriber.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        publisher = listener.accept()[0]
        with publisher, publisher.makefile("rb") as lines:
            for line in lines:
                subscriber.sendall(spoil(b"data: %b\n\n" % line.split()[2]))
                publisher.sendall(b":1\r\n")


def test_a_quick_run_is_small() -> None:
    """No scenario has more than 200 subscribers in a quick run, and what is rare becomes frequent."""
    for scenario in SCENARIOS.values():
        small = quick(scenario.options)
        assert small.keys() == scenario.options.keys()
        assert small["subscribers"] <= 200
        assert small.get("rate", 20) >= 20
    assert set(QUICK_SCENARIOS) <= SCENARIOS.keys()


def test_every_scenario_names_known_faces() -> None:
    """The faces that a scenario names exist."""
    assert {face for scenario in SCENARIOS.values() for face in scenario.faces} <= FACES.keys()


def test_a_window_is_spread_over_the_connections() -> None:
    """Who can pipeline does; over POST each connection has one publish at a time."""
    assert flow({"window": 32}, by_post=False) == {"connections": 1, "depth": 32}
    assert flow({"window": 32}, by_post=True) == {"connections": 32, "depth": 1}
    assert flow({"window": 1024}, by_post=True) == {"connections": 64, "depth": 1}


def _run(face: str, repetition: int, cpu: float, lost: int = 0) -> Run:
    figures: dict[str, Any] = {column.name: 1.0 for column in SCENARIOS["1k-one"].columns} | dict.fromkeys(FAULTS, 0)
    return Run("1k-one", face, repetition, {**figures, "cpu_per_delivery": cpu, "lost": lost})


def test_ratios_are_made_within_a_repetition() -> None:
    """The ratio is the median of each repetition's, so that a machine that was busy for one of them does not matter."""
    costs = {"floor": (1.0, 10.0, 1.0), "comet": (2.0, 20.0, 2.0)}
    runs = [_run(face, number, cpu) for face, all_ in costs.items() for number, cpu in enumerate(all_)]
    last = next(line for line in table(SCENARIOS["1k-one"], runs) if line.startswith("| comet"))
    assert "| 2.000 |" in last
    assert last.split(" | ")[12] == "2.00"


def test_only_what_comet_gets_wrong_is_a_fault() -> None:
    """A peer may lose; Comet may not."""
    assert list(faults([_run("comet", 0, 1.0), _run("nchan", 0, 1.0, lost=3)])) == []
    assert list(faults([_run("comet", 0, 1.0, lost=3)])) == ["1k-one, comet: 3 lost"]
