"""Transport ``websocket``: each JSON object of ``stream`` as one text message (RFC 6455, section 5.2)::

    0x81  length                          object     up to 125 bytes
    0x81  0x7e  length in 2 bytes         object     up to 65535 bytes
    0x81  0x7f  length in 8 bytes         object     more

0x81 is FIN and opcode 1, text. A server does not mask (section 5.1), so a frame is the same for every client and is
made once for all of them. A frame must be UTF-8 (section 5.6): JSON is.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import ClassVar

from comet.control import Control, Open, gap_json
from comet.framing.objects import message_objects
from comet.message import Page


def text_frame(payload: bytes) -> bytes:
    """Return ``payload``, which is UTF-8, as one unmasked text message."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 1 << 16:
        return pack("!BBH", 0x81, 126, length) + payload
    return pack("!BBQ", 0x81, 127, length) + payload


@dataclass(frozen=True, slots=True)
class Text:
    """WebSocket text messages; a page is their concatenation."""

    # The response is a handshake and has no body.
    content_type: ClassVar[str] = ""
    repeats: ClassVar[bool] = False

    def open(self, opening: Open) -> bytes:
        """The frame of ``opening``."""
        return text_frame(opening.json())

    def page(self, page: Page) -> bytes:
        """The frame of the gap, if there is one, and a frame a message."""
        frames = [text_frame(message) for message in message_objects(page)]
        if page.gap is not None:
            frames.insert(0, text_frame(gap_json(page.gap)))
        return b"".join(frames)

    def control(self, control: Control) -> bytes:
        """The frame of ``control``."""
        return text_frame(control.json())

    def after(self, _page: Page) -> Text:
        """Itself: a frame stands alone."""
        return self
