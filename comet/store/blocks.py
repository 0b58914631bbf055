"""Blocks: many messages as one value, which SQLite stores and gives back in one step.

The trap: Python's ``sqlite3`` lets go of the interpreter's lock for each row that it steps to, and beside a busy
reactor has to wait up to five milliseconds to get it back. So nothing here is a row for a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from zlib import crc32

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from comet.errors import StoreFailed
from comet.message import Message

_encode = Encoder().encode
_decode = Decoder(list[Message]).decode


class Block(Struct, frozen=True, gc=False):
    """A row of the table ``blocks``. ``time`` is that of the newest message; ``last`` may be beyond it."""

    first: int
    last: int
    time: float
    count: int
    size: int
    checksum: int
    body: bytes

    @classmethod
    def of(cls, first: int, last: int, time: float, messages: Sequence[Message]) -> Block:
        """Return the block of ``messages``, which are all that is kept from ``first`` up to ``last``."""
        body = _encode(messages)
        return cls(first, last, time, len(messages), len(body), crc32(body), body)

    def messages(self) -> list[Message]:
        """What is in it. Raises :exc:`~comet.errors.StoreFailed` if it is damaged."""
        try:
            if crc32(self.body) == self.checksum:
                found: list[Message] = _decode(self.body)
                return found
        except DecodeError:
            pass
        raise StoreFailed(
            f"the messages {self.first} to {self.last} are damaged; 'comet log verify' says what else is, and "
            "'comet log export' saves the rest"
        )

    def row(self) -> tuple[object, ...]:
        """The values of its row."""
        return (self.first, self.last, self.time, self.count, self.size, self.checksum, self.body)


def counts(messages: Sequence[Message]) -> dict[str, int]:
    """How many of ``messages`` each topic has."""
    return Counter(message.topic for message in messages)
