"""Disks that are full when a test wants it: a small one of its own where mounting is permitted, and everywhere a limit
on the size of the daemon's files, which the system enforces as a full disk, with another error.

The trap: SQLite goes on writing into what its files have already; only what makes them grow finds the disk full.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.crash.lives import Lives

SIZE = 64 * 1024**2
"""Bytes of a small disk: more than is published in a test."""

LIMIT = 256 * 1024
"""Bytes of the largest file on a limited one; a test publishes more than that before."""


class SmallDisk(Protocol):
    """``path`` is a directory on it."""

    path: Path

    def fill(self, lives: Lives) -> None:
        """Leave no room for the daemon that lives, and for those that start after it."""

    def free(self, lives: Lives) -> None:
        """Make room again."""

    def start(self, lives: Lives) -> str:
        """Start a daemon on the disk, full as it is; returns what it said if it ended at once."""


class Mounted:
    """A file system in memory; a file fills it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, lives: Lives) -> None:
        with self._ballast.open("wb") as file:
            while free := shutil.disk_usage(self.path).free:
                # The daemon may take some of it at this very moment.
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)

    def free(self, lives: Lives) -> None:
        self._ballast.unlink()

    def start(self, lives: Lives) -> str:
        return lives.try_start()


class Limited:
    """A limit on the size of files (RLIMIT_FSIZE), which may be set of another process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, lives: Lives) -> None:
        self._limit(lives.daemon.process.pid, LIMIT)

    def free(self, lives: Lives) -> None:
        with suppress(ProcessLookupError):  # it did not start, as full as it was
            self._limit(lives.daemon.process.pid, resource.RLIM_INFINITY)

    def start(self, lives: Lives) -> str:
        # It is inherited from this process, which writes nothing large meanwhile.
        self._limit(0, LIMIT)
        try:
            return lives.try_start()
        finally:
            self._limit(0, resource.RLIM_INFINITY)

    def _limit(self, pid: int, size: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def mounted(path: Path) -> Iterator[SmallDisk]:
    """A small disk of its own, or if it cannot be mounted, a limited one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield Limited(path)
        return
    try:
        yield Mounted(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def limited(path: Path) -> Iterator[SmallDisk]:
    """A limited disk."""
    path.mkdir()
    yield Limited(path)
