"""The JSON object of a message, which every JSON framing shares::

    {"id":"5f0c1a2b-1042","topic":"auction/7","time":1790000000.123,"data":"sold"}

``data`` is the payload itself if it was published as JSON, a string if it is UTF-8 text; otherwise the member is
``data64``, the payload in base64 (RFC 4648, section 4). An object is always one line: newlines may separate objects.

The trap: the line breaks of a pretty-printed JSON payload. They can only be white space there (RFC 8259, section 7
allows no raw control character in a string), so a space says the same. This is the hot path: about half a microsecond
a message.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

import msgspec

from comet.drafts import is_json
from comet.message import Message, Page

encode = msgspec.json.Encoder().encode

_LINE_BREAKS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")


def message_objects(page: Page) -> list[bytes]:
    """The JSON object of each message of ``page``, each one line without its end."""
    epoch = page.position.epoch.encode()
    return [message_object(epoch, message) for message in page.messages]


def message_object(epoch: bytes, message: Message) -> bytes:
    """The JSON object of ``message``, whose log has ``epoch``; one line without its end."""
    member, value = b"data", message.payload
    if message.content_type and is_json(message.content_type):
        value = value.translate(_LINE_BREAKS_TO_SPACES)
    else:
        try:
            value = encode(value.decode())
        except UnicodeDecodeError:
            member, value = b"data64", b'"%b"' % b64encode(value)
    return b'{"id":"%b-%d","topic":%b,"time":%b,"%b":%b}' % (
        epoch,
        message.offset,
        encode(message.topic),
        _written(message.time),
        member,
        value,
    )


@lru_cache(maxsize=64)
def _written(time: float) -> bytes:
    """``time`` with three decimals; the messages of a batch share theirs."""
    return b"%.3f" % time
