"""What the two multipart framings share: the type of a part, and what is safe in its header (RFC 2046, section 5.1).

The boundary is a parameter of each, drawn at random by the caller once per process (32 hexadecimal digits will do), so
that no payload can hold it by chance. A header line is printable ASCII, so that nothing can forge a second one.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from urllib.parse import quote

from comet.message import Message

_PRINTABLE = re.compile(rb"[ -~]*")


def type_of(message: Message) -> str:
    """The content type of the part of ``message``: its own, else text if the payload is UTF-8, else bytes."""
    if message.content_type:
        return message.content_type
    try:
        message.payload.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


def control_line(control: bytes) -> bytes:
    """The header line of a control object, given as JSON."""
    if _PRINTABLE.fullmatch(control) is None:
        # Only the patterns of a ``topics`` control can hold more than ASCII: \u escapes say the same.
        control = json.dumps(json.loads(control), separators=(",", ":")).encode()
    return b"Comet-Control: %b\r\n" % control


@lru_cache(maxsize=4096)
def topic_line(topic: str) -> bytes:
    """The header line of ``topic``: all but letters, digits and ``_.-~/`` percent-encoded (RFC 3986, section 2.1)."""
    return b"Comet-Topic: %b\r\n" % quote(topic).encode()
