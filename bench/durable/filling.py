"""Publishing a whole log, over one connection that pipelines lines.

The message with the number ``n`` goes to the topic ``bench/<n % topics>``; its payload begins with the number in ten
digits, so that a reader knows which ones it should have, without keeping them.
"""

from __future__ import annotations

import socket

SIZE = 100
"""Bytes of a payload."""

BATCH = 1000
WINDOW = 8 * BATCH
"""Messages that may be unacknowledged: their replies fit into the socket's buffers, so that nobody waits for the
other."""

PATIENCE = 60.0

_PAYLOAD_END = b"x" * (SIZE - 10) + b"\r\n"


def fill(port: int, messages: int, topics: int) -> None:
    """Publish. Raises RuntimeError if one is refused."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        unanswered = 0
        for first in range(0, messages, BATCH):
            last = min(first + BATCH, messages)
            connection.sendall(b"".join(_line(number, topics) for number in range(first, last)))
            unanswered += last - first
            while unanswered > (WINDOW if last < messages else 0):
                unanswered -= _answered(connection)


def topic_of(number: int, topics: int) -> str:
    """The topic of the message with that number."""
    return f"bench/{number % topics}"


def _line(number: int, topics: int) -> bytes:
    return b"PUBLISH bench/%d %010d%b" % (number % topics, number, _PAYLOAD_END)


def _answered(connection: socket.socket) -> int:
    data = connection.recv(1 << 16)
    if not data or b"-" in data:
        raise RuntimeError(f"publishing was refused: {data[:200]!r}")
    return data.count(b"\n")
