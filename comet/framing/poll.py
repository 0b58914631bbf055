"""Transport ``poll``: one JSON object is the whole answer, for a client that asks again with ``next`` as ``since``::

    {"messages":[{"id":"5f0c1a2b-1042",…}],"next":"5f0c1a2b-1042"}
    {"messages":[],"next":"5f0c1a2b-1042","gap":{"since":"5f0c1a2b-7","until":"5f0c1a2b-900"}}

    {"messages":[],"next":"5f0c1a2b-1042","retry":3150}

The delivery is one-shot: exactly one object. It has room for one control: ``bye`` is an empty answer that says after
how many milliseconds to ask again, because the daemon is about to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from comet.control import Bye, Control, Open
from comet.framing.objects import message_objects
from comet.message import Page


@dataclass(frozen=True, slots=True)
class Poll:
    """One JSON object for one page."""

    content_type: ClassVar[str] = "application/json"
    repeats: ClassVar[bool] = False

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

    def control(self, control: Control) -> bytes:
        """The whole body of a ``bye`` that has a position; nothing for what an answer has no room for."""
        if not isinstance(control, Bye) or control.position is None:
            return b""
        return b'{"messages":[],"next":"%b","retry":%d}' % (str(control.position).encode(), control.retry)

    def after(self, _page: Page) -> Poll:
        """Itself: an answer stands alone."""
        return self
