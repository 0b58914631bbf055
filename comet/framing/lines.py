"""Transport ``stream``: one JSON object a line, for ``fetch``, XMLHttpRequest, ``curl`` and programs::

    {"comet":"open","stream":"c0ffee","position":"5f0c1a2b-1041","silence":25.0}
    {"id":"5f0c1a2b-1042","topic":"auction/7","time":1790000000.123,"data":"sold"}

Every line ends in LF (https://github.com/ndjson/ndjson-spec). A control object has a member ``comet``, a message none.
The trap: what buffers a response until some bytes have come; ``padding`` puts that many spaces before the first object,
where they are white space of JSON, so that a reader which parses each line needs to know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comet.control import Control, Open, gap_json
from comet.framing.objects import message_objects
from comet.message import Page


@dataclass(frozen=True, slots=True)
class Lines:
    """JSON lines; the first is preceded by ``padding`` spaces."""

    padding: int = 0
    # No charset: JSON is UTF-8 (RFC 8259, section 8.1).
    content_type: ClassVar[str] = "application/x-ndjson"
    repeats: ClassVar[bool] = False

    def open(self, opening: Open) -> bytes:
        """The padding and the line of ``opening``."""
        return b"%b%b\n" % (b" " * self.padding, opening.json())

    def page(self, page: Page) -> bytes:
        """The line of the gap, if there is one, and a line a message."""
        lines = message_objects(page)
        if page.gap is not None:
            lines.insert(0, gap_json(page.gap))
        lines.append(b"")
        return b"\n".join(lines)

    def control(self, control: Control) -> bytes:
        """The line of ``control``."""
        return control.json() + b"\n"

    def after(self, _page: Page) -> Lines:
        """Itself: a line stands alone."""
        return self
