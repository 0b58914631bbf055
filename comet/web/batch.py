"""Messages that come as JSON objects: the body of ``POST /topics``, and what a WebSocket client publishes::

    {"topic":"auction/7","data":{"bid":120}}
    {"topic":"log/web","data":"started"}
    {"topic":"camera/7","data64":"/9j/4AAQ…","type":"image/jpeg","key":"frame-1042"}

A batch is such objects one a line (NDJSON) or in one JSON array. ``data`` that is a string is published as that text,
any other JSON value as it stands, with the type ``application/json``; ``data64`` is bytes in base64 (RFC 4648, section
4). All or nothing: one message that is refused refuses the batch, and the detail says which one it is. The trap: a
misspelt member that is ignored loses its meaning silently, so what is not known is refused.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from comet.drafts import JSON, draft
from comet.errors import BadJSON, BadRequest, CometError, shown
from comet.message import Draft

MOST = 10_000
"""Messages that one batch may hold: publishing them takes about 50 ms, in which nobody else is served."""

T = TypeVar("T")


class Content(Struct, forbid_unknown_fields=True, kw_only=True):
    """The members of a message that say what is published."""

    data: Raw | UnsetType = UNSET
    data64: str | UnsetType = UNSET
    type: str = ""
    key: str | UnsetType = UNSET


class Entry(Content, kw_only=True):
    """A message of a batch."""

    topic: str


_text = Decoder(str)
_entry = Decoder(Entry)
_entries = Decoder(list[Entry])


def read_batch(body: bytes, content_type: str, largest: int) -> list[Draft]:  # noqa: ARG001
    """Return the messages that ``body`` holds, none with a payload above ``largest`` bytes.

    Its first byte says whether it is an array; clients disagree about the type of NDJSON, and many send none. Raises a
    :exc:`~comet.errors.CometError` whose detail says where: ``line 1`` is the first line, ``$[0]`` the first element.
    """
    if body[:256].lstrip(b" \t\r\n")[:1] == b"[":
        return _drafts(_elements(body), largest)
    return _drafts(_lines(body), largest)


def draft_of(topic: str, content: Content, largest: int) -> Draft:
    """Return what ``content`` publishes on ``topic``, or raise what :func:`comet.drafts.draft` raises,
    :exc:`~comet.errors.BadJSON` or :exc:`~comet.errors.BadRequest`."""
    payload, content_type = _payload(content)
    key = "" if isinstance(content.key, UnsetType) else content.key
    if content.key == "":
        raise BadRequest("the member key is empty")
    return draft(topic, payload, content.type or content_type, key, largest=largest)


def decode(decoder: Decoder[T], data: Any) -> T:
    """Return the value that ``data`` is, or raise :exc:`~comet.errors.BadJSON` with what is wrong with it."""
    try:
        return decoder.decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = str(error)
        raise BadJSON(text if len(text) <= 200 else f"{text[:200]}…") from None


def _elements(body: bytes) -> Iterator[tuple[str, Entry]]:
    entries = decode(_entries, body)
    if len(entries) > MOST:
        raise BadRequest(f"the body holds {len(entries)} messages; at most {MOST} are allowed")
    return ((f"$[{index}]", entry) for index, entry in enumerate(entries))


def _lines(body: bytes) -> Iterator[tuple[str, Entry]]:
    if body.count(b"\n") > MOST:
        raise BadRequest(f"the body has more than {MOST} lines; at most {MOST} messages are allowed")
    for number, line in enumerate(body.split(b"\n"), 1):
        if line and not line.isspace():
            try:
                yield f"line {number}", decode(_entry, line)
            except BadJSON as error:
                raise BadJSON(f"line {number}: {error.detail}") from None


def _drafts(entries: Iterable[tuple[str, Entry]], largest: int) -> list[Draft]:
    drafts: list[Draft] = []
    for where, entry in entries:
        try:
            drafts.append(draft_of(entry.topic, entry, largest))
        except CometError as error:
            raise type(error)(f"{where}: {error.detail}") from None
    if not drafts:
        raise BadRequest("the body holds no message; it is one JSON object a line, or a JSON array of them")
    return drafts


def _payload(content: Content) -> tuple[bytes, str]:
    """The payload of ``content``, and the type that it has of itself."""
    data, data64 = content.data, content.data64
    if (data is UNSET) is (data64 is UNSET):
        raise BadRequest("a message has either the member data or the member data64")
    if not isinstance(data64, UnsetType):
        try:
            return b64decode(data64.encode(), validate=True), ""
        except (binascii.Error, UnicodeEncodeError):
            raise BadRequest(f"data64={shown(data64)} is not base64 (with padding)") from None
    raw = bytes(data)  # type: ignore[arg-type]
    if raw[:1] == b'"':
        return decode(_text, raw).encode(), ""
    return raw, JSON
