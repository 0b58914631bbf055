"""What a publisher and the TCP port say to each other: ``XADD`` out, its replies in. RESP2, without any I/O.

    command  = "*" count CRLF  count * ("$" size CRLF  size * OCTET  CRLF)
    reply    = "$" size CRLF  position CRLF  /  "-ERR " code SP detail CRLF

(https://redis.io/docs/latest/develop/reference/protocol-spec/). The trap: what is published may hold any byte: nothing
is ever written as an inline command.
"""

from __future__ import annotations

from typing import NamedTuple

from comet.errors import every

RETRIED = frozenset(refusal.code for refusal in every() if refusal.retry)
"""Codes of refusals after which the same message may be taken later."""


class Outgoing(NamedTuple):
    """A message on its way to the daemon. Empty texts stand for none."""

    topic: str
    payload: bytes
    content_type: str = ""
    key: str = ""


class Reply(NamedTuple):
    """The daemon's answer to one message: its position; or a code with what is wrong, and whether to try again."""

    position: str
    code: str = ""
    detail: str = ""
    retry: bool = False


class NotRESP(Exception):
    """The peer answers in another protocol."""


def command(outgoing: Outgoing) -> bytes:
    """Return the command that publishes ``outgoing``."""
    topic, payload = _encoded(outgoing.topic), outgoing.payload
    count, further = 5, b""
    if outgoing.content_type:
        content_type = _encoded(outgoing.content_type)
        count, further = 7, b"$4\r\ntype\r\n$%d\r\n%b\r\n" % (len(content_type), content_type)
    if outgoing.key:
        key = _encoded(outgoing.key)
        count, further = count + 2, b"%b$3\r\nkey\r\n$%d\r\n%b\r\n" % (further, len(key), key)
    return b"*%d\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$4\r\ndata\r\n$%d\r\n%b\r\n%b" % (
        count,
        len(topic),
        topic,
        len(payload),
        payload,
        further,
    )


def auth(token: str) -> bytes:
    """Return the command that says who publishes."""
    return b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(token), token.encode())


def _encoded(text: str) -> bytes:
    # What came from the command line may be no UTF-8; the daemon says so better than we would.
    return text.encode(errors="surrogateescape")


class Replies:
    """Reads replies from whatever pieces the network delivers."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that ``data`` completes. Raises :exc:`NotRESP`."""
        unread, start = self._unread + data, 0
        replies: list[Reply] = []
        while (end := unread.find(b"\r\n", start)) >= 0:
            line, after = unread[start:end], end + 2
            if line[:1] == b"$" and line[1:].isdigit():
                size = int(line[1:])
                if len(unread) < after + size + 2:
                    break
                replies.append(Reply(unread[after : after + size].decode(errors="replace")))
                after += size + 2
            elif line[:1] in (b"+", b":"):
                replies.append(Reply(line[1:].decode(errors="replace")))
            elif line[:1] == b"-":
                replies.append(_refusal(line[1:].decode(errors="replace")))
            else:
                raise NotRESP
            start = after
        self._unread = unread[start:]
        if len(self._unread) > 65_536:
            raise NotRESP
        return replies


def _refusal(text: str) -> Reply:
    code, _, detail = text.removeprefix("ERR ").partition(" ")
    return Reply("", code, detail, code in RETRIED)
