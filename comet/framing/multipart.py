"""Transport ``multipart``: each payload replaces the last, for ``<img src>`` (multipart/x-mixed-replace)::

    --boundary
    Comet-Control: {"comet":"open",…}
    X-Padding: ------
    Content-Type: image/jpeg

    (payload)
    --boundary
    Content-Type: image/jpeg

There is no RFC; browsers read parts as RFC 2046, section 5.1 says. Lines end in CRLF. Behind each payload the next
part's header goes out at once, complete, because Chromium shows a part only then and WebKit otherwise never shows the
last. So a header always lies open and cannot know its payload's id, length or type: it repeats the last type.

The traps, as seen in Chromium 156:

- a part of an image stream that is empty or no image **crashes the tab**, and so does SVG after a raster image or the
  other way round. So there is no heartbeat once a header lies open, and what would crash is left out and owed as a gap,
  which the next header to be written tells in a line ``Comet-Control``. Raster types may change under the open header:
  browsers go by the first bytes (MIME Sniffing Standard, section 8.1);
- before the first message the header is incomplete, and control is one more line of it, which is harmless;
- a preamble would be taken for a part, so a line in the first header is the padding: WebKit sniffs 512 bytes, and
  Chromium shows nothing to a page of another origin before 1024 have come (Opaque Response Blocking).

A payload that holds the boundary could forge parts: it is left out too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from comet.control import Control, Open, gap_json
from comet.framing.parts import control_line, type_of
from comet.message import Gap, Message, Page, Position


@dataclass(frozen=True, slots=True)
class Multipart:
    """Parts of which each replaces the last. ``padding`` is how many bytes the first header is lengthened by.

    ``opened`` is the type in the header that lies open, None before the first message. ``owed`` is the gap that the
    next header tells.
    """

    boundary: str
    padding: int = 1024
    opened: str | None = None
    owed: Gap | None = None

    repeats: ClassVar[bool] = True

    @property
    def content_type(self) -> str:
        """``multipart/x-mixed-replace``, with the boundary."""
        return f"multipart/x-mixed-replace; boundary={self.boundary}"

    def open(self, opening: Open) -> bytes:
        """The first delimiter, ``opening`` and the padding: a header that the first message completes."""
        padding = b"X-Padding: %b\r\n" % (b"-" * self.padding) if self.padding else b""
        return b"--%b\r\n%b%b" % (self.boundary.encode(), control_line(opening.json()), padding)

    def page(self, page: Page) -> bytes:
        """A part for each message, each with the header of the next behind it, the first of which tells the gap."""
        return b"".join(self._continued(page)[0])

    def control(self, control: Control) -> bytes:
        """A line of ``control`` before the first message; nothing afterwards."""
        return control_line(control.json()) if self.opened is None else b""

    def after(self, page: Page) -> Multipart:
        """The framing for which the header of the last message's type lies open."""
        _, opened, owed = self._continued(page)
        if (opened, owed) == (self.opened, self.owed):
            return self
        return replace(self, opened=opened, owed=owed)

    def _continued(self, page: Page) -> tuple[list[bytes], str | None, Gap | None]:
        """What ``page`` adds, and the ``opened`` and ``owed`` behind it."""
        pieces: list[bytes] = []
        opened, owed = self.opened, _both(self.owed, page.gap)
        for message in page.messages:
            kind = type_of(message)
            if not self._can_show(message.payload, kind, opened):
                owed = _both(owed, _gap_of(page.position.epoch, message))
                continue
            if opened is None:
                pieces.append(_rest_of_header(kind, owed))
                owed = None
            elif kind != opened and _family(opened) == "other":
                pieces.append(self._header(kind, owed))
                owed = None
            pieces += message.payload, self._header(kind, owed)
            opened, owed = kind, None
        if opened is None and owed is not None:
            pieces.append(control_line(gap_json(owed)))
            owed = None
        return pieces, opened, owed

    def _can_show(self, payload: bytes, kind: str, opened: str | None) -> bool:
        """Whether a part of this payload and type does no harm where the type ``opened`` lies open."""
        if b"--" + self.boundary.encode() in payload:
            return False
        family = _family(kind)
        if family != "other" and not payload:
            return False
        return opened is None or _family(opened) in ("other", family)

    def _header(self, kind: str, owed: Gap | None) -> bytes:
        return b"\r\n--%b\r\n%b" % (self.boundary.encode(), _rest_of_header(kind, owed))


def _rest_of_header(kind: str, owed: Gap | None) -> bytes:
    line = b"" if owed is None else control_line(gap_json(owed))
    return b"%bContent-Type: %b\r\n\r\n" % (line, kind.encode())


def _family(kind: str) -> str:
    """Which decoder of a browser a type belongs to: it cannot be changed within a stream of images."""
    if not kind.lower().startswith("image/"):
        return "other"
    return "vector" if kind.lower().startswith("image/svg") else "raster"


def _gap_of(epoch: str, message: Message) -> Gap:
    """The gap that the absence of ``message`` alone leaves."""
    return Gap(Position(epoch, max(0, message.offset - 1)), Position(epoch, message.offset))


def _both(first: Gap | None, second: Gap | None) -> Gap | None:
    """One gap that spans both, of which either may be None."""
    if first is None or second is None:
        return first or second
    return Gap(first.since, second.until)
