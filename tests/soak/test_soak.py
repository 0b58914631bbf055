"""An hour's worth of comings and goings squeezed into minutes: afterwards the daemon is as it was.

A site on which ten clients come and go each second has 36,000 visits in an hour. The gate makes some thousands in half
a minute; ``make soak`` goes on for ten (``SOAK_SECONDS``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from comet.resp.session import REMEMBERED_TOPICS
from tests.daemons import Daemon, running
from tests.e2e.waiting import until
from tests.minting import SECRET, minted
from tests.soak.visitors import TOPICS, Place, come_and_go

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
WARM_UP = 12.0
AT_ONCE = 50

GROWTH = 4 * 1024**2
"""Bytes by which the resident memory may have grown between two moments of rest. What a heap that is as large as
before gives back, and what it does not, differs by a megabyte or two from one rest to the next. The bound does not grow
with the length of the soak: in that of the gate 1 KB that is left behind by each visit would be over it, in the long
one some thirty bytes, which is less than any object of Python takes."""

_RESIDENT = re.compile(r"VmRSS:\s+([0-9]+) kB")


class Watched:
    """A daemon, and what can be seen of it from outside."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._descriptors = self.descriptors()
        admin = minted(sub="admin", comet={"admin": True, "consumers": ["*"], "subscribe": ["**"], "publish": ["**"]})
        allowed = {"subscribe": ["**"], "publish": ["**"]}
        self.place = Place(
            daemon.http_port(),
            int(daemon.tcp.rpartition(":")[2]),
            [admin, *(minted(sub=f"visitor-{number}", comet=allowed) for number in range(20))],
        )

    def load(self, seconds: float, seed: int) -> int:
        """Have visitors for so long; returns how many there were."""
        return asyncio.run(come_and_go(self.place, seconds, AT_ONCE, seed))

    def ask(self, target: str) -> str:
        """What the daemon answers to an administrator."""
        connection = HTTPConnection("127.0.0.1", self.place.http, timeout=20)
        try:
            connection.request("GET", target, headers={"Authorization": f"Bearer {self.place.tokens[0]}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return response.read().decode()
        finally:
            connection.close()

    def held(self) -> dict[str, Any]:
        """What it holds for anybody: all of it is nothing when nobody is there, but for the one who asks."""
        stats = json.loads(self.ask("/stats"))
        names = (
            "reading",
            "stuck",
            "audiences",
            "retained",
            "retained_bytes",
            "topics",
            "keys",
            "subscriptions",
            "live",
        )
        (addresses,) = re.findall(r"^comet_addresses ([0-9]+)$", self.ask("/metrics"), re.MULTILINE)
        consumers = json.loads(self.ask("/consumers"))["consumers"]
        found = {name: stats[name] for name in names} | {"addresses": int(addresses) - 1, "consumers": len(consumers)}
        found |= {"http": stats["connections"]["http"] - 1, "tcp": stats["connections"]["tcp"]}
        return {name: value for name, value in found.items() if value}

    def rest(self) -> None:
        """Wait until nothing is held for anybody."""
        held: dict[str, Any] = {}

        def nothing() -> bool:
            held.clear()
            held.update(self.held())
            return not held

        try:
            until(nothing, "a daemon that holds nothing", 40)
        except AssertionError:
            pytest.fail(f"is left behind: {held}")
        until(lambda: self.descriptors() <= self._descriptors, "a daemon with as many descriptors as at its start")

    def memory(self) -> int:
        """Its resident memory, in bytes."""
        status = Path(f"/proc/{self._daemon.process.pid}/status").read_text()
        (resident,) = _RESIDENT.findall(status)
        return int(resident) * 1024

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self._daemon.process.pid}/fd"))  # noqa: PTH208


@contextmanager
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A daemon that takes its visitors for strangers, and forgets quickly."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(0o600)
    quick = ("--retain-seconds", "2", "--key-window", "2", "--head-timeout", "2", "--body-timeout", "2")
    strangers = ("--local", "anonymous", "--anonymous", "subscribe:**", "--anonymous", "publish:**", "--key", str(key))
    rates = ("requests-per-address", "publishes-per-address", "requests-per-subject", "publishes-per-subject")
    unbound = [word for rate in rates for word in (f"--{rate}", "0")]
    with running(*quick, *strangers, *unbound, "--access-log", "none") as daemon:
        yield Watched(daemon)


def test_an_hours_worth_of_visits_leaves_nothing_behind(tmp_path: Path) -> None:
    """Memory is flat; descriptors, streams, audiences, topics, keys, consumers and accounts are as before."""
    with watched(tmp_path) as daemon:
        daemon.load(WARM_UP, seed=0)
        daemon.rest()
        memory, began = daemon.memory(), time.monotonic()
        visits = daemon.load(SECONDS, seed=1_000)
        took = time.monotonic() - began
        daemon.rest()
        grown = daemon.memory() - memory
        sys.stdout.write(f"{visits:,} visits in {took:.0f} s: {grown / 1024:+,.0f} KB of {memory / 1024**2:.0f} MB\n")
        assert visits > 20 * SECONDS, "hardly anybody came"
        assert grown < GROWTH


def test_the_topics_are_fewer_than_are_remembered() -> None:
    """Else what the TCP port remembers of topics that it has checked would grow all the time."""
    assert TOPICS < REMEMBERED_TOPICS
