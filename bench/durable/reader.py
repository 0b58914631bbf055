"""A reader that costs next to nothing: it counts the lines of a stream, and looks at the last one of each block.

``python -m bench.durable.reader PORT PATTERN FIRST STEP MESSAGES`` reads the topics of PATTERN over HTTP, from the
first message on until it has MESSAGES, and prints what it found as JSON. The numbers in the payloads (``filling.py``)
are to be FIRST, FIRST + STEP, and so on: each that is looked at says how many lines should have come before.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

RECEIVE = 1 << 20
PATIENCE = 60.0
"""Seconds without a byte after which no more will come."""

CONTROL = b'{"comet":'
GAP = b'{"comet":"gap"'
_NUMBER = re.compile(rb'"data":"(\d{10})x*"')


class Wanted(NamedTuple):
    """The numbers of the messages that are to come."""

    first: int
    step: int
    messages: int

    def number(self, count: int) -> int:
        """The number of the message that is the ``count``-th."""
        return self.first + self.step * (count - 1)


class Count:
    """What a stream has brought: ``messages``, ``gaps`` that it told of, and how many of the messages that were looked
    at had ``misplaced`` numbers."""

    def __init__(self, wanted: Wanted) -> None:
        self.messages = self.gaps = self.looked_at = self.misplaced = 0
        self._wanted = wanted
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Count what has come."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        lines, self._rest = data[:end], data[end:]
        if not lines:
            return
        self.messages += lines.count(b"\n")
        if CONTROL in lines:
            self.messages -= lines.count(CONTROL)
            self.gaps += lines.count(GAP)
        last = lines[lines.rfind(b"\n", 0, -1) + 1 :]
        if not last.startswith(CONTROL):
            self._look_at(last)

    def _look_at(self, line: bytes) -> None:
        number = _NUMBER.search(line)
        self.looked_at += 1
        self.misplaced += number is None or int(number[1]) != self._wanted.number(self.messages)


def read(port: int, pattern: str, wanted: Wanted) -> dict[str, float]:
    """Read, and return what was found; ``seconds`` are from the request to the last message that came."""
    count = Count(wanted)
    request = f"GET /topics?topic={pattern}&transport=stream&since=first HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        begun = came = time.monotonic()
        used = time.process_time()
        connection.sendall(request.encode())
        data = connection.recv(RECEIVE)
        first_came = time.monotonic() - begun
        head, _, data = data.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise SystemExit(f"reader: the server answers {head[:300]!r}")
        while data and count.messages < wanted.messages:
            count.take(data)
            came = time.monotonic()
            if count.messages < wanted.messages:
                data = _received(connection)
    return {
        "seconds": came - begun,
        "first_byte": first_came,
        "messages": count.messages,
        "gaps": count.gaps,
        "looked_at": count.looked_at,
        "misplaced": count.misplaced,
        "cpu": time.process_time() - used,
    }


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(RECEIVE)
    except TimeoutError:
        return b""


def main(arguments: Sequence[str]) -> None:
    """Read, and print what was found."""
    port, pattern, *numbers = arguments
    print(json.dumps(read(int(port), pattern, Wanted(*map(int, numbers)))))


if __name__ == "__main__":
    main(sys.argv[1:])
