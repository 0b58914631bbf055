"""Transport ``mixed``: payloads as they are, for programs that want bytes (RFC 2046, section 5.1.3)::

    --boundary                              --boundary
    Content-Type: image/jpeg                Content-Length: 0
    Content-Length: 5120                    Comet-Control: {"comet":"beat","position":"5f0c1a2b-1042"}
    Comet-Id: 5f0c1a2b-1042
    Comet-Topic: camera/7

    …

Lines end in CRLF, and a CRLF follows each payload. Control is an empty part. Topics are percent-encoded UTF-8. After
``bye`` comes the closing delimiter. The trap: a payload may hold anything, even the boundary if its publisher has seen
it. Take ``Content-Length`` bytes; never search for the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comet.control import Bye, Control, Open, gap_json
from comet.framing.parts import control_line, topic_line, type_of
from comet.message import Message, Page


@dataclass(frozen=True, slots=True)
class Mixed:
    """Parts with a length, between delimiters of ``boundary``."""

    boundary: str

    repeats: ClassVar[bool] = False

    @property
    def content_type(self) -> str:
        """``multipart/mixed``, with the boundary."""
        return f"multipart/mixed; boundary={self.boundary}"

    def open(self, opening: Open) -> bytes:
        """The part of ``opening``."""
        return self._control_part(opening.json())

    def page(self, page: Page) -> bytes:
        """The part of the gap, if there is one, and a part a message."""
        parts = [self._message_part(page.position.epoch, message) for message in page.messages]
        if page.gap is not None:
            parts.insert(0, self._control_part(gap_json(page.gap)))
        return b"".join(parts)

    def control(self, control: Control) -> bytes:
        """The part of ``control``; nothing may follow ``bye``."""
        part = self._control_part(control.json())
        if isinstance(control, Bye):
            part += b"--%b--\r\n" % self.boundary.encode()
        return part

    def after(self, _page: Page) -> Mixed:
        """Itself: a part stands alone."""
        return self

    def _message_part(self, epoch: str, message: Message) -> bytes:
        return b"--%b\r\nContent-Type: %b\r\nContent-Length: %d\r\nComet-Id: %b-%d\r\n%b\r\n%b\r\n" % (
            self.boundary.encode(),
            type_of(message).encode(),
            len(message.payload),
            epoch.encode(),
            message.offset,
            topic_line(message.topic),
            message.payload,
        )

    def _control_part(self, control: bytes) -> bytes:
        return b"--%b\r\nContent-Length: 0\r\n%b\r\n\r\n" % (self.boundary.encode(), control_line(control))
