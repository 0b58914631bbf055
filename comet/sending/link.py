"""A connection to the TCP port, on a plain blocking socket with a time limit on everything.

Messages are sent without waiting for the replies to those before, up to ``window`` of them. The traps: who sends and
never reads would block for good once both directions are full, so the window is small enough for its replies to fit in
the kernel's buffers; and when a send fails, replies may have come before the end: they are read all the same, because
each says that a message must not be sent again.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

from comet.sending.credentials import Denied, Token, current
from comet.sending.wire import NotRESP, Outgoing, Replies, Reply, auth, command

WINDOW = 1_000
"""Messages that may be sent without a reply: their replies are some 25 to 100 KB."""

BATCH, BATCH_BYTES = 500, 131_072
"""Messages, and bytes of payload, that are sent with one call."""

_RECEIVED = 262_144
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/]+)):([0-9]{1,5})", re.ASCII)

Address = tuple[str, int] | str
"""Host and port, or the path of a UNIX socket."""


class Lost(Exception):
    """The connection cannot be had, or is over; its text says why. Worth another try."""


def address_of(server: str) -> Address:
    """Return where ``server`` is; raises ValueError with what is right."""
    if server.startswith("/"):
        return server
    match = _HOST_PORT.fullmatch(server)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise ValueError(f"{server!r} cannot be used: write host:port, or the path of a UNIX socket")
    return match[1] or match[2], int(match[3])


class Link:
    """One connection. What it raises is :exc:`Lost`, or :exc:`~comet.sending.wire.NotRESP`; then it is of no more use,
    but for the replies that :meth:`receive` still gives."""

    window, batch, batch_bytes = WINDOW, BATCH, BATCH_BYTES

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._replies = Replies()
        self._broken = ""
        # Whether it was said who this is.
        self._said = False

    @classmethod
    def dialled(cls, address: Address, timeout: float, token: Token = None) -> Link:
        """Connect, and say who this is if there is a ``token``. Everything on the connection that takes longer than
        ``timeout`` seconds is given up. Raises :exc:`~comet.sending.credentials.Denied`, too."""
        try:
            if isinstance(address, str):
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.settimeout(timeout)
                    connection.connect(address)
                except OSError:
                    connection.close()
                    raise
            else:
                connection = socket.create_connection(address, timeout)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            raise Lost(said(error)) from None
        link = cls(connection)
        link._authenticate(current(token))
        return link

    def _authenticate(self, token: str) -> None:
        if not token:
            return
        try:
            self._socket.sendall(auth(token))
            reply = self.receive()[0]
        except OSError as error:
            self.close()
            raise Lost(said(error)) from None
        except (Lost, NotRESP):
            self.close()
            raise
        if reply.code:
            self.close()
            raise Denied(f"{reply.code} {reply.detail}")
        self._said = True

    def fileno(self) -> int:
        """For ``select``."""
        return self._socket.fileno()

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Send ``batch``. If that fails, :meth:`receive` raises after the replies that have come all the same."""
        if self._broken:
            return
        unsent = memoryview(b"".join(map(command, batch)))
        try:
            while unsent:
                unsent = unsent[self._socket.send(unsent) :]
        except OSError as error:
            self._broken = said(error)

    def receive(self) -> list[Reply]:
        """Wait for replies, and return those that have come. Raises :exc:`Lost`, :exc:`~comet.sending.wire.NotRESP`."""
        try:
            data = self._socket.recv(_RECEIVED)
        except OSError as error:
            raise Lost(self._broken or said(error)) from None
        if not data:
            raise Lost(self._broken or "the connection was closed")
        return self._until_expired(self._replies.feed(data))

    def _until_expired(self, replies: list[Reply]) -> list[Reply]:
        """A token that is over is no refusal of the message: the next connection says another one."""
        over = next((number for number, reply in enumerate(replies) if self._said and reply.code == "NOAUTH"), None)
        if over is None:
            return replies
        self._broken = "the token is over"
        if not over:
            raise Lost(self._broken)
        self._socket.shutdown(socket.SHUT_RDWR)  # so that the next time there is the end
        return replies[:over]

    def alive(self) -> bool:
        """Whether an idle connection seems good for another message: the end of it would be there to be read."""
        timeout = self._socket.gettimeout()
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._broken
        except OSError:
            return False
        finally:
            self._socket.settimeout(timeout)
        return False

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def said(error: OSError) -> str:
    """Return what the system says is wrong, as it stands within a line."""
    if isinstance(error, TimeoutError):
        return "it takes too long to answer"
    return (error.strerror or str(error) or type(error).__name__).lower()
