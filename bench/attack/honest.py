"""The honest: the load of the other benches, held up between its phases so that something can be done meanwhile."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from bench.measuring import Place
from bench.servers import FACES, Running, pinned

LONGEST = 240.0
"""Seconds after which a load is killed, so that a daemon which hangs fails its run."""

PHASES = ("held", "begin", "end")

Look = Callable[[str], None]
"""Is told the phase that is reached, before the load goes on."""


def load(place: Place, daemon: Running, options: Mapping[str, float], look: Look) -> dict[str, Any]:
    """Have honest subscribers at ``daemon``, and return what they found: times in seconds, and what was lost."""
    ports = {"port": daemon.subscribe_port, "publisher_port": daemon.publish_port}
    asked = {**ports, **FACES["comet"].options, **options}
    with pinned(place.load_cpu):
        process = subprocess.Popen(
            [place.work / "load", *(f"{name}={value}" for name, value in asked.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    watchdog = threading.Timer(LONGEST, process.kill)
    watchdog.start()
    try:
        for phase in PHASES:
            if process.stdout is None or process.stdout.readline().strip() != phase:
                break
            look(phase)
            _go_on(process)
        out, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    if process.returncode:
        raise RuntimeError(f"the load ended with {process.returncode}: {err.strip()}")
    found: dict[str, Any] = json.loads(out)
    return found


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
