"""Transport ``poll``: one JSON object is the whole answer, for a client that asks again with ``next`` as ``since``::

    {"messages":[{"id":"5f0c1a2b-1042",…}],"next":"5f0c1a2b-1042"}
    {"messages":[],"next":"5f0c1a2b-1042","gap":{"since":"5f0c1a2b-7","until":"5f0c1a2b-900"}}

The delivery is one-shot: exactly one page. A control would make it two objects, so there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comet.control import Control, Open
from comet.framing.objects import message_objects
from comet.message import Page


@dataclass(frozen=True, slots=True)
class Poll:
    """One JSON object for one page."""

    content_type: ClassVar[str] = "application/json"

    def open(self, _opening: Open) -> bytes:
        """Nothing: the answer is the page."""
        return b""

    def page(self, page: Page) -> bytes:
        """The whole body."""
        gap = b""
        if page.gap is not None:
            gap = b',"gap":{"since":"%b","until":"%b"}' % (str(page.gap.since).encode(), str(page.gap.until).encode())
        messages = b",".join(message_objects(page))
        return b'{"messages":[%b],"next":"%b"%b}' % (messages, str(page.position).encode(), gap)

    def control(self, _control: Control) -> bytes:
        """Nothing: an answer has no room for it."""
        return b""

    def after(self, _page: Page) -> Poll:
        """Itself: an answer stands alone."""
        return self
