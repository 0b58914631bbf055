"""What a RESP command costs: our parser, ``hiredis.Reader``, and the whole way to a publisher that stores nothing.

Run it with ``python -m bench.resp_parsers``. It takes a few seconds, prints nanoseconds per command (the best of many
rounds, chunks of 500 commands), and then what hiredis makes of requests that ought to be refused.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import cast

import hiredis
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from comet.config import Config
from comet.limits.limits import Limits
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.factory import RespFactory
from comet.resp.wire import RequestParser
from comet.router import Router

COMMANDS = 500
ROUNDS = 200
MIB = 1 << 20


def _array(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _publish(payload: bytes) -> bytes:
    return b"".join(_array(b"PUBLISH", b"news/%04d" % number, payload) for number in range(COMMANDS))


CHUNKS = {
    "lines": b"".join(b"PUBLISH news/%04d xxxxxxxxxxxxxxxxxxxx\r\n" % number for number in range(COMMANDS)),
    "lines, quoted": b"".join(b"PUBLISH news/%04d 'xxxxxxxx xxxxxxxxxxx'\r\n" % number for number in range(COMMANDS)),
    "arrays": _publish(b"x" * 20),
    "arrays, a CRLF in the payload": _publish(b"x" * 9 + b"\r\n" + b"x" * 9),
    "arrays, XADD": b"".join(
        _array(b"XADD", b"news/%04d" % number, b"*", b"data", b"x" * 20) for number in range(COMMANDS)
    ),
}

BOMBS = (
    b"*2147483647\r\n",
    b"*100000000\r\n",
    b"$99999999999\r\n",
    b"*1\r\n*1\r\n*1\r\n$1\r\na\r\n",
    b"PUBLISH a b\r\n",
)


class _Nowhere:
    """A publisher that only counts."""

    epoch = "5f0c1a2b"
    stored = 0

    def __init__(self) -> None:
        self.limits = Limits(Config(), Metrics(), Clock())
        self.each_second: list[Callable[[], None]] = []

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        first, self.stored = self.stored, self.stored + len(drafts)
        return succeed(range(first, self.stored))

    def receivers(self, topic: str) -> int:  # noqa: ARG002
        return 7


def _ours(chunk: bytes) -> int:
    return len(RequestParser(MIB).feed(chunk))


def _hiredis(chunk: bytes) -> int:
    reader = hiredis.Reader()
    reader.feed(chunk)
    found = 0
    while reader.gets() is not False:
        found += 1
    return found


def _whole_way() -> Callable[[bytes], int]:
    publisher = _Nowhere()
    protocol = RespFactory(cast(Router, publisher), Config(max_payload=MIB), Metrics()).buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)  # type: ignore[no-untyped-call]

    def feed(chunk: bytes) -> int:
        before = publisher.stored
        protocol.dataReceived(chunk)
        transport.clear()
        return publisher.stored - before

    return feed


def _nanoseconds(reader: Callable[[bytes], int], chunk: bytes) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = reader(chunk)
        best = min(best, time.perf_counter() - begun)
        assert found == COMMANDS
    return best / COMMANDS * 1e9


def _verdict(bomb: bytes) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = hiredis.Reader()
    reader.feed(bomb)
    try:
        found = reader.gets()
    except (MemoryError, hiredis.ProtocolError) as error:
        return repr(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"{'waits for more' if found is False else found!r}, {grown} KiB more held"


def main() -> None:
    """Print the figures."""
    for name, chunk in CHUNKS.items():
        print(f"{name}: {_nanoseconds(_ours, chunk):.0f} ns ours", end="")
        if chunk.startswith(b"*"):
            print(f", {_nanoseconds(_hiredis, chunk):.0f} ns hiredis", end="")
        print(f"; {_nanoseconds(_whole_way(), chunk):.0f} ns the whole way")
    # So that a bomb which allocates what it announces fails here and not in the machine.
    resource.setrlimit(resource.RLIMIT_AS, (2048 * MIB, 2048 * MIB))
    for bomb in BOMBS:
        print(f"hiredis, {bomb!r}: {_verdict(bomb)}")


if __name__ == "__main__":
    main()
