"""One trial: a daemon, honest subscribers alone, then as many beside an attack, and what is left of that afterwards."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jwt

from bench.attack.honest import load
from bench.attack.hostile import SLOW, Attack, Strength, attacked
from bench.measures import sample
from bench.measuring import Figures, Place
from bench.scenarios import FAULTS
from bench.servers import FACES, Running, running, servers

SECRET = "the secret of a bench has 32 bytes or more"
ASKING_FROM = ("127.0.0.254", 0)
"""An address from which nobody attacks, so that whoever asks how it goes is not refused on account of others."""

ADDRESSES = 50
"""From how many addresses the honest come."""

PATIENCE = 60.0

HELD = ("reading", "stuck", "audiences", "subscriptions", "live", "topics", "keys")
"""What of ``/stats`` is nothing, if nobody is there."""


class Size(NamedTuple):
    """How many there are, how many messages a second the honest get, for how many seconds, and after how many more
    seconds all topics are forgotten."""

    honest: int
    hostile: Strength
    rate: float
    seconds: float
    retain: int

    def options(self) -> Mapping[str, float]:
        """What the load is told."""
        asked = {"subscribers": self.honest, "rate": self.rate, "warm": 1, "run": self.seconds, "drain": 20}
        return {**asked, "window": 32, "addresses": ADDRESSES}

    def arguments(self, strangers: bool, work: Path) -> list[str]:
        """What the daemon is told: whether its clients are taken for strangers, to whom limits apply."""
        key = work / "key"
        key.write_text(SECRET)
        key.chmod(0o600)
        arguments = ["--key", str(key), "--retain-seconds", str(self.retain)]
        if strangers:
            arguments += ["--local", "anonymous", "--anonymous", "subscribe:**", "--anonymous", "publish:**"]
            arguments += ["--max-connections-per-address", str(self.honest // ADDRESSES * 5 // 4)]
        return arguments


FULL = Size(10_000, Strength(), rate=5, seconds=20, retain=10)
SMALL = Size(1_000, Strength(0.1), rate=10, seconds=3, retain=1)

ROWS = {"programs of this machine": False, "strangers": True}
"""Whether who comes from the loopback is a stranger, to whom limits apply."""


def trial(place: Place, comet: str, size: Size, strangers: bool) -> Figures:
    """Try it once; return the figures, times in milliseconds."""
    arguments = size.arguments(strangers, place.work)
    server = servers(place.work, comet)["comet"]
    with running(server, FACES["comet"], place.work, arguments, place.server_cpu) as daemon:
        watch = Watch(daemon)
        idle, descriptors = watch.memory(), watch.descriptors()
        alone = load(place, daemon, size.options(), lambda phase: watch.note("alone", phase))
        watch.until_back(descriptors)
        with ExitStack() as attack:
            meanwhile = Meanwhile(place, watch, size, attack)
            beside = load(place, daemon, size.options(), meanwhile.look)
        back = watch.until_back(descriptors)
        refused = sum(watch.stats()["refused"].values())
        return {
            **{fault: alone[fault] + beside[fault] for fault in FAULTS},
            "alone_p50": alone["delivery_p50"] * 1e3,
            "alone_p99": alone["delivery_p99"] * 1e3,
            "beside_p50": beside["delivery_p50"] * 1e3,
            "beside_p99": beside["delivery_p99"] * 1e3,
            "ratio_p99": beside["delivery_p99"] / alone["delivery_p99"],
            "hostile": watch.noted["hostile"],
            "attempts": meanwhile.attempts,
            "idle": idle / 1e6,
            "alone_memory": watch.noted["alone"] / 1e6,
            "beside_memory": watch.noted["beside"] / 1e6,
            "per_hostile": (watch.noted["beside"] - watch.noted["alone"]) / 1024 / max(watch.noted["hostile"], 1),
            "after": watch.memory() / 1e6,
            "refused": refused,
            "back": back,
        }


class Watch:
    """What can be seen of a daemon from outside, and what was noted of it."""

    def __init__(self, daemon: Running) -> None:
        self.daemon = daemon
        self.noted: dict[str, float] = {"hostile": 0}
        self._token = jwt.encode({"comet": {"admin": True}}, SECRET, algorithm="HS256")

    def stats(self) -> dict[str, Any]:
        """``GET /stats``."""
        port = self.daemon.subscribe_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=ASKING_FROM)
        try:
            connection.request("GET", "/stats", headers={"Authorization": f"Bearer {self._token}"})
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    def memory(self) -> float:
        """The resident memory, in bytes."""
        return sample([self.daemon.process.pid]).bytes

    def descriptors(self) -> int:
        """How many are open."""
        return len(list(Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))

    def note(self, name: str, phase: str) -> None:
        """Note the memory at the end."""
        if phase == "end":
            self.noted[name] = self.memory()

    def connections(self) -> int:
        """How many there are, of both faces."""
        there: dict[str, int] = self.stats()["connections"]
        return sum(there.values())

    def until_back(self, descriptors: int) -> float:
        """Wait until nothing is held for anybody; returns how many seconds that took."""
        began = time.monotonic()
        while left := self._left(descriptors):
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"this is left behind: {left}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _left(self, descriptors: int) -> dict[str, Any]:
        stats = self.stats()
        left = {name: stats[name] for name in HELD if stats[name]}
        there = {"http": stats["connections"]["http"] - 1, "tcp": stats["connections"]["tcp"]}
        left |= {name: number for name, number in there.items() if number}
        if (more := self.descriptors() - descriptors) > 0:
            left["descriptors"] = more
        return left


class Meanwhile:
    """Begins the attack when the honest are there, and ends it when they have measured."""

    def __init__(self, place: Place, watch: Watch, size: Size, attack: ExitStack) -> None:
        self._place = place
        self._watch = watch
        self._size = size
        self._attack = attack
        self._goes_on: Attack | None = None
        self.attempts = 0
        """How often the attackers of our own connected, once it is over."""

    def look(self, phase: str) -> None:
        """See :data:`~bench.attack.honest.Look`."""
        if phase == "held":
            honest = self._watch.connections()
            place = self._place
            hostile = attacked(self._watch.daemon, self._size.hostile, place.load_cpu, place.work)
            self._goes_on = self._attack.enter_context(hostile)
            self._await_attack(lambda: self._watch.connections() - honest)
        elif phase == "end":
            self._watch.note("beside", phase)
            self._attack.close()
            assert self._goes_on is not None
            self.attempts = self._goes_on.attempts

    def _await_attack(self, hostile: Callable[[], int]) -> None:
        """Wait until there are no more of them from one look to the next."""
        least = sum(self._size.hostile.of(most) for _, most in SLOW.values())
        began, before = time.monotonic(), 0
        while (now := hostile()) > before or now < least // 4:
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"{now} hostile connections are there after {PATIENCE:g} seconds")
            before = now
            time.sleep(1.0)
        self._watch.noted["hostile"] = now
