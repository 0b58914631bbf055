"""Transport ``sse``: Server-Sent Events, for ``EventSource`` (HTML Standard, section 9.2.5)::

    event: comet
    id: 5f0c1a2b-1041
    retry: 2000
    data: {"comet":"open","stream":"c0ffee","position":"5f0c1a2b-1041","silence":25.0}

    id: 5f0c1a2b-1042
    data: {"id":"5f0c1a2b-1042","topic":"auction/7","time":1790000000.123,"data":"sold"}

Every block ends in an empty line. Control is an event ``comet`` (never ``open`` or ``error``, which EventSource fires
itself) and carries as ``id`` the position to resume from, if it has one: a gap has none, because retained messages may
stand in it. A heartbeat has no data: browsers dispatch nothing, yet remember the id. With the format ``raw`` the data
is the payload alone, one ``data`` line per line; a payload that is not UTF-8, which this format cannot carry, comes in
base64 as an event ``data64``.

The traps: a payload that forges a field, since a lone CR ends a line as well as LF and CRLF do (a raw payload reads
back with LF for each); and a block of ``retry`` alone, which some clients take for an empty message.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from comet.control import Beat, Bye, Control, Open, gap_json
from comet.framing.objects import message_object
from comet.message import Message, Page, Position

_LINE_END = re.compile(rb"\r\n|\r|\n")


def json_block(epoch: bytes, message: Message) -> bytes:
    """``message`` as a block whose data is its JSON object."""
    return b"id: %b-%d\ndata: %b\n\n" % (epoch, message.offset, message_object(epoch, message))


def raw_block(epoch: bytes, message: Message) -> bytes:
    """``message`` as a block whose data is its payload."""
    payload = message.payload
    try:
        payload.decode()
    except UnicodeDecodeError:
        return b"event: data64\nid: %b-%d\ndata: %b\n\n" % (epoch, message.offset, b64encode(payload))
    if b"\n" in payload or b"\r" in payload:
        payload = b"\ndata: ".join(_LINE_END.split(payload))
    return b"id: %b-%d\ndata: %b\n\n" % (epoch, message.offset, payload)


FORMATS: Mapping[str, Callable[[bytes, Message], bytes]] = MappingProxyType({"json": json_block, "raw": raw_block})
"""What ``format`` may be, and how it makes a block of a message and its epoch."""


@dataclass(frozen=True, slots=True)
class Sse:
    """Blocks whose data is made by ``format``, a key of :data:`FORMATS`.

    ``retry`` is how many milliseconds a browser waits before it reconnects; ``padding`` is the length of a comment in
    front.
    """

    format: str = "json"
    retry: int = 2000
    padding: int = 0
    # A charset is allowed but "serves no purpose" (section 9.2.8); the shortest form is the one that all clients know.
    content_type: ClassVar[str] = "text/event-stream"
    repeats: ClassVar[bool] = False

    def open(self, opening: Open) -> bytes:
        """The padding and the block of ``opening``, which sets the time to reconnect; no id without a position."""
        padding = b":%b\n" % (b" " * self.padding) if self.padding else b""
        retry = b"retry: %d\n" % self.retry
        return padding + _control_block(opening.position, retry, opening.json())

    def page(self, page: Page) -> bytes:
        """The block of the gap, if there is one, and a block a message."""
        epoch = page.position.epoch.encode()
        block = FORMATS[self.format]
        if page.gap is None and len(page.messages) == 1:  # what a flush of a quiet topic is
            return block(epoch, page.messages[0])
        blocks = [block(epoch, message) for message in page.messages]
        if page.gap is not None:
            # No id: retained messages up to ``until`` may follow, and a client cut off here must not skip them.
            blocks.insert(0, _control_block(None, b"", gap_json(page.gap)))
        return b"".join(blocks)

    def control(self, control: Control) -> bytes:
        """The block of ``control``; a heartbeat is an id without data, and ``bye`` sets the time to reconnect."""
        if isinstance(control, Beat):
            return b"event: comet\nid: %b\n\n" % str(control.position).encode()
        retry = b"retry: %d\n" % control.retry if isinstance(control, Bye) else b""
        return _control_block(control.position, retry, control.json())

    def after(self, _page: Page) -> Sse:
        """Itself: a block stands alone."""
        return self


def _control_block(position: Position | None, retry: bytes, data: bytes) -> bytes:
    identity = b"" if position is None else b"id: %b\n" % str(position).encode()
    return b"event: comet\n%b%bdata: %b\n\n" % (identity, retry, data)
