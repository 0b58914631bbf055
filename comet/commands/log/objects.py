"""A message as a line of an export, and back. The line is that of the transport ``stream`` with the content type::

    {"id":"5f0c1a2b-1042","topic":"auction/7","time":1790000000.123,"type":"application/json","data":{"bid":120}}

``type`` is left out if there is none. What a line says is read by its type: with one that is JSON, ``data`` is the
payload itself; otherwise a string is that text. So what programs hand in to ``POST /topics`` is understood, too.
"""

from __future__ import annotations

import binascii
import math
import sys
from base64 import b64decode
from typing import NamedTuple

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from comet.drafts import JSON, draft, is_json
from comet.errors import BadRequest
from comet.framing.objects import encode, message_object
from comet.message import Draft, Message, Position


class _Line(Struct, forbid_unknown_fields=True):
    """A message."""

    topic: str
    id: str = ""
    time: float | None = None
    type: str = ""
    data: Raw | UnsetType = UNSET
    data64: str | UnsetType = UNSET


class _Control(Struct):
    """What a line is that is no message: what the daemon says between them."""

    comet: str
    until: str = ""


class Given(NamedTuple):
    """What a line says: a message, with its position and its time if it has them."""

    draft: Draft
    position: Position | None
    time: float | None


class Missing(NamedTuple):
    """That messages up to ``until`` are missing."""

    until: Position


_line = Decoder(_Line).decode
_control = Decoder(_Control).decode
_text = Decoder(str).decode


def written(epoch: bytes, message: Message) -> bytes:
    """Return the line of ``message``, with its end."""
    line = message_object(epoch, message)
    if message.content_type:
        # The object begins with the id, which has no quotes in it, then comes the topic.
        head, mark, rest = line.partition(b',"data')
        line = b'%b,"type":%b%b%b' % (head, encode(message.content_type), mark, rest)
    return line + b"\n"


def read(line: bytes) -> Given | Missing | None:
    """Return what ``line`` says; None for what is neither a message nor a gap. Raises
    :exc:`~comet.errors.CometError`."""
    try:
        found = _line(line)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _gap(line, error)
    if found.time is not None and not 0 <= found.time < math.inf:
        raise BadRequest(f"time={found.time} is no time: write seconds since 1970")
    position = Position.parse(found.id) if found.id else None
    payload, content_type = _payload(found)
    return Given(draft(found.topic, payload, content_type, largest=sys.maxsize), position, found.time)


def _gap(line: bytes, error: Exception) -> Missing | None:
    try:
        found = _control(line)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(f"it is no message: {error}") from None
    return Missing(Position.parse(found.until)) if found.comet == "gap" else None


def _payload(line: _Line) -> tuple[bytes, str]:
    """The payload, and its type."""
    if (line.data is UNSET) is (line.data64 is UNSET):
        raise BadRequest("a message has either the member data or the member data64")
    if not isinstance(line.data64, UnsetType):
        try:
            return b64decode(line.data64.encode(), validate=True), line.type
        except (binascii.Error, UnicodeEncodeError):
            raise BadRequest("the member data64 is not base64 (with padding)") from None
    raw = bytes(line.data)  # type: ignore[arg-type]
    if is_json(line.type.lower()):
        return raw, line.type
    if raw[:1] == b'"':
        return _text(raw).encode(), line.type
    return raw, line.type or JSON
