"""What this machine does, read from ``/proc`` (proc(5), and Documentation/admin-guide/iostats.rst of Linux).

A file that is missing has nothing to tell: containers hide some of them.

The kernel counts from its start, so a rate is the difference of two moments. The traps: a core that was switched off
meanwhile is not in the list, and cores after it move up; a disk is counted again with each of its partitions.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROC = Path("/proc")
SECTOR = 512
"""Bytes: the unit of ``/proc/diskstats``, whatever the disk has."""

_DISK = re.compile(r"(?:[hsv]|xv)d[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+")
"""Whole disks: no partitions, and nothing that is made of other disks."""


class Core(NamedTuple):
    """Clock ticks of a core: in which it worked, and all."""

    busy: int
    all: int


class Moved(NamedTuple):
    """Bytes: received and sent, or read and written."""

    to_here: int
    from_here: int


class Moment(NamedTuple):
    """All that the kernel counts, at a time in seconds."""

    time: float
    cores: dict[str, Core]
    network: Moved
    disk: Moved


class Machine:
    """Tells what the machine does, each time since the time before."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._before = self._moment()

    def is_known(self) -> bool:
        """Whether the system is one that can be asked."""
        return bool(self._before.cores)

    def figures(self) -> dict[str, Any]:
        """The figures since the last call, as they are published. Sizes are in bytes, rates in bytes a second."""
        before, now = self._before, self._moment()
        self._before = now
        disk = os.statvfs("/")
        return {
            "name": platform.node(),
            "cores": percents(before.cores, now.cores),
            "load": [round(average, 2) for average in os.getloadavg()],
            "memory": memory(self._read("meminfo")),
            "network": _rates(before.network, now.network, now.time - before.time, ("in", "out")),
            "disk": _rates(before.disk, now.disk, now.time - before.time, ("read", "written")),
            "space": {"total": disk.f_blocks * disk.f_frsize, "free": disk.f_bavail * disk.f_frsize},
        }

    def _moment(self) -> Moment:
        return Moment(
            time.monotonic(),
            cores(self._read("stat")),
            network(self._read("net/dev")),
            disks(self._read("diskstats")),
        )

    def _read(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:
            return ""


def cores(stat: str) -> dict[str, Core]:
    """The cores that ``/proc/stat`` lists, by name. Waiting for a disk is not work."""
    found = {}
    for line in stat.splitlines():
        name, *columns = line.split() or [""]
        if re.fullmatch("cpu[0-9]+", name):
            # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
            ticks = [int(column) for column in columns[:8]]
            found[name] = Core(sum(ticks) - sum(ticks[3:5]), sum(ticks))
    return found


def percents(before: dict[str, Core], now: dict[str, Core]) -> list[float]:
    """How busy each core of ``now`` was since ``before``, 0 to 100."""
    return [_percent(before.get(name, core), core) for name, core in now.items()]


def _percent(before: Core, now: Core) -> float:
    # Ticks of idleness may count down a little, so a difference is no better than that.
    passed = max(1, now.all - before.all)
    return round(min(100.0, max(0.0, 100 * (now.busy - before.busy) / passed)), 1)


def memory(meminfo: str) -> dict[str, int]:
    """Bytes of memory: all there is, and what is in use and could not be had at once."""
    lines = (line.split() for line in meminfo.splitlines())
    kib = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    total = kib.get("MemTotal:", 0)
    return {"total": total * 1024, "used": (total - kib.get("MemAvailable:", total)) * 1024}


def network(dev: str) -> Moved:
    """Bytes over all interfaces of ``/proc/net/dev`` but the loopback, where nothing leaves the machine."""
    counted = []
    for line in dev.splitlines():
        name, colon, columns = line.partition(":")
        if colon and name.strip() != "lo":
            numbers = columns.split()
            counted.append(Moved(int(numbers[0]), int(numbers[8])))
    return _sum(counted)


def disks(diskstats: str) -> Moved:
    """Bytes read from and written to all disks of ``/proc/diskstats``."""
    rows = (line.split() for line in diskstats.splitlines())
    return _sum([Moved(int(row[5]) * SECTOR, int(row[9]) * SECTOR) for row in rows if _DISK.fullmatch(row[2])])


def _sum(moved: Sequence[Moved]) -> Moved:
    return Moved(sum(each.to_here for each in moved), sum(each.from_here for each in moved))


def _rates(before: Moved, now: Moved, seconds: float, names: tuple[str, str]) -> dict[str, int]:
    """Bytes a second by name. A counter that went back belongs to something that was taken away: nothing is known."""
    moved = [max(0, later - earlier) for earlier, later in zip(before, now, strict=True)]
    return {name: round(count / max(seconds, 0.001)) for name, count in zip(names, moved, strict=True)}
