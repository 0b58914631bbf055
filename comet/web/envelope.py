"""What goes around a framing's bytes on HTTP: the heads of held responses."""

from __future__ import annotations

from dataclasses import dataclass

from comet.control import Control, Open
from comet.interfaces import Framing
from comet.message import Page

_HELD = (
    b"Cache-Control: no-store, no-transform\r\n"
    b"X-Accel-Buffering: no\r\n"  # nginx collects a response otherwise
    b"X-Content-Type-Options: nosniff\r\n"
)


def stream_head(content_type: str, further: bytes) -> bytes:
    """The head of a stream, whose body ends with the connection: one block then serves HTTP/1.0 and HTTP/1.1.

    ``further`` are whole header lines.
    """
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b%bConnection: close\r\n\r\n" % (
        content_type.encode(),
        _HELD,
        further,
    )


@dataclass(frozen=True, slots=True)
class Enveloped:
    """A one-shot framing with the head of its response in front: all pollers of an audience get the same bytes."""

    framing: Framing
    further: bytes

    @property
    def content_type(self) -> str:
        """That of the framing inside."""
        return self.framing.content_type

    def open(self, opening: Open) -> bytes:
        """Nothing: the answer comes whole."""
        return self.framing.open(opening)

    def page(self, page: Page) -> bytes:
        """The whole response."""
        return self._response(self.framing.page(page))

    def control(self, control: Control) -> bytes:
        """The whole response, if the control is one."""
        body = self.framing.control(control)
        return self._response(body) if body else b""

    def _response(self, body: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
            self.content_type.encode(),
            _HELD,
            self.further,
            len(body),
            body,
        )

    def after(self, page: Page) -> Framing:
        """Itself."""
        del page
        return self
