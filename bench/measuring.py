"""One run: a server, the load beside it, and the figures that come of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.measures import Backlog, Sample, backlog, sample, with_children
from bench.scenarios import Scenario, flow
from bench.servers import HERE, Face, Running, Server, pinned, publishes_by_post, running

LONGEST = 240.0
"""Seconds after which a load is killed, so that a server which hangs fails its run."""

WARNINGS = ("-O2", "-Wall", "-Wextra")

Figures = dict[str, Any]


class Place(NamedTuple):
    """Where things run: ``work`` is a directory, the CPUs are negative where there is no choice. ``settle`` is how many
    seconds pass before memory is looked at."""

    work: Path
    server_cpu: int
    load_cpu: int
    settle: float


class Phases(NamedTuple):
    """The server before anybody came, when all subscribers were held, and around what is measured."""

    before: Sample
    held: Sample
    begin: Sample
    end: Sample
    backlog: Backlog | None


def build(work: Path) -> None:
    """Compile the load and the floor into ``work``."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("bench: cc is missing, and the load is a C program (Debian: apt-get install gcc libc6-dev)")
    for program in ("load", "floor"):
        subprocess.run([compiler, *WARNINGS, "-o", work / program, HERE / f"{program}.c"], check=True)


def measure(place: Place, server: Server, face: Face, scenario: Scenario, options: Mapping[str, float]) -> Figures:
    """Run ``scenario`` once, with the ``options`` that it has for this run; return the figures."""
    further = scenario.arguments if face.server == "comet" else ()
    with running(server, face, place.work, further, place.server_cpu) as daemon:
        time.sleep(place.settle)
        asked: Mapping[str, Any] = {**flow(options, publishes_by_post(face)), **options, **face.options}
        figures = _load(place, daemon, asked)
    if asked["connections"] > asked.get("topics", 1):
        figures["out_of_order"] = None  # publishes to one topic over several connections have no order
    return figures


def _load(place: Place, daemon: Running, options: Mapping[str, object]) -> Figures:
    ports = {"port": daemon.subscribe_port, "publisher_port": daemon.publish_port}
    with pinned(place.load_cpu):
        load = subprocess.Popen(
            [place.work / "load", *(f"{name}={value}" for name, value in {**ports, **options}.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    watchdog = threading.Timer(LONGEST, load.kill)
    watchdog.start()
    try:
        phases = _follow(load, daemon, place.settle)
        out, err = load.communicate()
    finally:
        watchdog.cancel()
        load.kill()
        load.wait()
    if phases is None or load.returncode:
        raise RuntimeError(f"the load ended with {load.returncode}: {err.strip()}")
    return _figures(json.loads(out), phases)


def _follow(load: subprocess.Popen[str], daemon: Running, settle: float) -> Phases | None:
    """Look at the daemon as the load goes through its phases; None if it did not go through all of them."""
    processes = with_children(daemon.process.pid)
    samples = [sample(processes)]
    for phase in ("held", "begin", "end"):
        if not _reached(load, phase):
            return None
        if phase != "begin":
            time.sleep(settle)
        samples.append(sample(processes))
        if phase != "end":
            _go_on(load)
    behind = backlog(daemon.subscribe_port)
    _go_on(load)
    before, held, begin, end = samples
    return Phases(before, held, begin, end, behind)


def _reached(load: subprocess.Popen[str], phase: str) -> bool:
    assert load.stdout is not None
    return load.stdout.readline().strip() == phase


def _go_on(load: subprocess.Popen[str]) -> None:
    assert load.stdin is not None
    load.stdin.write("\n")
    load.stdin.flush()


def _figures(found: Figures, phases: Phases) -> Figures:
    """What the load has ``found``, with times in milliseconds, and what follows from it."""
    cpu = phases.end.seconds - phases.begin.seconds
    seconds, held = found["seconds"], found["held"]
    milliseconds = {name: value * 1e3 for name, value in found.items() if name.endswith(("_p50", "_p99", "_max"))}
    behind = phases.backlog
    return {
        **found,
        **milliseconds,
        "cpu_seconds": cpu,
        "cpu_per_delivery": _share(cpu * 1e6, found["deliveries"]),
        "cpu_per_publish": _share(cpu * 1e6, found["published"]),
        "deliveries_per_second": _share(found["deliveries"], seconds),
        "publishes_per_second": _share(found["acknowledged"], seconds),
        "subscribes_per_second": _share(held, found["connecting"]),
        "cpu_per_subscribe": _share((phases.held.seconds - phases.before.seconds) * 1e6, held),
        "memory_per_stream": _share((phases.held.bytes - phases.before.bytes) / 1024, held),
        "growth": (phases.end.bytes - phases.begin.bytes) / 1e6,
        "stuck_sockets": None if behind is None else behind.sockets,
        "kernel_per_stuck": None if behind is None else _share(behind.bytes / 1024, behind.sockets),
    }


def _share(amount: float, of: float) -> float | None:
    return amount / of if of else None
