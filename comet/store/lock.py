"""The lock of the file: a daemon holds ``PATH.lock`` for life, so that no second one takes its offsets.

A successor opens the file while its predecessor, which stands still, has the lock; it takes it once that has ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from comet.errors import CannotOpen


class Lock:
    """The lock of the file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.is_held = False

    def take(self) -> None:
        """Take it. Raises :exc:`~comet.errors.CannotOpen` if another daemon has it."""
        if not self.is_held:
            self.try_to_take()
        if not self.is_held:
            pid = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise CannotOpen(
                f"{self._path} is in use by another daemon (process {pid or 'unknown'}); stop that one first, or take "
                "its place with --replace"
            )

    def try_to_take(self) -> None:
        """Take it if nobody has it. Raises OSError."""
        if self._descriptor < 0:
            self._descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self.is_held = True
        with suppress(OSError):  # who holds it is a courtesy, for which a full disk has no room
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go of it. The file stays: who removed it would let two daemons hold two locks of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self.is_held = False
