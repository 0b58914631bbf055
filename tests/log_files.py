"""Files of durable logs, made without a daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from comet.kept import Entry
from comet.message import Message
from comet.store.disk import Disk, Group
from comet.store.opening import open_disk
from comet.store.schema import connect

BEGUN = 1_790_000_000.0
"""When the first message of a file was published; each further one a second later."""


def messages(count: int, *, topics: Sequence[str] = ("a", "b/1"), first: int = 1, size: int = 0) -> list[Message]:
    """So many messages, on the topics in turn."""
    return [
        Message(topics[offset % len(topics)], b"%d%b" % (offset, b"." * size), "", BEGUN + offset, offset)
        for offset in range(first, first + count)
    ]


def opened(path: Path) -> Disk:
    """The file at ``path``, as a daemon has it."""
    disk = Disk(path, "commit")
    open_disk(disk, 0, 0.0, succeeding=False)
    return disk


def fill(
    path: Path, groups: Iterable[Sequence[Message]], records: Mapping[tuple[str, str], bytes | None] | None = None
) -> str:
    """Append each of ``groups`` in a transaction of its own, some with keys, and close the file; returns its epoch."""
    disk = opened(path)
    for number, group in enumerate(groups):
        first = group[0]
        disk.write(Group(list(group), [Entry(first.topic, f"key {number}", first.offset, first.time)] * (number % 2)))
    if records:
        disk.write(Group(records=dict(records)))
    disk.close()
    return disk.epoch


def change(path: Path, statement: str, *values: object) -> None:
    """Have something else in the file, as if it were damaged."""
    with closing(connect(path)) as connection:
        assert connection.execute(statement, values).rowcount > 0
