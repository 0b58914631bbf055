"""The file of a durable log, opened to be looked at: never written, whether a daemon has it open or not.

The traps: SQLite wants to write beside a file in WAL mode even to read it, and leaves two files behind, so a file that
nobody has open is read as one that does not change; and of a file that is cut off it reads nothing at all, unless it is
told not to mind.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from comet.commands.arguments import reason
from comet.commands.log.scan import Scan
from comet.errors import BadSince
from comet.message import Position
from comet.store.schema import APPLICATION, VERSION

UNKNOWN = "00000000"
"""Stands for an epoch that nobody knows any more."""


class LogFile:
    """The file at ``path``. Raises SystemExit, with one line, if it cannot be looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._still = False
        self._scan: Scan | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """A connection that only reads, and sees what was committed. Raises sqlite3.DatabaseError if the beginning of
        the file is destroyed."""
        if self._connection is None:
            self._still = not self.is_written()
            try:
                self._connection = _opened(self.path, self._still)
            except sqlite3.DatabaseError:
                if not len(self.scan):
                    raise SystemExit(f"comet: {self.path} is no database, or nothing is left of it") from None
                raise
        return self._connection

    @property
    def scan(self) -> Scan:
        """What there is where SQLite finds nothing any more."""
        if self._scan is None:
            self._scan = Scan(self.path)
        return self._scan

    def is_written(self) -> bool:
        """Whether somebody has the file open to write it, or had, and did not close it."""
        return _size(self.path, "-wal") > 0

    def renew(self) -> bool:
        """Look anew if a daemon was started while the file was read as one that does not change; returns whether."""
        changed = self._still and self.is_written()
        if changed:
            self.close()
        return changed

    def fact(self, name: str) -> Any:
        """What the file says of itself, or None."""
        row = self.connection.execute(f"SELECT {name} FROM log").fetchone()
        return None if row is None else row[0]

    def offset(self, name: str) -> int:
        """An offset that the file says of itself; 0 if it does not, or cannot be read."""
        try:
            found = self.fact(name)
        except sqlite3.DatabaseError:
            return 0
        return found if isinstance(found, int) else 0

    def epoch(self) -> str:
        """The epoch of its positions; :data:`UNKNOWN` if that cannot be read."""
        try:
            found = str(self.fact("epoch"))
            Position.parse(f"{found}-0")
        except (sqlite3.DatabaseError, BadSince):
            return UNKNOWN
        return found

    def sizes(self) -> tuple[int, int]:
        """The bytes of the file, and those of what is written and not in it yet."""
        return _size(self.path), _size(self.path, "-wal")

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._scan is not None:
            self._scan.close()
            self._scan = None


def path_of(text: str) -> Path:
    """The path that ``text`` is, also where it is written as for ``--store``."""
    return Path(text.removeprefix("sqlite:"))


def _opened(path: Path, still: bool) -> sqlite3.Connection:
    _check(path)
    with ExitStack() as stack:
        try:
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{'immutable=1' if still else 'mode=ro'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            stack.callback(connection.close)
            connection.execute("PRAGMA writable_schema = ON")
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            raise SystemExit(f"comet: {why_not_read(path, error)}") from None
        wrong = _wrong(application, version)
        if wrong:
            raise SystemExit(f"comet: {path} {wrong}")
        stack.pop_all()
    return connection


def _check(path: Path) -> None:
    try:
        is_there, is_directory = path.exists(), path.is_dir()
    except OSError as error:
        raise SystemExit(f"comet: {path} cannot be read: {reason(error)}") from None
    if not is_there:
        raise SystemExit(f"comet: there is no file {path}; name the one that the daemon has after --store sqlite:")
    if is_directory:
        raise SystemExit(f"comet: {path} is a directory; name the file of a log")


def _wrong(application: int, version: int) -> str:
    """Why a file with this header is not for us; empty if it is."""
    if application != APPLICATION:
        return "is no log of Comet; name the file that the daemon has after --store sqlite:"
    if version > VERSION:
        return f"is of a newer version of Comet ({version}, this one knows {VERSION}); use that one"
    if version < VERSION:
        return f"is of an older version of Comet ({version}, this one knows {VERSION}); start a daemon on it once"
    return ""


def why_not_read(path: Path, error: sqlite3.Error) -> str:
    """Return, in one line, why nothing of ``path`` can be read."""
    text = str(error)
    if "unable to open" in text or "readonly" in text:
        return f"{path} cannot be read by this user; run the command as the daemon's user"
    return f"{path} cannot be read: {text}"


def _size(path: Path, ending: str = "") -> int:
    try:
        return Path(f"{path}{ending}").stat().st_size
    except OSError:
        return 0
