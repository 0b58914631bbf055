"""One daemon a file: a lock beside it, held for life.

It is the kernel's (``flock``), so that it goes with the process, however that ends. In it stands who has it, for
people.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from comet.errors import CannotOpen


class Lock:
    """The lock of the file at ``path``, which is taken by :meth:`take`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._is_ours = False

    def take(self, *, succeeding: bool) -> None:
        """Take it. If another process has it, raise :exc:`~comet.errors.CannotOpen`; but one that succeeds that process
        gets it later, by :meth:`insist`."""
        name = f"{self._path}.lock"
        self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.insist()
        if not self._is_ours and not succeeding:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            self.release()
            raise CannotOpen(f"{self._path} is in use by another daemon (process {holder}); stop that one first")

    def insist(self) -> None:
        """Take it if it is free by now."""
        if self._is_ours:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self._is_ours = True
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let it go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
