"""What a process costs, as Linux tells it: CPU time, memory, and what the kernel holds for its sockets."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Sample(NamedTuple):
    """CPU ``seconds`` used so far, and resident ``bytes``."""

    seconds: float
    bytes: int


class Backlog(NamedTuple):
    """Sockets with something that the client has not taken, and the kernel's memory for all of them, in bytes."""

    sockets: int
    bytes: int


def with_children(process: int) -> list[int]:
    """Return ``process`` and those that it has started (nginx works in one)."""
    return [process, *(child for child, parent in _parents() if parent == process)]


def sample(processes: Iterable[int]) -> Sample:
    """Return what ``processes`` have used together, all their threads included."""
    seconds = 0.0
    resident = 0
    for process in processes:
        seconds += sum(_nanoseconds(task) for task in (PROC / f"{process}/task").iterdir()) / 1e9
        resident += _resident(process)
    return Sample(seconds, resident)


_SOCKET = re.compile(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)")


def peak(process: int) -> int:
    """Return the most bytes that ``process`` ever had resident."""
    return _status(process, "VmHWM")


def backlog(port: int) -> Backlog | None:
    """Return what the kernel holds of unsent data at the connections that ``port`` has accepted; None without ``ss``.

    Of each socket with a write queue that is all memory that is charged to it: what was received, what is queued to be
    sent, and what is set aside for more.
    """
    if shutil.which("ss") is None:
        return None
    listed = subprocess.run(["ss", "-tnHmO", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    sockets = [tuple(map(int, match.groups())) for match in _SOCKET.finditer(listed)]
    behind = [sum(parts) for parts in sockets if parts[2]]
    return Backlog(len(behind), sum(behind))


def _parents() -> Iterator[tuple[int, int]]:
    for path in PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        yield int(path.parent.name), int(fields[1])


def _nanoseconds(task: Path) -> int:
    """What the scheduler has counted; the clock ticks of ``stat`` are too coarse for a run of two seconds."""
    return int((task / "schedstat").read_text().split()[0])


def _resident(process: int) -> int:
    return _status(process, "VmRSS")


def _status(process: int, name: str) -> int:
    status = (PROC / f"{process}/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
