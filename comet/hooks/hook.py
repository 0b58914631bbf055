"""A hook: an acknowledged consumer whose reader is a URL. What of it is kept, and what it may be. Pure.

The cursor and the patterns are those of the consumer that has the same name. A secret is shown once, to who makes the
hook, and is never logged; neither is the query of a URL, where people put tokens.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from comet.errors import BadHook, shown
from comet.framing.objects import encode, message_objects
from comet.hooks.addresses import check_host
from comet.kept import Record
from comet.message import Page, Position

KIND = "hook"
"""The kind of the records."""

LONGEST_URL = 2_000

# Each label has 1 to 63 characters: the system's look-up breaks at others.
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_URL = re.compile(r"[!-~]+", re.ASCII)
_ODD = re.compile(r"[\\^`{}|<>\"]")


class Hook(Struct, frozen=True, array_like=True):
    """Where the messages of the consumer ``name`` are posted. ``parked`` says why they are not any longer; it is empty
    while they are. Times are in seconds since 1970."""

    name: str
    url: str
    key: bytes
    created: float
    parked: str = ""
    parked_at: float = 0.0

    def __repr__(self) -> str:
        """Only the name: the rest is not for logs."""
        return f"Hook({self.name!r})"

    def record(self) -> Record:
        """What the store keeps."""
        return Record(KIND, self.name, _encode(self))

    @classmethod
    def parse(cls, body: bytes) -> Hook:
        """Return what ``record`` was made of."""
        return _decode(body)

    def shown_url(self) -> str:
        """The URL without its query."""
        path, mark, _ = self.url.partition("?")
        return f"{path}{'?…' * bool(mark)}"

    def body(self, page: Page) -> bytes:
        """What is posted: the messages exactly as the transport ``poll`` has them. The same for the same messages: so
        ``next`` is the last of them, although the log may have been read further."""
        gap, reached = b"", page.position
        if page.gap is not None:
            gap = b',"gap":{"since":"%b","until":"%b"}' % (str(page.gap.since).encode(), str(page.gap.until).encode())
        if page.messages:
            reached = Position(reached.epoch, page.messages[-1].offset)
        messages = b",".join(message_objects(page))
        return b'{"hook":%b,"messages":[%b],"next":"%b"%b}' % (encode(self.name), messages, str(reached).encode(), gap)

    def identity(self, body: bytes) -> str:
        """The id of a post: the same for the same messages, before and after a restart, and of no other hook."""
        return "msg_" + hashlib.sha256(b"%a %b" % (self.created, body)).hexdigest()[:32]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hook).decode


def check_url(url: str, private: tuple[str, ...]) -> None:
    """Raise :exc:`~comet.errors.BadHook` unless ``url`` is one that can be posted to, or
    :exc:`~comet.errors.AddressRefused` if it can be seen already that it is not public nor in a network of ``private``.
    """
    if len(url) > LONGEST_URL:
        raise BadHook(f"the URL has {len(url)} characters; at most {LONGEST_URL} are allowed")
    if not _URL.fullmatch(url) or _ODD.search(url):
        raise BadHook("the URL cannot be used: write it in ASCII, with % and xn-- for all else")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadHook("the URL cannot be used: its host or port is malformed") from None
    if "@" in parts.netloc:
        raise BadHook("the URL cannot have a user and a password in it; the signature says who posts")
    if parts.scheme not in ("http", "https") or not host:
        raise BadHook(
            f"{shown(f'{parts.scheme}:')} cannot be posted to: a URL begins with https:// or http:// and a host"
        )
    if parts.fragment or port == 0:
        raise BadHook("the URL cannot be used: leave out the fragment, and name a port above 0 or none")
    if ":" not in host and not _HOST.fullmatch(host):
        raise BadHook(f"{shown(host)} is not the name of a host")
    check_host(host, private)
