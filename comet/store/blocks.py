"""Blocks: many messages as one value, which SQLite takes and gives back in one step.

The trap that made them: Python's ``sqlite3`` lets go of the interpreter's lock for each row that it steps to, and
beside a busy reactor waits up to five milliseconds to get it back. A row for a message would cost that each time.

A body is a MessagePack list of *runs*, each a list of messages. What was just committed is one run, of whichever
topics. A block that is to stay has a run for each topic, so that who wants one topic decodes that run alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct as Layout
from struct import error as LayoutError
from typing import NamedTuple
from zlib import crc32

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from comet.errors import StoreFailed
from comet.message import Message

MOST_MESSAGES = 8_192
MOST_BYTES = 512 * 1024
"""How large a block is at most, unless a single message is larger."""

ROW_BYTES = 40
"""About what a message takes in a block beside its payload."""

_LIST = Layout("!BI")
_LIST_32 = 0xDD
_FACTS = Layout("!qqdq")

_encode = Encoder().encode
_decode_runs = Decoder(list[list[Message]]).decode
_decode_run = Decoder(list[Message]).decode


class Damaged(StoreFailed):
    """What is on disk is not what was written. The text says which messages it is."""


class Run(NamedTuple):
    """Where in a body the ``number`` messages of ``topic`` are."""

    topic: str
    number: int
    start: int
    size: int


class Block(Struct, frozen=True, gc=False):
    """All messages that are kept after the offset ``after`` up to ``last``, which is the last of them. ``time`` is that
    of the newest. Each block begins where the one before it ends, so that a missing one does not go unnoticed."""

    last: int
    after: int
    time: float
    count: int
    checksum: int
    body: bytes

    @property
    def first(self) -> int:
        """The first offset that is in it, if any message has that."""
        return self.after + 1

    def messages(self) -> list[Message]:
        """All that is in it, in order. Raises :exc:`Damaged`."""
        runs = self.runs()
        if len(runs) == 1:
            return runs[0]
        return in_order(runs)

    def runs(self) -> list[list[Message]]:
        """All that is in it, as it was laid down. Raises :exc:`Damaged`."""
        self.check()
        try:
            return _decode_runs(self.body)
        except DecodeError:
            raise self.damage() from None

    def run(self, start: int, size: int) -> list[Message]:
        """A single run of a block that was checked. Raises :exc:`Damaged`."""
        try:
            run = _decode_run(memoryview(self.body)[start : start + size])
        except DecodeError:
            raise self.damage() from None
        if not run:
            raise self.damage()
        return run

    def check(self) -> None:
        """Raise :exc:`Damaged` if it is not as it was written."""
        try:
            good = self.checksum == _checksum(self.last, self.after, self.time, self.count, self.body)
        except (LayoutError, TypeError):  # a value of another type is not what was written, either
            good = False
        if not good:
            raise self.damage()

    def damage(self) -> Damaged:
        """What is to be raised of a block that is damaged."""
        return Damaged(f"the messages after {self.after} up to {self.last} are damaged")


COLUMNS = ", ".join(Block.__struct_fields__)


def loose(after: int, messages: Sequence[Message]) -> Block:
    """Return the block of what was just published."""
    return _block(after, messages, _encode((messages,)))


def by_topic(after: int, messages: Sequence[Message]) -> tuple[Block, list[Run]]:
    """Return the block of messages that are to stay, and where in it each topic is."""
    found: dict[str, list[Message]] = {}
    for message in messages:
        run = found.get(message.topic)
        if run is None:
            found[message.topic] = [message]
        else:
            run.append(message)
    body = bytearray(_LIST.pack(_LIST_32, len(found)))
    runs = []
    for topic, run in found.items():
        data = _encode(run)
        runs.append(Run(topic, len(run), len(body), len(data)))
        body += data
    return _block(after, messages, bytes(body)), runs


def cut(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield ``messages`` in pieces, none larger than a block may be."""
    piece: list[Message] = []
    size = 0
    for message in messages:
        added = len(message.payload) + ROW_BYTES
        if piece and (len(piece) == MOST_MESSAGES or size + added > MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(message)
        size += added
    if piece:
        yield piece


def in_order(runs: Iterable[Iterable[Message]]) -> list[Message]:
    """Return the messages of ``runs`` by rising offset."""
    messages = [message for run in runs for message in run]
    messages.sort(key=offset_of)
    return messages


def offset_of(message: Message) -> int:
    """Return the offset, to sort and to search by."""
    return message.offset


def _block(after: int, messages: Sequence[Message], body: bytes) -> Block:
    newest = messages[-1]
    facts = newest.offset, after, newest.time, len(messages)
    return Block(*facts, _checksum(*facts, body), body)


def _checksum(last: int, after: int, time: float, count: int, body: bytes) -> int:
    return crc32(body, crc32(_FACTS.pack(last, after, time, count)))
