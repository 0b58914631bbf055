"""All that is hostile at once: :mod:`bench.attack.attackers`, and Debian's ``slowhttptest`` in three of its modes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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

    @property
    def expected(self) -> int:
        """How many connections there are of ``slowhttptest`` alone."""
        return sum(self.of(most) for _, most in SLOW.values())

    def of(self, most: int) -> int:
        """How many there are of a kind of which there are ``most`` among two thousand."""
        return max(1, round(most * self.share))


class Attack:
    """An attack that goes on. ``counts`` is what came of it, once it is over."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}


@contextmanager
def attacked(daemon: Running, strength: Strength, cpu: int, work: Path) -> Iterator[Attack]:
    """Attack ``daemon`` from ``cpu`` until the block ends."""
    attack = Attack()
    asked = {"http": daemon.subscribe_port, "tcp": daemon.publish_port, **strength._asdict()}
    with pinned(cpu):
        own = subprocess.Popen(
            [sys.executable, "-m", "bench.attack.attackers", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        slow = [_slowly(daemon.subscribe_port, options, strength.of(most), work) for options, most in SLOW.values()]
    try:
        yield attack
        out, _ = own.communicate("", PATIENCE)
        if own.returncode:
            raise RuntimeError(f"the attackers ended with {own.returncode}")
        attack.counts.update(json.loads(out))
    finally:
        for process in (own, *slow):
            process.kill()
            process.wait()


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
