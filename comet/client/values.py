"""What comes out of a subscription, and what a program's data is as bytes."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from comet.drafts import JSON

_encode = msgspec.json.Encoder().encode


class Message(Struct, frozen=True):
    """A message that has come.

    ``data`` is the JSON value if it was published as JSON, a string if it is text, and bytes otherwise. ``id`` is its
    position, and ``time`` when it was published, in seconds since 1970.
    """

    topic: str
    data: Any
    id: str
    time: float

    @property
    def content(self) -> bytes:
        """The payload as bytes: of a JSON value one spelling of it, of anything else what was published."""
        return payload_of(self.data)[0]


class Gap(Struct, frozen=True):
    """Messages after the position ``since``, up to and including ``until``, may be missing: they are retained no
    longer, or the daemon was started anew and has forgotten them."""

    since: str
    until: str


class State(Enum):
    """Where a subscription stands with its daemon."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    """The connection is lost or was refused; it is tried again after a pause."""
    CLOSED = "closed"


def payload_of(data: Any) -> tuple[bytes, str]:
    """The bytes that ``data`` is published as, and the content type that they have of themselves, or none."""
    if isinstance(data, str):
        return data.encode(), ""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), ""
    return _encode(data), JSON
