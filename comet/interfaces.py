"""The seams: where more than one implementation stands behind the same contract."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from comet.config import Config
from comet.control import Control, Open
from comet.kept import Entry, Kept, Piece, Record
from comet.message import Message, Page
from comet.topics import Pattern


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


class Archive(Protocol):
    """What a store keeps on disk, to be read when memory does not have it any more. Nothing here blocks the reactor,
    and nothing is answered within the call.

    All of it fails with :exc:`~comet.errors.StoreFailed` if the disk cannot be read.
    """

    @property
    def trimmed(self) -> int:
        """Everything up to this offset may be gone."""

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        """Fire with the first messages of ``patterns`` after ``after`` and up to ``until``: at most ``limit``, and
        about :data:`~comet.log.PAGE_BYTES` of payload. There may be none although ``until`` is not reached."""

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        """As ``read``, but only messages that are the newest of their topics (and none of a topic whose newest message
        is after ``until``)."""

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> Deferred[int]:
        """Fire with the offset after which exactly ``count`` messages of ``patterns`` follow up to ``until``; that
        before the oldest of them if there are fewer, ``until`` if there is none."""

    def count(self, topic: str) -> Deferred[int]:
        """Fire with the number of messages of ``topic``."""


class Store(Protocol):
    """Keeps messages, keys and records. The log asks it before anybody hears of a message."""

    @property
    def archive(self) -> Archive | None:
        """What is kept beyond memory, or None."""

    @property
    def trouble(self) -> str:
        """Why messages could not be kept the last time, in a line for people; empty if they could. While there is
        trouble each ``append``, of nothing too, tries anew."""

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:
        """Open, and give what is kept. ``succeeding`` if another process has it open and stands still, to end once
        this one serves. Fails with :exc:`~comet.errors.CannotOpen`, whose text is one line with what to do."""

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:
        """Keep ``messages``, which follow all earlier ones, and the ``keys`` that some of them had. Fires in the order
        of the calls (of ``put`` too), once they are as safe as this store makes them; fails with
        :exc:`~comet.errors.StoreFailed`, and then none of them is kept."""

    def put(self, record: Record) -> Deferred[None]:
        """Keep ``record`` in the place of that of its kind and name, if there is one. Fires and fails as ``append``."""

    def remove(self, kind: str, name: str) -> Deferred[None]:
        """Forget a record. Fires and fails as ``append``."""

    def configure(self, config: Config) -> None:
        """Go by ``config`` from now on; see :class:`~comet.reloading.Part`."""

    def stop(self) -> Deferred[None]:
        """Close. What was appended before is kept."""


class Framing(Hashable, Protocol):
    """A wire format: pure functions from values to bytes. Equal framings give equal bytes, so their results are shared
    between streams and must not depend on any one of them."""

    @property
    def content_type(self) -> str:
        """What the response says it is."""

    @property
    def repeats(self) -> bool:
        """Whether the newest message, said once more, is a heartbeat: so in a format that has no ``beat``, and in which
        that changes nothing."""

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
