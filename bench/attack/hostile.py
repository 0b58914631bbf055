"""All that is hostile at once: :mod:`bench.attack.attackers`, and Debian's ``slowhttptest`` in three of its modes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.servers import Running, pinned

SLOW: Mapping[str, tuple[tuple[str, ...], int]] = {
    "slow headers": (("-H", "-i", "2"), 300),
    "slow bodies": (("-B", "-i", "2", "-s", "8192", "-t", "POST"), 200),
    "slow reading": (("-X", "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "3"), 200),
}
"""The modes of ``slowhttptest``: its options, and how many connections of each there are among two thousand."""

LONGEST = 240
"""Seconds after which ``slowhttptest`` ends if nobody ends it."""

PATIENCE = 20.0


class Strength(NamedTuple):
    """How many there are, as a share of two thousand; from how many addresses; and the pause between two misdeeds."""

    share: float = 1.0
    addresses: int = 40
    pause: float = 0.2

    def of(self, most: int) -> int:
        """How many there are of a kind of which there are ``most`` among two thousand."""
        return max(1, round(most * self.share))


class Attack:
    """An attack that goes on. Once it is over, ``counts`` is how often each kind got in, and was dropped."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    @property
    def attempts(self) -> int:
        """How many connections of :mod:`~bench.attack.attackers` there were, one after the other."""
        return sum(number for name, number in self.counts.items() if name.endswith(": in"))


@contextmanager
def attacked(daemon: Running, strength: Strength, cpu: int, work: Path) -> Iterator[Attack]:
    """Attack ``daemon`` from ``cpu`` until the block ends."""
    attack = Attack()
    slow: list[subprocess.Popen[bytes]] = []
    with pinned(cpu):
        own = _attackers(daemon, strength)
    try:
        with pinned(cpu):
            for options, most in SLOW.values():
                slow.append(_slowly(daemon.subscribe_port, options, strength.of(most), work))
        yield attack
        out, _ = own.communicate("", PATIENCE)
        if own.returncode:
            raise RuntimeError(f"the attackers ended with {own.returncode}")
        attack.counts.update(json.loads(out))
    finally:
        started: list[subprocess.Popen[Any]] = [own, *slow]
        for process in started:
            process.kill()
            process.wait()


def _attackers(daemon: Running, strength: Strength) -> subprocess.Popen[str]:
    asked = {"http": daemon.subscribe_port, "tcp": daemon.publish_port, **strength._asdict()}
    return subprocess.Popen(
        [sys.executable, "-m", "bench.attack.attackers", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _slowly(port: int, options: tuple[str, ...], connections: int, work: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("slowhttptest")
    if program is None:
        raise SystemExit("bench: slowhttptest is missing (Debian: apt-get install slowhttptest)")
    counts = ("-c", str(connections), "-r", str(max(connections // 3, 1)), "-l", str(LONGEST))
    url = f"http://127.0.0.1:{port}/topics/churn/slow"
    return subprocess.Popen(
        ["nice", "-n", "19", program, *options, *counts, "-u", url, "-v", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=work,
    )
