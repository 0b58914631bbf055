"""Having the file of a log for oneself, to write to it, as a daemon would."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comet.errors import CannotOpen, StoreFailed
from comet.store.disk import Disk
from comet.store.faults import fault, why_not_open
from comet.store.opening import open_disk


class Refused(Exception):
    """Something cannot be done with a file. Its text is one line."""


@contextmanager
def taken(path: Path) -> Iterator[Disk]:
    """The file at ``path``, which is made if it is not there. Raises :exc:`Refused`, also for what goes wrong within
    the block."""
    disk = Disk(path, "commit")
    try:
        open_disk(disk, 0, float("inf"), succeeding=False)
    except CannotOpen as error:
        raise Refused(str(error)) from None
    except (OSError, sqlite3.Error, StoreFailed) as error:
        disk.lock.release()
        raise Refused(why_not_open(path, error)) from None
    try:
        try:
            yield disk
        finally:
            disk.close()
    except (OSError, sqlite3.Error) as error:
        raise Refused(fault(path, error)) from None


def renew(path: Path) -> tuple[str, str]:
    """Give the file another epoch; return the old one and the new."""
    if not path.exists():
        raise Refused(f"there is no file {path}")
    with taken(path) as disk:
        epoch = secrets.token_hex(4)
        disk.connection.execute("UPDATE log SET epoch = ?", (epoch,))
        return disk.epoch, epoch
