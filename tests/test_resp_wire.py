"""What the TCP port makes of the bytes it is sent, however they are cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.errors import CometError, PayloadTooLarge, ProtocolViolation
from comet.resp import wire
from comet.resp.wire import LooksForeign, RequestParser

LARGEST = 100
"""The ``max_payload`` of these tests."""

Seen = list[list[bytes] | tuple[type[CometError], str]]


def seen(*chunks: bytes, largest: int = LARGEST) -> Seen:
    """Return what a parser makes of ``chunks``, so that it can be compared."""
    parser = RequestParser(largest)
    requests = [request for chunk in chunks for request in parser.feed(chunk)]
    return [(type(it), it.detail) if isinstance(it, CometError) else list(it) for it in requests]


def kinds(*chunks: bytes) -> list[object]:
    """Return the commands, and only the kind of each refusal."""
    return [it[0] if isinstance(it, tuple) else it for it in seen(*chunks)]


def spelt(*words: bytes) -> bytes:
    """Return a command as client libraries send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def in_bytes(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


PUBLISH = spelt(b"PUBLISH", b"news", b"hi")
LARGE = spelt(b"PUBLISH", b"news", b"x" * (LARGEST + 1))

HI = [b"PUBLISH", b"news", b"hi"]

UNDERSTOOD = {
    "an array": (PUBLISH, [HI]),
    "a pipeline": (PUBLISH * 3, [HI] * 3),
    "arrays of different lengths": (PUBLISH + spelt(b"PING") + PUBLISH, [HI, [b"PING"], HI]),
    "empty arguments": (spelt(b"PUBLISH", b"", b"") * 2, [[b"PUBLISH", b"", b""]] * 2),
    "line breaks in a payload": (spelt(b"ECHO", b"\r\n$3\r\n*1\r\n") * 2, [[b"ECHO", b"\r\n$3\r\n*1\r\n"]] * 2),
    "a payload that looks like a command": (spelt(b"ECHO", PUBLISH) + PUBLISH, [[b"ECHO", PUBLISH], HI]),
    "any bytes": (spelt(b"ECHO", bytes(range(100))), [[b"ECHO", bytes(range(100))]]),
    "the largest payload": (spelt(b"ECHO", b"x" * LARGEST), [[b"ECHO", b"x" * LARGEST]]),
    "empty arrays": (b"*0\r\n*0\r\n" + PUBLISH + b"*0\r\n", [HI]),
    "a line": (b"PUBLISH news hi\r\n", [HI]),
    "a line that ends as on Unix": (b"PUBLISH news hi\nPING\n", [HI, [b"PING"]]),
    "a line with much space": (b" \t PUBLISH   news\thi \r\n", [HI]),
    "empty lines": (b"\r\n\n  \r\nPING\r\n\r\n", [[b"PING"]]),
    "lines and arrays": (b"PING\r\n" + PUBLISH + b"PING\n" + PUBLISH, [[b"PING"], HI, [b"PING"], HI]),
    "arrays, then lines": (PUBLISH + b"PING\r\nECHO *\r\n", [HI, [b"PING"], [b"ECHO", b"*"]]),
    "quoted words": (b"ECHO \"a b\"\r\nPUBLISH 'a b' ''\n", [[b"ECHO", b"a b"], [b"PUBLISH", b"a b", b""]]),
    "escapes": (rb'ECHO "\x00\xfF\r\n\t\b\a\"\\\q\'"' + b"\n", [[b"ECHO", b"\x00\xff\r\n\t\b\a\"\\q'"]]),
    "single quotes have one escape": (rb"ECHO 'it\'s \n \x41 \\ '" + b"\n", [[b"ECHO", rb"it's \n \x41 \\ "]]),
    "a quote within a word": (b"ECHO ab\"c d\" x'y'\n", [[b"ECHO", b"abc d", b"xy"]]),
    "an unfinished command": (PUBLISH + PUBLISH[:-1], [HI]),
    "an unfinished line": (b"PING\nPUBLISH news h", [[b"PING"]]),
    "a large payload among others": (PUBLISH + LARGE + PUBLISH, [HI, PayloadTooLarge, HI]),
}  # fmt: skip

VIOLATIONS = {
    "a length bomb": b"*2147483647\r\n$1\r\na\r\n",
    "more arguments than allowed": b"*1025\r\n",
    "a count that is no number": b"*three\r\n",
    "a negative count": b"*-1\r\n",
    "a count with a sign": b"*+1\r\n$4\r\nPING\r\n",
    "a count with a leading zero": b"*01\r\n$4\r\nPING\r\n",
    "a count with a space": b"* 1\r\n$4\r\nPING\r\n",
    "a count in other digits": "*٣\r\n".encode(),
    "no count": b"*\r\n",
    "an endless count": b"*1" + b"0" * 100,
    "a count that ends as on Unix": b"*1\n$4\r\nPING\r\n",
    "a payload bomb": b"*2\r\n$4\r\nECHO\r\n$99999999999\r\n",
    "a size beyond any number": b"*1\r\n$" + b"9" * 40,
    "a negative size": b"*1\r\n$-1\r\n",
    "a size with a leading zero": b"*1\r\n$04\r\nPING\r\n",
    "no size": b"*1\r\n$\r\n",
    "an array in an array": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "a number in an array": b"*1\r\n:1\r\n",
    "a size that is too small": b"*1\r\n$3\r\nPING\r\n",
    "a size that is too large": b"*2\r\n$4\r\nECHO\r\n$3\r\nab\r\n*1\r\n",
    "wrong sizes that make up for each other": b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nab\r\n$2\r\na\r\n",
    "a wrong size after what is read over": b"*2\r\n$101\r\n" + b"x" * 102 + b"\r\n",
    "an endless line": b"PUBLISH news " + b"x" * wire.LONGEST_LINE,
    "a line of too many words": b"a " * 1025 + b"\n",
    "an open quote": b'PUBLISH news "hello\n',
    "an open single quote": b"PUBLISH news it's\n",
    "a quote that an escape keeps open": b"ECHO 'a\\'\n",
    "something right behind a quote": b'ECHO "a"b\n',
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\nPUBLISH news hi\n",
    "JSON": b'{"topic": "news"}\r\n',
    "a reply": b"+OK\r\n",
    "a size without an array": b"$4\r\nPING\r\n",
}

FOREIGN = {
    "a form": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nPUBLISH news hi\r\n",
    "a link": b"GET /?PUBLISH HTTP/1.1\r\n",
    "any method": b"oPtIoNs * HTTP/1.1\r\n",
    "a quoted method": b"'HEAD' / HTTP/1.1\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a header": b"Host: localhost\r\n",
    "a header without space": b"content-length:10\r\n",
    "SMTP": b"EHLO evil\r\n",
    "SMTP, in small letters": b"helo evil\r\n",
    "FTP": b"USER anonymous\r\n",
    "IRC": b"NICK evil\r\n",
    "SIP": b"INVITE sip:a SIP/2.0\r\n",
    "RTSP": b"DESCRIBE rtsp://a RTSP/1.0\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "the PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
}

ALL = {name: data for name, (data, _) in UNDERSTOOD.items()} | VIOLATIONS | FOREIGN


def test_commands_are_understood() -> None:
    """Arrays and lines become the commands that they spell, with the payload byte by byte."""
    for name, (data, commands) in UNDERSTOOD.items():
        assert kinds(data) == commands, name


@pytest.mark.parametrize("name", ALL)
def test_any_split_gives_the_same(name: str) -> None:
    """However the network cuts a stream, the same commands and the same errors come of it."""
    data = ALL[name]
    whole = seen(data)
    cuts = range(len(data)) if len(data) < 1000 else (1, 500, len(data) - 1)
    for cut in cuts:
        assert seen(data[:cut], data[cut:]) == whole, cut
    if len(data) < 5000:
        assert seen(*in_bytes(data)) == whole


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_is_not_resp_is_the_end(name: str) -> None:
    """Bytes that are not RESP are refused once, and nothing that follows is executed."""
    assert kinds(VIOLATIONS[name], b"\r\n", PUBLISH) == [ProtocolViolation]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_browser_cannot_publish(name: str) -> None:
    """What looks like HTTP, or another protocol, is the end: no line of a form, or of a mail, is ever a command."""
    assert kinds(FOREIGN[name], b"\r\nPUBLISH news hi\r\n", PUBLISH) == [LooksForeign]


def test_commands_before_a_violation_count() -> None:
    """A pipeline is executed up to the byte that is wrong."""
    assert kinds(PUBLISH + b"*x\r\n" + PUBLISH) == [HI, ProtocolViolation]


def test_a_command_may_have_a_method_s_name_in_an_array() -> None:
    """A Redis client that sends GET is told that there is no such command; only a line is taken for HTTP."""
    assert kinds(spelt(b"GET", b"a")) == [[b"GET", b"a"]]


def test_large_commands_are_read_over_up_to_a_bound() -> None:
    """A payload over the limit costs that one command; one that is beyond all measure costs the connection."""
    most = wire.SKIPPED * (LARGEST + wire.OTHER_ARGUMENTS)
    assert kinds(spelt(b"ECHO", b"x" * (most - 4)), PUBLISH) == [PayloadTooLarge, HI]
    assert kinds(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (most - 3)) == [ProtocolViolation]


def test_many_arguments_together_are_bounded() -> None:
    """Many arguments, each small enough, are too large together."""
    count = (LARGEST + wire.OTHER_ARGUMENTS) // LARGEST + 1
    assert kinds(spelt(*[b"x" * LARGEST] * count), PUBLISH) == [PayloadTooLarge, HI]


def test_the_most_arguments() -> None:
    """A command may have 1024 arguments, in an array and in a line."""
    words = [b"a"] * wire.MOST_ARGUMENTS
    assert seen(spelt(*words)) == [words]
    assert seen(b" ".join(words) + b"\n") == [words]


def test_the_longest_line() -> None:
    """A line may have 64 KiB."""
    payload = b"x" * (wire.LONGEST_LINE - 6)
    assert seen(b"ECHO " + payload + b"\n") == [[b"ECHO", payload]]


def test_small_commands_are_understood_before_auth() -> None:
    """A parser that is restricted understands the same, as long as it is small, and everything once it is not."""
    parser = RequestParser(LARGEST)
    parser.restrict()
    payload = spelt(b"ECHO", b"\r\n$3\r\n*1\r\n")
    requests = parser.feed(PUBLISH * 2 + b"PING 'a b'\n" + payload + b"*0\r\nPING\r\n")
    assert requests == [HI, HI, [b"PING", b"a b"], [b"ECHO", b"\r\n$3\r\n*1\r\n"], [b"PING"]]
    parser.bound(LARGEST)
    words = [b"a"] * 20
    assert parser.feed(spelt(*words)) == [words]


TOO_LARGE = (
    *(spelt(*[b"a"] * 17), b"a " * 17 + b"\n", b"*17\r\n", b"*3\r\n$4\r\nAUTH\r\n$97\r\n"),
    *(b"*1\r\n$999999999\r\n", b"*1000000\r\n", b"*1\r\n*1\r\n", b"PING " + b"x" * wire.LONGEST_LINE),
)


@pytest.mark.parametrize("data", TOO_LARGE)
def test_large_commands_are_the_end_before_auth(data: bytes) -> None:
    """What need not be so large to say who somebody is ends the connection; it is neither kept nor read over."""
    parser = RequestParser(LARGEST)
    parser.restrict()
    assert [type(each) for each in parser.feed(data)] == [ProtocolViolation]
    assert parser.held() == 0


def test_memory_is_for_bytes_that_came() -> None:
    """A length is a promise: nothing is kept for it, and never more than one command may have."""
    parser = RequestParser(1 << 30)
    parser.feed(b"*1024\r\n$1073741824\r\n")
    assert parser.held() == 0
    parser = RequestParser(LARGEST)
    for _ in range(2000):
        parser.feed(b"*1024\r\n" if not parser.held() else b"$100\r\n" + b"x" * 100 + b"\r\n")
        assert parser.held() <= LARGEST + wire.OTHER_ARGUMENTS + 200


def test_a_large_payload_in_small_pieces() -> None:
    """A payload of a mebibyte that comes in crumbs is one payload."""
    payload = bytes(range(256)) * 4096
    data = spelt(b"PUBLISH", b"news", payload)
    chunks = [data[at : at + 100] for at in range(0, len(data), 100)]
    assert seen(*chunks, largest=1 << 20) == [[b"PUBLISH", b"news", payload]]


TOKENS = [
    b"*",
    b"$",
    b"\r\n",
    b"\n",
    b"1",
    b"3",
    b"0",
    b"-1",
    b"99999999999",
    b" ",
    b'"',
    b"'",
    b"\\",
    b"PING",
    b"GET ",
]
TOKENS += [b"$4\r\nPING\r\n", b"*1\r\n", PUBLISH, LARGE, b"PUBLISH news hi\r\n", b"a:", b"\x00", b"\xff"]
STREAMS = st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=20).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_no_bytes_confuse_it(data: bytes, cuts: list[int]) -> None:
    """Whatever is sent, however it is cut: the same requests, at most one violation, and bounded memory."""
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in pairwise(bounds)]
    result = seen(*chunks)
    assert result == seen(data) == seen(*in_bytes(data))
    violations = [it for it in result if isinstance(it, tuple) and it[0] is not PayloadTooLarge]
    assert violations == [] or violations == result[-1:]


@given(st.lists(st.lists(st.binary(max_size=LARGEST), min_size=1, max_size=6), max_size=6), st.integers(0, 400))
def test_what_a_client_spells_is_read(commands: list[list[bytes]], cut: int) -> None:
    """Every command of a client library arrives as it was."""
    data = b"".join(spelt(*words) for words in commands)
    assert seen(data[:cut], data[cut:]) == commands


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_quoting_takes_any_bytes(words: list[bytes]) -> None:
    """In double quotes, every byte can be written on a line."""
    line = b" ".join(b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"' for word in words)
    assert wire.split_line(line) == words
