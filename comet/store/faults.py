"""What can be wrong with the file, in one line for people: which file, what is wrong, and what to do."""

from __future__ import annotations

import os
import sqlite3
from errno import EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS
from pathlib import Path

from comet.store.blocks import Damaged

DAMAGED = "{path} is damaged{what}; 'comet log verify' says how much is, 'comet log export' saves the rest"
FULL = "the disk of {path} is full; make room"
READ_ONLY = "{path} cannot be written by this user; change its owner, or name another file"
FAILS = "{path} cannot be written or read: the disk says {what}; look into the system's log"

_BY_ERRNO = {
    EACCES: READ_ONLY,
    EPERM: READ_ONLY,
    EROFS: READ_ONLY,
    ENOSPC: FULL,
    EDQUOT: FULL,
    EFBIG: FULL,
    EIO: FAILS,
}
_BY_CODE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: READ_ONLY,
    sqlite3.SQLITE_PERM: READ_ONLY,
    sqlite3.SQLITE_AUTH: READ_ONLY,
    sqlite3.SQLITE_IOERR: FAILS,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: "{path} is no store of Comet, or its beginning is damaged; restore a copy, or name another",
    sqlite3.SQLITE_BUSY: "{path} is locked by another program; have that one finish",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another program; have that one finish",
    sqlite3.SQLITE_TOOBIG: "{path} cannot take a message of more than 1 GB; publish a smaller one",
}


class Gone(OSError):
    """The file of a running daemon is not where it was: what is written to it now nobody would find again."""


class Displaced(OSError):
    """Another process writes to the file."""


def fault(path: Path, error: Exception) -> str:
    """Return what ``error`` says of the file at ``path``."""
    if isinstance(error, Gone):
        return f"{path} was moved or removed; put it back, or start the daemon again"
    if isinstance(error, Displaced):
        return f"{path} was taken over by another daemon; publish there"
    if isinstance(error, Damaged):
        return DAMAGED.format(path=path, what=f": {error}")
    if isinstance(error, OSError):
        text = _BY_ERRNO.get(error.errno or 0, "{path} cannot be used: {what}")
        return text.format(path=path, what=error.strerror or error)
    # Without a code it is the module that fails, at a text that is none.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    text = _BY_CODE.get(code & 0xFF, "{path} cannot be used: {what}")
    return text.format(path=path, what="" if text is DAMAGED else f"{error} ({getattr(error, 'sqlite_errorname', '')})")


def why_not_open(path: Path, error: Exception) -> str:
    """As :func:`fault`, of a file that is to be opened."""
    if not path.parent.is_dir():
        return f"{path} cannot be opened: there is no directory {path.parent}; make it, or name another"
    if path.is_dir():
        return f"{path} is a directory; name a file in it"
    if path.exists() and not os.access(path, os.W_OK):
        return READ_ONLY.format(path=path)
    return fault(path, error)
