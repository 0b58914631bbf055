"""What goes around a framing's bytes on HTTP: the heads of held responses."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from comet.control import UNREADABLE, Bye, Control, Open
from comet.errors import CometError, StoreFailed
from comet.interfaces import Framing
from comet.message import Page
from comet.web.answers import PROBLEM, problem_document, refusal_lines

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


_UNREADABLE = StoreFailed("what was published cannot be read from disk; the daemon's log says why")


def _whole(status: bytes, content_type: bytes, further: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        status,
        content_type,
        _HELD,
        further,
        len(body),
        body,
    )


@dataclass(frozen=True, slots=True)
class Enveloped:
    """A one-shot framing with the head of its response in front: all pollers of an audience get the same bytes."""

    framing: Framing
    further: bytes

    repeats: ClassVar[bool] = False

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
        """The whole response, if the control is one. A poll whose history cannot be read is refused: an empty answer
        would have the client ask again at once, and never learn why."""
        if isinstance(control, Bye) and control.reason == UNREADABLE:
            return self._refusal(_UNREADABLE)
        body = self.framing.control(control)
        return self._response(body) if body else b""

    def _refusal(self, error: CometError) -> bytes:
        status = HTTPStatus(error.status)
        further = refusal_lines(error) + self.further
        return _whole(b"%d %b" % (status, status.phrase.encode()), PROBLEM, further, problem_document(error))

    def _response(self, body: bytes) -> bytes:
        return _whole(b"200 OK", self.content_type.encode(), self.further, body)

    def after(self, page: Page) -> Framing:
        """Itself."""
        del page
        return self
