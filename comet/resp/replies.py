"""Values to bytes: how a reply is spelt in RESP, the Redis serialization protocol.

What a publisher is sent (https://redis.io/docs/latest/develop/reference/protocol-spec/)::

    simple   = "+" text CRLF                             ; no line break in it
    error    = "-" kind SP text CRLF                     ; "ERR", or a kind that Redis clients look at
    integer  = ":" number CRLF
    bulk     = "$" size CRLF  size * OCTET  CRLF
    array    = "*" count CRLF  count * reply
    mapping  = "%" count CRLF  count * (bulk reply)      ; RESP3; in RESP2 an array, names and values by turns
    push     = ">" count CRLF  count * reply             ; RESP3; in RESP2 an array
    null     = "$-1" CRLF / "_" CRLF                     ; RESP2 / RESP3

The trap: what a publisher sent is shown in its errors, and a line break in it would be a reply of its own making.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from comet.errors import CometError

NULL = {2: b"$-1\r\n", 3: b"_\r\n"}
"""Nothing, by version of the protocol."""

NULL_ARRAY = {2: b"*-1\r\n", 3: b"_\r\n"}
"""Nothing, where an array could be."""

KINDS = {
    "no_group": "NOGROUP",
    "consumer_exists": "BUSYGROUP",
    "unauthorized": "NOAUTH",
    "bad_token": "WRONGPASS",
    "token_expired": "WRONGPASS",
    "forbidden": "NOPERM",
}
"""The refusals that Redis clients know by a kind of their own."""

_SMALL = tuple(b":%d\r\n" % number for number in range(1024))
_CONTROL = re.compile("[\x00-\x1f\x7f]+")


def integer(number: int) -> bytes:
    """Return a number, which is not negative."""
    return _SMALL[number] if number < len(_SMALL) else b":%d\r\n" % number


def simple(text: str) -> bytes:
    """Return a short text without line breaks, such as OK."""
    return f"+{text}\r\n".encode()


def bulk(content: str | bytes) -> bytes:
    """Return bytes, or a text as UTF-8."""
    raw = content.encode() if isinstance(content, str) else content
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def array(items: Iterable[bytes]) -> bytes:
    """Return a list of replies as one."""
    replies = list(items)
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def push(items: Iterable[bytes], version: int) -> bytes:
    """Return what is no reply, as a list: a push in RESP3, which a client can tell from a reply; an array in RESP2."""
    whole = array(items)
    return whole if version == 2 else b">" + whole[1:]


def mapping(entries: Mapping[str, bytes], version: int) -> bytes:
    """Return named replies: a map in RESP3, an array of names and values by turns in RESP2."""
    flat = [part for name, reply in entries.items() for part in (bulk(name), reply)]
    if version == 2:
        return array(flat)
    return b"%%%d\r\n%b" % (len(entries), b"".join(flat))


def error(refusal: CometError) -> bytes:
    """Return an error. ``ERR`` is what Redis clients know as the general kind; then come our code and the detail."""
    return failure(KINDS.get(refusal.code, "ERR"), f"{refusal.code} {refusal.detail}")


def failure(kind: str, detail: str) -> bytes:
    """Return an error of a ``kind`` that Redis clients look at. No control character can end the line early."""
    return f"-{kind} {_CONTROL.sub(' ', detail)}\r\n".encode(errors="replace")
