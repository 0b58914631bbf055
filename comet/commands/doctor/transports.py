"""What a client of each transport asks, and what it expects."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import NamedTuple

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Wanted(NamedTuple):
    """A row: the name in ``transport=``, the content type of the answer, further header fields, and whether a heartbeat
    comes on a quiet stream that has shown something."""

    name: str
    content_type: str
    fields: Mapping[str, str]
    beats: bool = True


TRANSPORTS = (
    Wanted("poll", "application/json", {"Accept": "application/json"}, beats=False),
    Wanted("stream", "application/x-ndjson", {"Accept": "application/x-ndjson"}),
    Wanted("sse", "text/event-stream", {"Accept": "text/event-stream", "Cache-Control": "no-cache"}),
    Wanted("iframe", "text/html", {"Accept": "text/html"}),
    Wanted("multipart", "multipart/x-mixed-replace", {"Accept": "image/*"}, beats=False),
    Wanted("mixed", "multipart/mixed", {"Accept": "multipart/mixed"}),
    Wanted("websocket", "", UPGRADE),
)

BY_NAME = {wanted.name: wanted for wanted in TRANSPORTS}


def websocket_key() -> str:
    """A key for the handshake (RFC 6455, section 4.1)."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def accepts(key: str, accept: str) -> bool:
    """Whether ``accept`` is the answer to ``key`` (section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return accept == base64.b64encode(digest).decode()


def masked_ping(payload: bytes) -> bytes:
    """A ping as a client sends it (sections 5.3 and 5.5.2)."""
    mask = secrets.token_bytes(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((0x89, 0x80 | len(payload))) + mask + masked
