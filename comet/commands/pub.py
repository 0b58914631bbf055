"""``comet pub``: publish over the TCP port, in the Redis protocol (RESP2), with a plain socket.

Each message is an ``XADD``, whose reply is the position under which it is stored. A pipe's lines go out as they come,
without waiting for the replies, but never more than the daemon keeps up with: then the pipe is not read.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from comet.commands.arguments import Parser, reason

PATIENCE = 30.0
"""Seconds without any progress after which the daemon is given up."""

OUTSTANDING = 1_000
"""Messages without a reply beyond which no more of a pipe is read."""

CHUNK = 65_536

_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/]+)):([0-9]{1,5})", re.ASCII)


class Reply(NamedTuple):
    """The daemon's answer to one command: the position, or with ``refused`` what is wrong."""

    text: str
    refused: bool


class NotRESP(Exception):
    """The peer answers in another protocol."""


class Replies:
    """Reads replies from whatever pieces the network delivers."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield the replies that ``data`` completes. Raises :exc:`NotRESP`."""
        unread, start = self._unread + data, 0
        while (end := unread.find(b"\r\n", start)) >= 0:
            line, after = unread[start:end], end + 2
            if line[:1] == b"$" and line[1:].isdigit():
                size = int(line[1:])
                if len(unread) < after + size + 2:
                    break
                line, after = b"+" + unread[after : after + size], after + size + 2
            if line[:1] not in (b"+", b"-", b":"):
                raise NotRESP
            start = after
            yield Reply(line[1:].decode(errors="replace").removeprefix("ERR "), line[:1] == b"-")
        self._unread = unread[start:]


class Lines:
    """Cuts a stream into lines, without their ends."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes."""
        first, *rest = data.split(b"\n")
        self._begun.append(first)
        if not rest:
            return []
        *between, last = rest
        lines = [b"".join(self._begun), *between]
        self._begun = [last]
        return lines

    def begun(self) -> bytes:
        """The line whose end has not come."""
        self._begun = [b"".join(self._begun)]
        return self._begun[0]


class Form(NamedTuple):
    """What all messages of one call have in common."""

    topic: str
    content_type: str
    key: str

    def command(self, payload: bytes) -> bytes:
        """Return the command that publishes ``payload``."""
        words = [b"XADD", os.fsencode(self.topic), b"*", b"data", payload]
        if self.content_type:
            words += [b"type", os.fsencode(self.content_type)]
        if self.key:
            words += [b"key", os.fsencode(self.key)]
        return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


class Publisher:
    """A connection on which commands go out and replies come in, at the same time."""

    def __init__(self, connection: socket.socket, server: str, numbered: bool, verbose: bool) -> None:
        self._connection = connection
        self._server = server
        self._numbered = numbered
        self._verbose = verbose
        self._replies = Replies()
        self._outgoing = bytearray()
        self._sent = 0
        self._answered = 0
        self.refused = 0

    def put(self, command: bytes) -> None:
        """Have ``command`` sent."""
        self._outgoing += command
        self._sent += 1

    def busy(self) -> bool:
        """Whether something is to be sent, or a reply to come."""
        return self._answered < self._sent

    def has_room(self) -> bool:
        """Whether the daemon keeps up."""
        return self._sent - self._answered < OUTSTANDING and len(self._outgoing) < CHUNK

    def turn(self, source: int | None) -> bool:
        """Wait until something can be done, and do it; returns whether ``source`` has something to read."""
        sources: list[socket.socket | int] = [self._connection] if source is None else [self._connection, source]
        sinks = [self._connection] if self._outgoing else []
        readable, writable, _ = select.select(sources, sinks, [], PATIENCE if self.busy() else None)
        if not readable and not writable:
            raise SystemExit(f"comet: {self._server} has not answered for {PATIENCE:g} seconds; {self._outcome()}")
        if writable:
            self._send()
        if self._connection in readable:
            self._read()
        return source in readable

    def _send(self) -> None:
        try:
            del self._outgoing[: self._connection.send(self._outgoing)]
        except OSError as error:
            raise SystemExit(self._lost(error)) from None

    def _read(self) -> None:
        try:
            data = self._connection.recv(CHUNK)
        except OSError as error:
            raise SystemExit(self._lost(error)) from None
        if not data:
            raise SystemExit(f"comet: {self._server} has closed the connection; {self._outcome()}")
        try:
            for reply in self._replies.feed(data):
                self._take(reply)
        except NotRESP:
            raise SystemExit(
                f"comet: {self._server} does not speak RESP; --server takes the TCP port of Comet, by default 7081"
            ) from None

    def _lost(self, error: OSError) -> str:
        return f"comet: the connection to {self._server} is lost: {reason(error)}; {self._outcome()}"

    def _take(self, reply: Reply) -> None:
        self._answered += 1
        if reply.refused:
            self.refused += 1
            line = f"line {self._answered}: " if self._numbered else ""
            print(f"comet: {line}{reply.text}", file=sys.stderr)
        elif self._verbose:
            print(reply.text)

    def _outcome(self) -> str:
        if not self.busy():
            return "everything sent so far was stored"
        if self._numbered:
            return f"line {self._answered + 1} and those after it may not be stored"
        return "the message may not be stored"


def main(arguments: Sequence[str]) -> int:
    """Publish what ``arguments`` say; returns 0 once everything is stored, 1 if something was refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    content_type = "application/json" if options.json else options.type
    form = Form(options.topic, content_type, options.key)
    if options.lines and (options.data is not None or options.key):
        parser.error("--lines takes the messages from stdin, and one key for all would keep the first only")
    if not options.lines and options.data is None:
        parser.error("give the message, or - to read it from stdin")
    payload = sys.stdin.buffer.read() if options.data == "-" else os.fsencode(options.data or "")
    with _connected(options.server) as connection:
        publisher = Publisher(connection, options.server, options.lines, options.verbose or not options.lines)
        if options.lines:
            _publish_lines(publisher, form)
        else:
            publisher.put(form.command(payload))
        while publisher.busy():
            publisher.turn(None)
    return 1 if publisher.refused else 0


def _publish_lines(publisher: Publisher, form: Form) -> None:
    source = sys.stdin.fileno()
    lines = Lines()
    while True:
        if not publisher.turn(source if publisher.has_room() else None):
            continue
        data = os.read(source, CHUNK)
        for line in lines.feed(data):
            publisher.put(form.command(line))
        if not data:
            break
    if lines.begun():
        publisher.put(form.command(lines.begun()))


def _connected(server: str) -> socket.socket:
    match = _SERVER.fullmatch(server)
    if match is None and not server.startswith("/"):
        raise SystemExit(f"comet: --server: {server!r} cannot be used: write host:port, or the path of a UNIX socket")
    try:
        if match is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(server)
        else:
            connection = socket.create_connection((match[1] or match[2], int(match[3])), timeout=10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        said = reason(error) if isinstance(error, OSError) else "no such port"
        raise SystemExit(
            f"comet: cannot reach {server}: {said}; start the daemon with comet serve, or say where it is with --server"
        ) from None
    connection.setblocking(False)
    return connection


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet pub", description="Publish a message on a topic, and print the position it is stored under.")
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("data", metavar="DATA", nargs="?", help="the message, or - for all of stdin")
    parser.add_argument("--lines", action="store_true", help="each line of stdin is a message, sent as it comes")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="the message is JSON (--type application/json)")
    kind.add_argument("--type", default="", metavar="TYPE", help="the content type of the message")
    parser.add_argument("--key", default="", metavar="KEY", help="publish once, however often this is repeated")
    parser.add_argument("--server", default="127.0.0.1:7081", metavar="HOST:PORT", help="the TCP port [%(default)s]")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the position of each line, too")
    return parser
