"""``comet log import``: lines of JSON into a file that no daemon has.

The messages get the next positions of the file, or keep theirs in one that is empty. The trap is a position that comes
to mean another message, or one that is silently no more: so positions are kept only together with their epoch, what is
before the first of them counts as lost, and a hole among them is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from comet.commands.log.objects import Given, Missing, read
from comet.commands.log.taking import Refused, taken
from comet.errors import CometError
from comet.message import Message, Position
from comet.store.disk import Disk, Group

BATCH_MESSAGES = 4_096
BATCH_BYTES = 256 * 1024
"""What is kept in one transaction: a block, as the daemon makes them."""

CHECKPOINT_PAGES = 4_096
"""About how many pages are written between two checkpoints."""


class Import:
    """Puts lines into the file at ``path``; ``show`` gets how many. ``first`` and ``last`` are the positions that were
    given, ``oldest`` is the time of the oldest message."""

    def __init__(self, path: Path, show: Callable[[int], object]) -> None:
        self._path = path
        self._show = show
        self.count = 0
        self.first: Position | None = None
        self.last: Position | None = None
        self.oldest = 0.0

    def run(self, lines: Iterable[bytes], *, keep_ids: bool) -> None:
        """Import ``lines``. Raises :exc:`Refused`; what was counted until then is in the file."""
        given = _parsed(lines)
        if keep_ids:
            given = self._adopt(given)
        with taken(self._path) as disk:
            place = _kept_places(disk.epoch) if keep_ids else _next_places(disk.last)
            for batch in _batches(_placed(given, place)):
                self._keep(disk, batch)

    def _adopt(self, given: Iterator[Given | Missing]) -> Iterator[Given | Missing]:
        """Make the file one that has the epoch of the first message, and has lost everything before it."""
        lost = 0
        for each in given:
            if isinstance(each, Missing):
                lost = each.until.offset
                continue
            first = _position(each)
            before = max(lost, first.offset - 1)
            with taken(self._path) as disk:
                if disk.last or disk.trimmed:
                    raise Refused(f"{self._path} has had messages; leave out --keep-ids, or name a new file")
                disk.connection.execute(
                    "UPDATE log SET epoch = ?, last = ?, placed = ?, trimmed = ?",
                    (first.epoch, before, before, before),
                )
            return chain([each], given)
        return iter(())

    def _keep(self, disk: Disk, batch: list[Message]) -> None:
        disk.write(Group(batch))
        if disk.unchecked > CHECKPOINT_PAGES:
            disk.unchecked = 0
            disk.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.count += len(batch)
        oldest = min(message.time for message in batch)
        self.oldest = min(self.oldest, oldest) if self.first else oldest
        self.first = self.first or Position(disk.epoch, batch[0].offset)
        self.last = Position(disk.epoch, batch[-1].offset)
        self._show(self.count)


def _parsed(lines: Iterable[bytes]) -> Iterator[Given | Missing]:
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            each = read(line)
        except CometError as error:
            raise Refused(f"line {number}: {error.detail}") from None
        if each is not None:
            yield each


Place = Callable[[Given | Missing], int]


def _placed(given: Iterable[Given | Missing], place: Place) -> Iterator[Message]:
    now = time.time()
    for each in given:
        offset = place(each)
        if isinstance(each, Given):
            draft, published = each.draft, now if each.time is None else each.time
            yield Message(draft.topic, draft.payload, draft.content_type, published, offset)


def _next_places(last: int) -> Place:
    """Return what gives each message the next offset after ``last``."""

    def place(each: Given | Missing) -> int:
        nonlocal last
        last += isinstance(each, Given)
        return last

    return place


def _kept_places(epoch: str) -> Place:
    """Return what gives each message the offset that it had."""
    last = 0

    def place(each: Given | Missing) -> int:
        nonlocal last
        if isinstance(each, Missing):
            raise Refused(
                f"messages up to {each.until} are missing, of which nobody would be told; leave out --keep-ids, or "
                f"export again with --since {each.until}"
            )
        position = _position(each)
        if position.epoch != epoch:
            raise Refused(f"{position} is of another epoch than the first message ({epoch}); leave out --keep-ids")
        if position.offset <= last:
            raise Refused(f"{position} does not come after {epoch}-{last}; leave out --keep-ids")
        last = position.offset
        return last

    return place


def _position(given: Given) -> Position:
    if given.position is None:
        raise Refused("a message has no id to keep; leave out --keep-ids")
    return given.position


def _batches(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Yield ``messages`` in lists of bounded size; one that is refused does not take those before it along."""
    batch: list[Message] = []
    size = 0
    try:
        for message in messages:
            batch.append(message)
            size += len(message.payload)
            if len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except Refused:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
