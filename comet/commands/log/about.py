"""``comet log info``: what is in a file, without going through all of it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field
from msgspec.msgpack import Decoder

from comet.commands.amounts import aligned, size
from comet.commands.log.file import LogFile
from comet.commands.log.verdict import counted
from comet.message import Message
from comet.store.blocks import COLUMNS, Block


class End(Struct):
    """The oldest message, or the newest."""

    id: str
    time: float

    def line(self) -> str:
        """It in words."""
        return f"{self.id}, published {datetime.fromtimestamp(self.time):%Y-%m-%d %H:%M:%S}"


class Consumer(Struct):
    """A consumer, and up to where it has acknowledged what."""

    name: str
    topics: list[str]
    acked: str
    behind: int
    """How many offsets it is behind; not all of them are its messages."""
    owner: str = ""

    def line(self) -> str:
        """It in words."""
        owner = f" ({self.owner})" if self.owner else ""
        return (
            f"{self.name}{owner} has acknowledged {', '.join(self.topics)} up to {self.acked}, {self.behind:,} behind"
        )


class About(Struct, kw_only=True):
    """What there is to say of a file."""

    file: str
    epoch: str
    durability: str
    open: bool
    """Whether a daemon has it open, or had, and did not close it."""
    messages: int
    topics: int
    bytes: int
    file_bytes: int
    wal_bytes: int
    oldest: End | None = None
    newest: End | None = None
    trimmed: str | None = None
    consumers: list[Consumer] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """It in words."""
        wal = f", and {size(self.wal_bytes)} beside it (-wal)" if self.wal_bytes else ""
        rows = [
            ("file", f"{self.file}, {size(self.file_bytes)}{wal}"),
            ("epoch", self.epoch),
            ("messages", f"{self.messages:,} of {counted(self.topics, 'topic')}, {size(self.bytes)}"),
            *((name, end.line()) for name, end in (("oldest", self.oldest), ("newest", self.newest)) if end),
            *([("trimmed", f"up to {self.trimmed}")] if self.trimmed else []),
            ("durability", self.durability),
            ("state", "open, or was not closed" if self.open else "closed"),
            *(("consumer", each.line()) for each in self.consumers),
            *(("hook", each) for each in self.hooks),
        ]
        return aligned(rows, 2)


class _Kept(Struct, array_like=True):
    """What is kept of a consumer (``comet.consumer.Kept``, which the reactor comes with)."""

    patterns: list[str]
    epoch: str
    acked: int
    created: float
    owner: str = ""


_decode = Decoder(_Kept).decode


def about(file: LogFile) -> About:
    """Return what there is to say of ``file``. Raises :exc:`sqlite3.DatabaseError`, and
    :exc:`~comet.errors.StoreFailed`, if it is damaged."""
    connection = file.connection
    connection.execute("BEGIN")
    try:
        return _about(file)
    finally:
        connection.execute("ROLLBACK")


def _about(file: LogFile) -> About:
    connection, epoch, trimmed = file.connection, file.epoch(), file.offset("trimmed")
    messages, size_, end = connection.execute(
        "SELECT coalesce(sum(count), 0), coalesce(sum(length(body)), 0), coalesce(max(last), 0) FROM blocks"
    ).fetchone()
    oldest, newest = _block(file, "ASC"), _block(file, "DESC")
    file_bytes, wal_bytes = file.sizes()
    records = connection.execute("SELECT kind, name, body FROM records ORDER BY kind, name").fetchall()
    return About(
        file=str(file.path),
        epoch=epoch,
        durability=str(file.fact("durability")),
        open=not file.fact("clean"),
        messages=messages,
        topics=_topics(file),
        bytes=size_,
        file_bytes=file_bytes,
        wal_bytes=wal_bytes,
        oldest=_end(epoch, oldest[0]) if oldest else None,
        newest=_end(epoch, newest[-1]) if newest else None,
        trimmed=f"{epoch}-{trimmed}" if trimmed else None,
        consumers=[_consumer(name, body, epoch, end) for kind, name, body in records if kind == "consumer"],
        hooks=[name for kind, name, _ in records if kind == "hook"],
    )


def _block(file: LogFile, order: str) -> list[Message]:
    row = file.connection.execute(f"SELECT {COLUMNS} FROM blocks ORDER BY last {order} LIMIT 1").fetchone()
    return Block(*row).messages() if row else []


def _topics(file: LogFile) -> int:
    """How many topics there are: those that are listed, and those that are only in what was written last."""
    connection, placed = file.connection, file.offset("placed")
    tail = connection.execute(f"SELECT {COLUMNS} FROM blocks WHERE last > ?", (placed,)).fetchall()
    new = {message.topic for row in tail for message in Block(*row).messages()}
    listed: int = connection.execute("SELECT count(*) FROM topics").fetchone()[0]
    is_listed = "SELECT 1 FROM topics WHERE name = ?"
    return listed + sum(connection.execute(is_listed, (topic,)).fetchone() is None for topic in new)


def _end(epoch: str, message: Message) -> End:
    return End(f"{epoch}-{message.offset}", message.time)


def _consumer(name: str, body: bytes, epoch: str, end: int) -> Consumer:
    kept = _decode(body)
    behind = end - kept.acked if kept.epoch == epoch else end
    return Consumer(name, kept.patterns, f"{kept.epoch}-{kept.acked}", behind, kept.owner)
