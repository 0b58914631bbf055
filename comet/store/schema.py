"""The file: its tables, their versions, and how it is opened.

``log``
    One row: what is true of the whole. ``owner`` is drawn at each start, and every transaction insists on it, so that
    whose memory does not agree with the file any more notices. ``last`` is the newest offset, be it of a message that
    is not kept. Blocks up to ``placed`` have places; those after it are the *tail*. What is up to ``trimmed`` is gone.
``blocks``
    See ``blocks.py``.
``topics``
    The topics that have messages in blocks up to ``placed``, and the block with the newest of each.
``places``
    Which blocks have messages of a topic, and where in the body. First come those of the oldest *era*, so that new
    ones are written to a few pages however many topics there are, and old ones are found to be deleted.
``keys``
    Idempotency keys: a row for each commit that had any, by the first offset that one of them got.
``records``
    See ``comet.records``.
``ballast``
    What is written along while the disk is full, to see whether there is room again.

The trap: whoever opens the file and closes it, without SQLite, lets go of the locks that SQLite has on it in the same
process.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from comet.errors import CannotOpen

APPLICATION = 0x436F6D65
"""``Come``: what the file's header says it is (PRAGMA application_id)."""

OLDEST_SQLITE = (3, 35)

ERA = 16
"""Bits of the offsets of an era."""

UPGRADES = (
    """
    CREATE TABLE log (
        epoch TEXT NOT NULL, owner TEXT NOT NULL, boot TEXT NOT NULL, durability TEXT NOT NULL, clean INTEGER NOT NULL,
        last INTEGER NOT NULL, placed INTEGER NOT NULL, trimmed INTEGER NOT NULL);
    INSERT INTO log VALUES ('', '', '', '', 1, 0, 0, 0);
    CREATE TABLE blocks (
        last INTEGER PRIMARY KEY, after INTEGER NOT NULL, time REAL NOT NULL, count INTEGER NOT NULL,
        checksum INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, newest INTEGER NOT NULL);
    CREATE INDEX topics_newest ON topics (newest);
    CREATE TABLE places (
        era INTEGER NOT NULL, topic INTEGER NOT NULL, block INTEGER NOT NULL, count INTEGER NOT NULL,
        start INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (era, topic, block)) WITHOUT ROWID;
    CREATE TABLE keys (first INTEGER PRIMARY KEY, time REAL NOT NULL, body BLOB NOT NULL);
    CREATE TABLE records (
        kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE ballast (body BLOB NOT NULL);
    """,
)
"""What leads from each version to the next; the first makes a new file. What was released never changes."""

VERSION = len(UPGRADES)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, which may be new. Transactions are begun and ended by hand."""
    return sqlite3.connect(path, isolation_level=None, timeout=2.0, check_same_thread=False)


def create(path: Path) -> None:
    """Make an empty file that others may not read, unless there is one. Before the first connection only."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older version up to this one. Raises :exc:`~comet.errors.CannotOpen`."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise CannotOpen(f"SQLite {sqlite3.sqlite_version} is too old for {path}; Comet needs 3.35")
    application, version = (pragma(connection, name) for name in ("application_id", "user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION and (application or tables):
        raise CannotOpen(f"{path} belongs to another program; name another file")
    if version > VERSION:
        raise CannotOpen(f"{path} is of a newer Comet (version {version}, this one knows {VERSION}); start that one")
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    for number, upgrade in enumerate(UPGRADES[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {upgrade} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number}; COMMIT;"
        )


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return a number that SQLite knows of the file."""
    found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found
