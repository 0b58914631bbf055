"""What outlives a daemon: what a store gives back at its start, and what a predecessor leaves to its successor.

Values only. The keeping is the affair of the stores and of ``handover``, the use of ``log``, ``keys`` and ``records``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from comet.message import Message


class Past(Struct, frozen=True):
    """What another log must know, beside the messages, to go on where this one stands: its ``epoch``, the offset of
    its newest message and that of the next, the ``time`` of the newest, and what was lost: by topic that has messages
    (``losses``), and of all other topics (``forgotten``)."""

    epoch: str
    end: int
    next_offset: int
    time: float
    forgotten: int
    losses: dict[str, int]


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """That the idempotency ``key`` got ``offset`` in ``topic``, at ``time`` (seconds since 1970)."""

    topic: str
    key: str
    offset: int
    time: float


class Record(Struct, frozen=True, gc=False, array_like=True):
    """Something small that must survive beside the messages, such as a consumer: its ``body`` is whatever the owner of
    that ``kind`` makes of it."""

    kind: str
    name: str
    body: bytes


class Kept(Struct, frozen=True):
    """What a store had kept, or what a predecessor leaves.

    ``messages`` are by rising offset. Those of a store are the newest: of what is older nothing is in memory, so that
    ``past.forgotten`` is the offset before the first of them, and ``past.losses`` says nothing.
    """

    past: Past
    messages: Sequence[Message] = ()
    keys: Sequence[Entry] = ()
    records: Sequence[Record] = ()


class Piece(Struct, frozen=True):
    """A part of what a store keeps on disk. ``messages`` are complete up to ``reached``; everything up to ``trimmed``
    may be gone from the disk, as of this very read."""

    messages: list[Message]
    reached: int
    trimmed: int
