"""The successor's side: it takes the log and the sockets of a daemon that runs, with a plain blocking socket, because
it has nothing else to do before it has them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from comet.handover.frames import (
    VERSION,
    Batch,
    Frame,
    FrameReader,
    Hello,
    Known,
    NotAFrame,
    Ready,
    Will,
    Yours,
    encoded,
)
from comet.handover.giving import is_trusted
from comet.kept import Entry, Kept, Record
from comet.message import Message

PATIENCE = 30.0
"""Seconds without a byte after which the predecessor is given up."""

T = TypeVar("T")

MOST_SOCKETS = 64
CHUNK = 1024 * 1024


class CannotTakeOver(Exception):
    """Nothing could be taken over, and the predecessor goes on. The text is one line."""


@dataclass(slots=True)
class Inheritance:
    """What a predecessor has given. ``store`` names where it keeps what it has; if that is not its memory alone, only
    ``kept.past`` is given. ``sockets`` are its listening ones, with the setting and the text of each."""

    store: str
    kept: Kept
    sockets: list[tuple[str, str, socket.socket]] = field(default_factory=list)

    def socket_for(self, setting: str, text: str) -> socket.socket | None:
        """Take the socket of an endpoint out, if there is one."""
        for index, (its_setting, its_text, found) in enumerate(self.sockets):
            if (its_setting, its_text) == (setting, text):
                del self.sockets[index]
                return found
        return None

    def close(self) -> None:
        """Close the sockets that nobody has taken out."""
        for _, _, unwanted in self.sockets:
            unwanted.close()


class Predecessor:
    """A daemon that runs, at ``address``; use it in a ``with`` statement.

    :meth:`inherit` gives what it has, while it stands still; :meth:`serve` makes this process the one that serves.
    Leaving the block without it makes the predecessor go on. All raise :exc:`CannotTakeOver`.
    """

    def __init__(self, address: str, connection: socket.socket) -> None:
        self._address = address
        self._connection = connection
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self._descriptors: list[int] = []

    def __enter__(self) -> Predecessor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        for descriptor in self._descriptors:
            socket.close(descriptor)

    @classmethod
    def at(cls, address: str) -> Predecessor | None:
        """The daemon that offers itself at ``address``, or None if there is none."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(raw_address(address))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise CannotTakeOver(f"cannot reach the daemon at {address}: {error.strerror or error}") from None
        if not is_trusted(connection):
            connection.close()
            raise CannotTakeOver(f"the daemon at {address} belongs to another user; start this one as that user")
        return cls(address, connection)

    def inherit(self) -> Inheritance:
        """Return everything that the predecessor has."""
        return self._tried(self._inherit)

    def serve(self) -> socket.socket:
        """Return once this process is the one that serves: the connection, on which what publishers still bring to
        the predecessor comes as :class:`~comet.handover.frames.Late`."""
        return self._tried(self._serve)

    def _inherit(self) -> Inheritance:
        self._connection.sendall(encoded(Hello(VERSION)))
        messages: list[Message] = []
        keys: list[Entry] = []
        records: list[Record] = []
        while isinstance(frame := self._next(), Batch | Known):
            if isinstance(frame, Batch):
                messages += frame.messages
            else:
                keys += frame.keys
                records += frame.records
        if not isinstance(frame, Will):
            raise NotAFrame
        sockets = [socket.socket(fileno=each) for each in self._descriptors]
        self._descriptors.clear()
        named = zip(frame.faces, sockets, strict=True)
        kept = Kept(frame.past, messages, keys, records)
        return Inheritance(frame.store, kept, [(*face, each) for face, each in named])

    def _serve(self) -> socket.socket:
        self._connection.sendall(encoded(Ready()))
        if not isinstance(self._next(len(encoded(Yours()))), Yours):
            raise NotAFrame
        self._connection.setblocking(False)
        return self._connection

    def _next(self, most: int = CHUNK) -> Frame:
        while not self._frames:
            data, descriptors, _, _ = socket.recv_fds(self._connection, most, MOST_SOCKETS)
            self._descriptors += descriptors
            if not data:
                raise CannotTakeOver(
                    f"the daemon at {self._address} does not hand over: it is stopping, is handing over to another "
                    "process, or is of another version; its log says more"
                )
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def _tried(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except NotAFrame:
            raise CannotTakeOver(f"what listens at {self._address} is no daemon of this version of Comet") from None
        except TimeoutError:
            raise CannotTakeOver(f"the daemon at {self._address} has said nothing for {PATIENCE:g} seconds") from None
        except OSError as error:
            raise CannotTakeOver(f"lost the daemon at {self._address}: {error.strerror or error}") from None


def raw_address(address: str) -> str:
    """Return ``address`` as the system takes it: a name that begins with ``@`` is one without a file."""
    return f"\0{address[1:]}" if address.startswith("@") else address
