"""Pages as MessagePack, for readers within the process (``comet.polling``): cheap, and nothing is lost on the way.

A ``bye`` is its reason, a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msgspec.msgpack import Decoder, Encoder

from comet.control import Bye, Control, Open
from comet.message import Page

_encode = Encoder().encode
_decode = Decoder(Page | str).decode


@dataclass(frozen=True, slots=True)
class Packed:
    """One MessagePack object for one page."""

    content_type: ClassVar[str] = "application/vnd.msgpack"
    repeats: ClassVar[bool] = False

    def open(self, _opening: Open) -> bytes:
        """Nothing: the answer is the page."""
        return b""

    def page(self, page: Page) -> bytes:
        """The page."""
        return _encode(page)

    def control(self, control: Control) -> bytes:
        """The reason of a ``bye``."""
        return _encode(control.reason) if isinstance(control, Bye) else b""

    def after(self, _page: Page) -> Packed:
        """Itself: an answer stands alone."""
        return self


def unpacked(data: bytes) -> Page | str:
    """Return the page, or the reason for which there is none."""
    packed: Page | str = _decode(data)
    return packed
