r"""RESP, the Redis serialization protocol, as a server reads it: bytes in, requests out.

What a publisher may send (https://redis.io/docs/latest/develop/reference/protocol-spec/)::

    request  = array / line
    array    = "*" count CRLF  count * ("$" size CRLF  size * OCTET  CRLF)
    line     = word *( 1*space word ) [ CR ] LF          ; an "inline command", what a person types into nc
    word     = any run of *plain*, "double quoted" (\n \r \t \b \a \xHH \\ \") and 'single quoted' (\') text
    count, size = "0" / nonzero *digit                   ; no sign, no leading zero

The traps: a length that promises more than will ever come (nothing is set aside for a length, only for bytes that are
here, and each length is held against its limit before its bytes are read), and a browser, or a TLS session that was
led here, whose bytes contain lines that look like commands. A line that cannot begin a command therefore ends it all.

Speed: what arrives whole and alike, as pipelines do, is cut up by a handful of calls into C for the whole chunk (the
two lanes, ``_columns`` and ``_lines``); everything else walks step by step. Both give the same requests.
``bench/resp_parsers.py`` has the figures, and the reasons against ``hiredis.Reader``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from comet.errors import CometError, PayloadTooLarge, ProtocolViolation, shown

LONGEST_LINE = 65_536
"""Bytes of an inline command, with its line feed."""

MOST_ARGUMENTS = 1024
"""Arguments of a command, its name among them."""

OTHER_ARGUMENTS = 65_536
"""Bytes that the arguments of one command may have together beside one payload of the largest size."""

MOST_UNKNOWN = 65_536
MOST_ARGUMENTS_UNKNOWN = 16
"""Bytes of a command, and its arguments, while nobody has said who sends it."""

SKIPPED = 16
"""A command that is too large by less than this factor is read over, so that the connection survives it."""

# "*" or "$", twelve digits, CR, LF, and one to spare.
_LONGEST_HEAD = 16
_COUNT = re.compile(rb"\*(0|[1-9][0-9]{0,11})\r\n")
_SIZE = re.compile(rb"\$(0|[1-9][0-9]{0,11})\r\n")
_STAR = ord("*")

# The quick lanes: commands of few short arguments. 15 * 4095 bytes stay below OTHER_ARGUMENTS, and a line of 2047
# bytes has at most MOST_ARGUMENTS words, so neither has to be counted there.
_COUNTS = {b"*%d" % count: count for count in range(1, 16)}
_SHORT_ARGUMENT = 4095
_SHORT_LINE = 2047

# What begins a line. No command has a digit in it; what begins SSH or TLS has.
_NAME = re.compile(rb"[A-Za-z_]{1,32}")
# What begins HTTP, SMTP, FTP, IRC, RTSP, SIP, and the PROXY protocol.
_FOREIGN = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT PRI "
    b"EHLO HELO LHLO MAIL RCPT DATA STARTTLS USER PASS NICK CAP JOIN "
    b"DESCRIBE SETUP ANNOUNCE PLAY REGISTER INVITE NOTIFY PROXY".split()
)

# One word of a line. Each character can be taken in one way only, so that it takes linear time. (Possessive quantifiers
# would say the same, but CPython 3.11.2, which is Debian 12's, gets them wrong on groups.)
_WORD = re.compile(
    rb"""\s*
    (?P<plain> [^\s"']* )
    (?: " (?P<double> [^"\\]* (?: \\. [^"\\]* )* ) " | ' (?P<single> [^'\\]* (?: \\(?: ' | (?!') ) [^'\\]* )* ) ' )?
    (?: \s+ | \Z )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

Request = Sequence[bytes] | CometError
"""A command's name and arguments (at least the name), or why there is none.

After a :exc:`~comet.errors.PayloadTooLarge` the next request follows. A :exc:`~comet.errors.ProtocolViolation` is the
last: where the next request would begin is not known."""


class LooksForeign(ProtocolViolation):
    """The bytes are another protocol's, such as an HTTP request, which a page in a browser may have sent: do not even
    answer."""


@cache
def _heads(longest: int) -> dict[int, bytes]:
    """Return how the size of each argument of up to ``longest`` bytes is spelt."""
    return {size: b"$%d" % size for size in range(longest + 1)}


class RequestParser:
    """Makes requests of the bytes of one connection, however they are split. Nothing here raises.

    It holds at most ``max_payload + OTHER_ARGUMENTS`` bytes of one incomplete command, and what it was fed last.
    """

    __slots__ = (
        *("_arguments", "_broken", "_declared", "_held", "_largest", "_missing", "_most", "_most_arguments"),
        *("_needed", "_refusal", "_requests", "_restricted", "_size", "_step"),
    )

    def __init__(self, max_payload: int) -> None:
        self.bound(max_payload)
        self._broken = False
        self._requests: list[Request] = []
        self._held = bytearray()
        self._needed = 0
        # The command that has begun: its arguments so far, how many are missing, and the bytes that it has announced.
        self._arguments: list[bytes] = []
        self._missing = 0
        self._declared = 0
        # The bytes of the argument that has begun, or those of it that are still to be read over.
        self._size = 0
        self._refusal: PayloadTooLarge | None = None
        # Functions, not bound methods: those would make a cycle of each connection.
        self._step: _Step = RequestParser._begin

    def bound(self, max_payload: int) -> None:
        """Take payloads of that size; one that has begun already is left for others to refuse."""
        self._largest = max_payload
        self._most = max_payload + OTHER_ARGUMENTS
        self._most_arguments = MOST_ARGUMENTS
        self._restricted = False

    def restrict(self) -> None:
        """Take only small commands, as those are with which somebody says who it is: until ``bound`` is called."""
        self._largest = self._most = min(self._largest, MOST_UNKNOWN)
        self._most_arguments = MOST_ARGUMENTS_UNKNOWN
        self._restricted = True

    def break_off(self) -> None:
        """Forget the command that has begun, and return no more of them."""
        self._broken = True
        self._arguments.clear()
        self._held.clear()

    def held(self) -> int:
        """Return how many bytes of an incomplete command are kept."""
        return len(self._held) + sum(map(len, self._arguments))

    def feed(self, data: bytes) -> list[Request]:
        """Return the requests that ``data``, with what came before, completes. After a violation there are none."""
        data = self._gathered(data)
        if not data or self._broken:
            return []
        try:
            self._parse(data)
        except ProtocolViolation as violation:
            self._broken = True
            self._arguments.clear()
            self._requests.append(violation)
        requests, self._requests = self._requests, []
        return requests

    def _gathered(self, data: bytes) -> bytes:
        """Return what was held and ``data``; or nothing, if that is known not to get anywhere yet."""
        if not self._held:
            return data
        self._held += data
        if len(self._held) < self._needed:
            return b""
        whole = bytes(self._held)
        self._held.clear()
        return whole

    def _parse(self, data: bytes) -> None:
        """Finish the command that has begun, take the quick lane, and walk through what that has left."""
        at = self._walk(data, 0) if self._missing else 0
        if at < len(data):
            at += self._quick(data[at:])
        while at < len(data):
            at = self._walk(data, at)

    def _walk(self, data: bytes, at: int) -> int:
        """Go on from ``at`` to the end of a command, or as far as ``data`` goes; return where that is."""
        while at < len(data):
            after = self._step(self, data, at)
            if after == _INCOMPLETE:
                self._held += data[at:]
                return len(data)
            at = after
            if not self._missing:
                break
        return at

    # -- the quick lanes: how many bytes of the chunk they took ------------------------------------------------------

    def _quick(self, data: bytes) -> int:
        if self._restricted:
            return 0
        if data[0] == _STAR:
            return self._columns(data)
        return self._lines(data)

    def _columns(self, data: bytes) -> int:
        """Read arrays of one length each, as a table: cut at each CRLF, every so many pieces are a column.

        A payload with a CRLF in it, or a command of another length, puts the columns out of step. That shows in a
        head that is not what its argument asks for, and the whole chunk is left to the walk.
        """
        pieces = data.split(b"\r\n")
        stride = 1 + 2 * _COUNTS.get(pieces[0], 0)
        end = (len(pieces) - 1) // stride * stride
        if stride == 1 or pieces[:end:stride].count(pieces[0]) * stride != end:
            return 0
        columns = [pieces[column:end:stride] for column in range(2, stride, 2)]
        head = _heads(min(self._largest, _SHORT_ARGUMENT)).get
        for number, column in enumerate(columns):
            if list(map(head, map(len, column))) != pieces[2 * number + 1 : end : stride]:
                return 0
        self._requests += zip(*columns, strict=True)
        return len(data) - len(b"\r\n".join(pieces[end:]))

    def _lines(self, data: bytes) -> int:
        """Read inline commands that are all short and without quotes; return how many bytes they took."""
        if b'"' in data or b"'" in data or b"\n*" in data:
            return 0
        lines = data.split(b"\n")
        rest = lines.pop()
        if not lines or max(map(len, lines)) > _SHORT_LINE:
            return 0
        found = [words for line in lines if (words := line.split())]
        if not all(map(_is_name, {words[0] for words in found})):
            return 0
        self._requests += found
        return len(data) - len(rest)

    # -- the steps of the walk: where the next one begins ------------------------------------------------------------

    def _begin(self, data: bytes, at: int) -> int:
        if data[at] != _STAR:
            return self._line(data, at)
        match = _head(_COUNT, data, at)
        if match is None:
            return self._wait(1)
        count = int(match[1])
        self._check_number(count)
        # An empty array is no command, as in Redis.
        if count:
            self._missing = count
            self._step = RequestParser._argument
        return match.end()

    def _line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at, at + LONGEST_LINE)
        if end >= 0:
            words = split_line(data[at:end])
            self._check_number(len(words))
            if words:
                _check_name(words[0])
                self._requests.append(words)
            return end + 1
        if len(data) - at >= LONGEST_LINE:
            raise ProtocolViolation(f"a line of more than {LONGEST_LINE} bytes; send the command as an array")
        return self._wait(1)

    def _check_number(self, count: int) -> None:
        if count > self._most_arguments:
            when = " before AUTH" if self._restricted else ""
            raise ProtocolViolation(f"a command of {count} arguments; at most {self._most_arguments} are allowed{when}")

    def _argument(self, data: bytes, at: int) -> int:
        match = _head(_SIZE, data, at)
        if match is None:
            return self._wait(1)
        self._size = size = int(match[1])
        self._declared += size
        if size > self._largest or self._declared > self._most:
            self._refuse()
        if self._refusal is not None:
            self._step = RequestParser._excess
            return match.end()
        self._step = RequestParser._content
        return match.end()

    def _refuse(self) -> None:
        """Read over what is too large, unless it is absurd: the publisher learns of it, and its others arrive."""
        if self._restricted:
            raise ProtocolViolation(
                f"a command of {self._declared} bytes or more; before AUTH it has at most {self._most}; "
                "AUTH, and wait for the reply"
            )
        if self._declared > SKIPPED * self._most:
            raise ProtocolViolation(
                f"a command of {self._declared} bytes or more; payloads have at most {self._largest} (max-payload)"
            )
        self._arguments.clear()
        self._refusal = self._refusal or PayloadTooLarge(
            f"an argument of {self._size} bytes; payloads have at most {self._largest} (max-payload), "
            f"and all other arguments of a command {OTHER_ARGUMENTS}"
        )

    def _content(self, data: bytes, at: int) -> int:
        end = at + self._size
        after = end + 2
        if len(data) < after:
            return self._wait(after - at)
        if data[end:after] != b"\r\n":
            raise _wrong_size(data[end:after])
        self._arguments.append(data[at:end])
        return self._next(after)

    def _excess(self, data: bytes, at: int) -> int:
        """Read over an argument of a command that is refused."""
        taken = min(self._size, len(data) - at)
        self._size -= taken
        if not self._size:
            self._step = RequestParser._excess_end
        return at + taken

    def _excess_end(self, data: bytes, at: int) -> int:
        if len(data) < at + 2:
            return self._wait(2)
        if data[at : at + 2] != b"\r\n":
            raise _wrong_size(data[at : at + 2])
        return self._next(at + 2)

    def _next(self, after: int) -> int:
        """An argument is complete; perhaps the command is."""
        self._missing -= 1
        self._step = RequestParser._argument
        if not self._missing:
            self._requests.append(self._refusal or self._arguments)
            self._arguments, self._refusal, self._declared = [], None, 0
            self._step = RequestParser._begin
        return after

    def _wait(self, needed: int) -> int:
        """Take no step before ``needed`` bytes are there: a large payload is not looked at for each piece of it."""
        self._needed = needed
        return _INCOMPLETE


_INCOMPLETE = -1
_Step = Callable[[RequestParser, bytes, int], int]


def split_line(line: bytes) -> list[bytes]:
    """Return the words of an inline command, as Redis splits it. Raises :exc:`~comet.errors.ProtocolViolation`."""
    return _quoted_words(line.strip()) if b'"' in line or b"'" in line else line.split()


def _quoted_words(line: bytes) -> list[bytes]:
    words: list[bytes] = []
    at = 0
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise ProtocolViolation(f"unbalanced quotes in {shown(line[at:])}; a quoted word ends with its quote")
        words.append(match["plain"] + _unquoted(match["double"], match["single"]))
        at = match.end()
    return words


def _unquoted(double: bytes | None, single: bytes | None) -> bytes:
    if double:
        return _ESCAPE.sub(_unescaped, double)
    return single.replace(b"\\'", b"'") if single else b""


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    return _ESCAPES.get(match[2], match[2])


def _is_name(word: bytes) -> bool:
    return _NAME.fullmatch(word) is not None and word.upper() not in _FOREIGN


def _check_name(word: bytes) -> None:
    """Refuse what is no command and may not be harmless: HTTP, or TLS with chosen bytes in it, from a browser."""
    if word.upper() in _FOREIGN or b":" in word or word.startswith(b"SSH-"):
        raise LooksForeign("this port speaks RESP, not what other protocols begin with")
    if not _is_name(word):
        raise ProtocolViolation(f"{shown(word)} cannot begin a command; this port speaks RESP")


def _head(pattern: re.Pattern[bytes], data: bytes, at: int) -> re.Match[bytes] | None:
    """Return the head at ``at``, or None if it is incomplete."""
    match = pattern.match(data, at)
    if match is None:
        start = data[at : at + _LONGEST_HEAD]
        if b"\n" in start or len(start) == _LONGEST_HEAD:
            line, _, _ = start.partition(b"\n")
            wanted = "a count such as *3" if pattern is _COUNT else "a size such as $11"
            raise ProtocolViolation(f"{shown(line)} where {wanted} was expected")
    return match


def _wrong_size(end: bytes) -> ProtocolViolation:
    return ProtocolViolation(f"{shown(end)} where CRLF was to end an argument: its size is wrong")
