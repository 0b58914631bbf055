"""The seams: where more than one implementation stands behind the same contract."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from comet.control import Control, Open
from comet.message import Message, Page


class Call(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Have it not happen."""


class Clock(Protocol):
    """The reactor, as far as time goes (``twisted.internet.task.Clock`` in tests)."""

    def seconds(self) -> float:
        """The time now."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Call:  # noqa: A002
        """Call ``callable`` after ``delay`` seconds."""


class Store(Protocol):
    """Keeps messages. The log asks it before anybody hears of a message."""

    epoch: str
    """The log's life: 8 to 32 hexadecimal digits. A store that forgets draws a new one at each start."""

    def start(self) -> Deferred[Sequence[Message]]:
        """Open, and give the messages that are kept, by rising offset (the newest may suffice)."""

    def append(self, messages: Sequence[Message]) -> Deferred[None]:
        """Keep ``messages``, which follow all earlier ones. Fires in the order of the calls, once they are as safe as
        this store makes them; fails with :exc:`~comet.errors.StoreFailed`, and then none of them is kept."""

    def stop(self) -> Deferred[None]:
        """Close. What was appended before is kept."""


class Framing(Hashable, Protocol):
    """A wire format: pure functions from values to bytes. Equal framings give equal bytes, so their results are shared
    between streams and must not depend on any one of them."""

    @property
    def content_type(self) -> str:
        """What the response says it is."""

    def open(self, opening: Open) -> bytes:
        """The first bytes of a response's body."""

    def page(self, page: Page) -> bytes:
        """The gap, if there is one, then the messages."""

    def control(self, control: Control) -> bytes:
        """A control object in-band: ``beat``, ``topics``, ``bye``. Empty if the format has no way to say it."""

    def after(self, page: Page) -> Framing:
        """The framing that continues a stream once ``page`` is written: itself, unless the format has state."""


class Writer(Protocol):
    """One held response, seen from the router. The face that made it owns it and tells the router when it is gone."""

    descriptor: int
    """The plain socket to which bytes may be sent directly while the writer is drained, or -1."""

    def write(self, data: bytes, sent: int = 0) -> bool:
        """Take ``data`` from byte ``sent`` on (the kernel has the bytes before), behind what was written earlier.

        True: nothing is left behind, and more may follow at once. False: the rest is kept, and the router's
        ``drained`` is called, later, once there is room.
        """

    def wait(self) -> None:
        """Have the router's ``drained`` called, later, once the socket has room."""

    def finish(self) -> None:
        """End the response after what was written. Does not call into the router."""

    def abort(self) -> None:
        """Drop the connection and what was not sent yet, of a finished response too. Does not call into the router."""

    def peer(self) -> str:
        """The client's address, for people."""
