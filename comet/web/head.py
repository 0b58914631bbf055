"""The strict reader of HTTP/1 request heads (RFC 9112). Sans-IO.

Whatever two servers could read in two ways is refused here, before anything looks at a header: a missing, doubled or
junk ``Host``, folded lines, bare line feeds, control characters, ``Content-Length`` together with
``Transfer-Encoding`` or twice, any coding but ``chunked``. A browser or a proxy sends none of these; request smuggling
and header injection live on them.

The whole head is matched by one expression, which is also faster than reading it line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from comet.errors import BadRequest, shown

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD = re.compile(
    rb"(?P<method>%b) (?P<target>[\x21-\x7e\x80-\xff]+) HTTP/1\.(?P<minor>[01])\r\n"
    rb"(?P<fields>(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n" % (_TOKEN, _TOKEN)
)
# No lazy repetition: with one, a value of 30 KB of blanks would take a second.
_FIELD = re.compile(rb"([^:\r\n]+):[ \t]*((?:[^\r\n]*[^ \t\r\n])?)[ \t]*\r\n")
# RFC 3986, section 3.2.2: a name, an IPv4 address, or an IP literal; with a port or without.
_HOST = re.compile(rb"([A-Za-z0-9_.~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_C1 = re.compile("[\x80-\x9f]")


class Head(NamedTuple):
    """A request head that can be read in one way only. Field names are lower case; ``known`` has one value of each:
    what is there more than once is put together as a list, as RFC 9110, section 5.3, says.

    ``host`` is without the port; ``length`` is of the body, None if it is chunked; ``persistent`` says whether the
    connection may carry another request.
    """

    method: bytes
    target: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]]
    known: dict[bytes, bytes]
    host: bytes
    length: int | None
    persistent: bool
    expects_continue: bool


def parse_head(data: bytes) -> Head:
    """Return the head that ``data`` is, from the request line up to the empty line, or raise
    :exc:`~comet.errors.BadRequest`."""
    match = _HEAD.fullmatch(data)
    if match is None:
        raise BadRequest(_fault(data))
    method, target, minor, raw = match.group("method", "target", "minor", "fields")
    fields = [(name.lower(), value) for name, value in _FIELD.findall(raw)]
    known: dict[bytes, bytes] = {}
    for name, value in fields:
        if name not in known:
            known[name] = value
        elif name in _SINGLE:
            raise BadRequest(f"the header {shown(name.decode())} is there twice")
        else:
            known[name] += (b"; " if name == b"cookie" else b", ") + value  # RFC 9113, section 8.2.3
        if not value.isascii():
            _check_text(name, value)
    target, host = _target_and_host(target, known, minor)
    if target == b"*" and method != b"OPTIONS":
        raise BadRequest("the request target '*' is for OPTIONS alone")
    length = _length(known, minor)
    persistent, expects = _connection(known, minor)
    return Head(method, target, b"HTTP/1." + minor, fields, known, host, length, persistent, expects)


_SINGLE = frozenset(
    b"host content-length transfer-encoding content-type origin authorization idempotency-key last-event-id".split()
)


def _target_and_host(target: bytes, known: dict[bytes, bytes], minor: bytes) -> tuple[bytes, bytes]:
    host = known.get(b"host")
    if host is None and minor == b"1":
        raise BadRequest("the header Host is missing")
    name = b"" if host is None else _host(host)
    absolute = None if target[:1] == b"/" else _ABSOLUTE.fullmatch(target)
    if absolute is not None:  # RFC 9112, section 3.2.2: it overrides Host
        known[b"host"], target = absolute[1], absolute[2] or b"/"
        name = _host(absolute[1])
        if target[:1] == b"?":
            target = b"/" + target
    if target[:1] != b"/" and target != b"*":
        raise BadRequest(f"the request target {shown(target)} is not a path")
    return target, name


def _host(text: bytes) -> bytes:
    match = _HOST.fullmatch(text)
    if match is None:
        raise BadRequest(f"{shown(text)} is not a host")
    return match[1].lower()


def _length(known: dict[bytes, bytes], minor: bytes) -> int | None:
    length, coding = known.get(b"content-length"), known.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest("Content-Length and Transfer-Encoding exclude each other")
        if coding.lower() != b"chunked" or minor == b"0":
            raise BadRequest(f"the transfer coding {shown(coding)} is not known; there is 'chunked', in HTTP/1.1")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise BadRequest(f"{shown(length)} is not a Content-Length")
    return int(length)


def _connection(known: dict[bytes, bytes], minor: bytes) -> tuple[bool, bool]:
    expect = known.get(b"expect", b"").lower()
    if expect not in (b"", b"100-continue"):
        raise BadRequest(f"the expectation {shown(expect)} cannot be met")
    options = known.get(b"connection", b"").lower()
    if minor == b"0":
        return False, False
    return b"close" not in options, expect != b""


def _check_text(name: bytes, value: bytes) -> None:
    """Refuse C1 control characters, in UTF-8 or in Latin-1: some readers end a line at U+0085."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    if _C1.search(text):
        raise BadRequest(f"the header {shown(name.decode())} has a control character")


_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)


def check_trailers(lines: Iterable[bytes | bytearray]) -> None:
    """Raise :exc:`~comet.errors.BadRequest` unless ``lines``, which follow a chunked body, are header lines. What they
    say is of no interest here, but a bare line feed in them could end the request for another reader."""
    for line in lines:
        if _TRAILER.fullmatch(line) is None:
            raise BadRequest(f"the trailer {shown(bytes(line))} is not a header line")


_BARE_LF = re.compile(rb"(?<!\r)\n")
_REQUEST_LINE = re.compile(rb"%b [^ ]+ HTTP/1\.[01]" % _TOKEN)
_BEGINNING = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}(?: .*)?\r?", re.DOTALL)
_FAULTS = (
    (_BARE_LF, "a line ends in a line feed alone"),
    (re.compile(rb"\r(?!\n)"), "there is a carriage return without a line feed"),
    (re.compile(rb"\r\n[ \t]"), "a header goes on in a second line"),
    (re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]"), "there is a control character"),
    (re.compile(rb"\A(?!%b\r\n)" % _REQUEST_LINE.pattern), "the request line is not one of HTTP/1.0 or HTTP/1.1"),
)


def _fault(data: bytes) -> str:
    """What is wrong with a head that does not match, for people."""
    for pattern, text in _FAULTS:
        if pattern.search(data):
            return f"the request is malformed: {text}"
    return "the request is malformed: a header line is not 'name: value'"


def early_fault(data: bytes) -> str | None:
    """What is wrong already with the beginning of a head, for people; None if it may still become one.

    Without it what is no HTTP at all (TLS, a publisher on the wrong port) would wait for a line that never comes.
    """
    if _BARE_LF.search(data):
        return _fault(data)
    line, ended, _ = data.partition(b"\r\n")
    if (_REQUEST_LINE if ended else _BEGINNING).fullmatch(line) is None:
        return "the request is malformed: the request line is not one of HTTP/1.0 or HTTP/1.1"
    return None
