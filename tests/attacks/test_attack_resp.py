"""RESP bombs: lengths that promise what never comes, commands of very many parts, and nesting. A length is held against
its limit before a byte is set aside for it."""

from __future__ import annotations

import pytest

from tests.attacks.attacker import MEGABYTE, crowd, exchanged, memory_of, published, push, restored, serves
from tests.daemons import Daemon, running
from tests.e2e.held import connected

EVIL = b"PUBLISH forbidden evil\r\n"

BOMBS = {
    "a-huge-array": b"*1000000000\r\n",
    "a-huge-string": b"*1\r\n$1000000000000\r\n",
    "beyond-64-bits": b"*1\r\n$99999999999999999999\r\n",
    "a-negative-array": b"*-5\r\n",
    "a-negative-string": b"*2\r\n$4\r\nECHO\r\n$-5\r\n",
    "null": b"*2\r\n$4\r\nECHO\r\n$-1\r\n",
    "a-plus": b"*+1\r\n$4\r\nPING\r\n",
    "zeros": b"*00000000000001\r\n$4\r\nPING\r\n",
    "hexadecimal": b"*0x1\r\n$4\r\nPING\r\n",
    "a-length-without-end": b"*" + b"1" * 100_000,
    "nested-arrays": b"*1\r\n" * 100_000,
    "nested-arrays-of-many": b"*1024\r\n*1024\r\n*1024\r\n",
    "nested-types-of-resp-3": b"%1\r\n" * 100_000,
    "a-streamed-string": b"*2\r\n$4\r\nECHO\r\n$?\r\n;4\r\nevil\r\n;0\r\n",
    "a-streamed-array": b"*?\r\n$4\r\nPING\r\n.\r\n",
    "an-integer": b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    "a-string-without-its-end": b"*1\r\n$4\r\nPINGxx",
    "line-feeds": b"*1\n$4\nPING\n",
    "a-line-without-end": b"PING " + b"x" * 1_000_000,
    "a-line-of-quotes": b'PING "' * 10_000 + b"\r\n",
    "a-line-of-escapes": b'PING "' + b"\\" * 60_000 + b"\r\n",
    "a-line-of-words": b"PING " + b"x " * 30_000 + b"\r\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_resp_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """What is no command that the daemon would take ends the connection, without memory and without what follows."""
    before = memory_of(daemon)
    answer = exchanged(daemon.tcp, BOMBS[name] + EVIL)
    assert answer.startswith(b"-"), answer
    assert answer.count(b"\r\n") == 1, answer
    assert published(daemon, "forbidden") == []
    assert memory_of(daemon) - before < 10 * MEGABYTE
    serves(daemon, topic)


def test_promises() -> None:
    """Two hundred connections that promise the largest payload, and send the beginning of it, cost what they have sent
    and not what they have promised."""
    with running() as daemon, restored(daemon):
        before = memory_of(daemon)
        with crowd(daemon.tcp, 200) as connections:
            for connection in connections:
                push(connection, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$1048576\r\n" + b"x" * 1_000)
            serves(daemon, "promises")
            assert memory_of(daemon) - before < 20 * MEGABYTE


def test_commands_that_are_too_large(daemon: Daemon, topic: str) -> None:
    """A payload beyond the largest is read over and refused, and the connection goes on; it is never kept."""
    before = memory_of(daemon)
    with connected(daemon.tcp) as connection:
        connection.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$15000000\r\n")
        for _ in range(15):
            connection.sendall(b"x" * 1_000_000)
            assert memory_of(daemon) - before < 10 * MEGABYTE
        connection.sendall(b"\r\nPING\r\n")
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            answer += connection.recv(1_000)
    assert answer.startswith(b"-ERR payload_too_large")


def test_transactions_without_end(daemon: Daemon) -> None:
    """What is queued between MULTI and EXEC is bounded, in number and in bytes."""
    before = memory_of(daemon)
    piece = b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nevil\r\n$1000000\r\n%b\r\n" % (b"x" * 1_000_000)
    answer = exchanged(daemon.tcp, b"MULTI\r\n", piece * 50, b"PUBLISH evil x\r\n" * 2_000, b"EXEC\r\nQUIT\r\n")
    assert b"-EXECABORT" in answer
    assert published(daemon, "evil") == []
    assert memory_of(daemon) - before < 30 * MEGABYTE


def test_topics_without_end_of_one_connection() -> None:
    """A connection may subscribe to so many names and to no more; all are given up with it."""
    with running() as daemon, restored(daemon):
        before = memory_of(daemon)
        with connected(daemon.tcp) as connection:
            for number in range(500):
                connection.sendall(b"SUBSCRIBE a%d\r\nPSUBSCRIBE b%d:*\r\n" % (number, number))
            answer = b""
            while b"-" not in answer:
                answer = connection.recv(65_536)
            assert memory_of(daemon) - before < 10 * MEGABYTE
