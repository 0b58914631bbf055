"""The file: its tables, their versions, and how it is opened. What cannot be opened is said in one line."""

from __future__ import annotations

import sqlite3
from errno import ENOSPC
from pathlib import Path

from comet.errors import CannotOpen, StoreFailed

APPLICATION = 0x434F4D54
"""``COMT``: what the file's header says it is (PRAGMA application_id)."""

UPGRADES = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE blocks (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, time REAL NOT NULL, count INTEGER NOT NULL,
        bytes INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE places (
        topic INTEGER NOT NULL, block INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (topic, block)
    ) WITHOUT ROWID;
    CREATE TABLE keys (first INTEGER PRIMARY KEY, time REAL NOT NULL, body BLOB NOT NULL);
    CREATE TABLE records (
        kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;
    """,
)
"""What leads from each version to the next; the first makes a new file. Never change one that was released."""

VERSION = len(UPGRADES)


def connect(path: Path, *, reading: bool = False) -> sqlite3.Connection:
    """Open ``path``. Transactions are begun and ended by hand; a reader sees what was committed."""
    mode = "ro" if reading else "rwc"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=5.0, check_same_thread=False
    )


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older version up to this one. Raises :exc:`~comet.errors.CannotOpen`."""
    application, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION and (application or tables):
        raise CannotOpen(f"{path} is a database of another program; name another file")
    if version > VERSION:
        raise CannotOpen(f"{path} is of a newer version of Comet ({version}, this one knows {VERSION}); run that one")
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    for number, upgrade in enumerate(UPGRADES[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {upgrade} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number}; COMMIT;"
        )


def why_not_open(path: Path, error: OSError | sqlite3.Error | StoreFailed) -> str:
    """Return, in one line, why ``path`` cannot be opened, and what to do."""
    if isinstance(error, StoreFailed):
        return f"{path} is damaged: {error.detail}"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent} for the store; make it, or name another"
    if path.is_dir():
        return f"{path} is a directory; name a file for the store"
    text = str(error)
    if isinstance(error, PermissionError) or "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written by this user; change its owner, or name another file for the store"
    if "not a database" in text:
        return f"{path} is no database, or its beginning is damaged; restore a copy, or name another file for the store"
    if "malformed" in text:
        return f"{path} is damaged; 'comet log verify' says how much is, 'comet log export' saves the rest"
    if "full" in text or getattr(error, "errno", 0) == ENOSPC:
        return f"the disk of {path} is full; make room first"
    if "locked" in text:
        return f"{path} is locked by another program; close that first"
    return f"{path} cannot be opened: {text}"


def why_not_written(path: Path, error: sqlite3.Error) -> str:
    """Return, in one line, why something could not be stored."""
    text = str(error)
    return f"the disk of {path} is full" if "full" in text else f"{path} cannot be written: {text}"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found
