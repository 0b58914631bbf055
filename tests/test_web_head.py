"""The strict reader of request heads: what can be read in two ways is refused."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.errors import BadRequest, CometError
from comet.web.head import Head, check_trailers, early_fault, parse_head

HOST = b"Host: localhost\r\n"


def head(*lines: bytes, first: bytes = b"GET /topics/a HTTP/1.1", host: bytes = HOST) -> Head:
    """Read a head with ``lines`` in it."""
    return parse_head(first + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def test_a_usual_head_is_read() -> None:
    """Method, target, version, fields and host come out; names are in lower case, values without blanks around."""
    found = head(b"Accept:  text/event-stream \t", b"X-Empty:", b"X-Blank: \t ", b"x-inside: a \t b")
    assert found.method == b"GET"
    assert found.target == b"/topics/a"
    assert found.version == b"HTTP/1.1"
    assert found.host == b"localhost"
    assert found.fields == [
        (b"host", b"localhost"),
        (b"accept", b"text/event-stream"),
        (b"x-empty", b""),
        (b"x-blank", b""),
        (b"x-inside", b"a \t b"),
    ]
    assert (found.length, found.persistent, found.expects_continue) == (0, True, False)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", "line feed alone"),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "line feed alone"),
        (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", "carriage return"),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "carriage return"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "second line"),
        (b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", "second line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xc2\x85\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\x85\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", "name: value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: 5\r\n\r\n", "name: value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "name: value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: y\r\n\r\n", "name: value"),
        (b"GET /\r\n\r\n", "request line"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "request line"),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "request line"),
        (b"PRI * HTTP/2.0\r\n\r\n", "request line"),
    ],
)
def test_malformed_heads_are_refused(data: bytes, detail: str) -> None:
    """A head that another server might read otherwise is refused, and the answer says why."""
    with pytest.raises(BadRequest, match=re.escape(detail)):
        parse_head(data)


@pytest.mark.parametrize(
    "line",
    [
        b"Host: localhost",
        b"HOST: localhost",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Content-Type: text/plain",
        b"Origin: http://localhost",
        b"Idempotency-Key: a",
        b"Last-Event-ID: a",
        b"Authorization: Bearer a",
    ],
)
def test_a_header_that_decides_something_is_there_once(line: bytes) -> None:
    """Two lengths, two hosts, two keys: nobody knows which one counts."""
    with pytest.raises(BadRequest, match="is there twice"):
        head(line, line)


def test_headers_that_are_lists_are_put_together() -> None:
    """Two lines of a list are one list: ``close`` is heard wherever it stands."""
    found = head(b"Connection: close", b"Connection: keep-alive", b"Accept: image/png", b"Accept: */*")
    assert not found.persistent
    assert found.known[b"accept"] == b"image/png, */*"


def test_cookies_in_several_lines() -> None:
    """Are one list of cookies, as a client over HTTP/2 may have sent them to a proxy (RFC 9113, section 8.2.3)."""
    assert head(b"Cookie: a=1", b"Cookie: b=2").known[b"cookie"] == b"a=1; b=2"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"localhost", b"localhost"),
        (b"LocalHost:7080", b"localhost"),
        (b"127.0.0.1:1", b"127.0.0.1"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:7080", b"[::1]"),
        (b"push_1.example.org.", b"push_1.example.org."),
    ],
)
def test_the_host_is_without_its_port(host: bytes, name: bytes) -> None:
    """The name that the client used is taken from Host."""
    assert head(host=b"Host: " + host + b"\r\n").host == name


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"a,b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a#",
        b"a\\b",
        b"\xc3\xa9",
        b"a?",
    ],
)
def test_a_junk_host_is_refused(host: bytes) -> None:
    """What is no host name and no address is not looked up anywhere."""
    with pytest.raises(BadRequest, match="is not a host"):
        head(host=b"Host: " + host + b"\r\n")


def test_http_1_1_needs_a_host() -> None:
    """Also if the request target names one: RFC 9112, section 3.2."""
    for first in (b"GET / HTTP/1.1", b"GET http://localhost/ HTTP/1.1"):
        with pytest.raises(BadRequest, match="Host is missing"):
            head(first=first, host=b"")
    assert head(first=b"GET / HTTP/1.0", host=b"").host == b""


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://push.example:8000/topics/a?b", b"/topics/a?b", b"push.example"),
        (b"HTTP://push.example", b"/", b"push.example"),
        (b"https://push.example?a", b"/?a", b"push.example"),
    ],
)
def test_a_target_with_a_host_overrides_the_header(target: bytes, path: bytes, host: bytes) -> None:
    """A client that takes the daemon for a proxy is understood, and only the host of its target counts."""
    found = head(first=b"GET " + target + b" HTTP/1.1", host=b"Host: evil.example\r\n")
    assert (found.target, found.host) == (path, host)
    assert found.known[b"host"].startswith(host)


@pytest.mark.parametrize(
    "target",
    [
        b"topics/a",
        b"?a",
        b"ftp://a/",
        b"http:/a",
        b"http://",
        b"http:///a",
        b"http://u@localhost/",
        b"localhost:80",
        b"*",
    ],
)
def test_a_junk_target_is_refused(target: bytes) -> None:
    """A target is a path, or a whole URL with a plain host."""
    with pytest.raises(BadRequest):
        head(first=b"GET " + target + b" HTTP/1.1")


def test_options_may_ask_about_the_server() -> None:
    """``OPTIONS *`` is no path, but well-formed."""
    assert head(first=b"OPTIONS * HTTP/1.1").target == b"*"


@pytest.mark.parametrize(("text", "length"), [(b"0", 0), (b"5", 5), (b"005", 5), (b"123456789012345", 123456789012345)])
def test_a_length_is_digits(text: bytes, length: int) -> None:
    """Content-Length is a plain decimal number."""
    assert head(b"Content-Length: " + text).length == length


@pytest.mark.parametrize(
    "text", [b"", b"+5", b"-5", b"5,5", b"5, 5", b"0x10", b"1_0", b"5 5", b"5.0", b"\xd9\xa5", b"9" * 16, b"five"]
)
def test_any_other_length_is_refused(text: bytes) -> None:
    """What one reader takes for 5 and another for nothing is refused."""
    with pytest.raises(BadRequest, match="Content-Length"):
        head(b"Content-Length: " + text)


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked", b"CHUNKED\t"])
def test_a_chunked_body_has_no_length(coding: bytes) -> None:
    """The one transfer coding is known in any case."""
    assert head(b"Transfer-Encoding:" + coding).length is None


@pytest.mark.parametrize(
    "coding",
    [
        b"",
        b"identity",
        b"gzip",
        b"chunked, identity",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked;q=1",
        b'"chunked"',
    ],
)
def test_any_other_coding_is_refused(coding: bytes) -> None:
    """A coding that is not known, or not alone, is refused."""
    with pytest.raises(BadRequest, match="transfer coding"):
        head(b"Transfer-Encoding: " + coding)


def test_length_and_coding_exclude_each_other() -> None:
    """The classic of request smuggling, in both orders; and HTTP/1.0 knows no coding."""
    lines = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
    for order in (lines, lines[::-1]):
        with pytest.raises(BadRequest, match="exclude"):
            head(*order)
    with pytest.raises(BadRequest, match="transfer coding"):
        head(lines[1], first=b"POST / HTTP/1.0")


def test_what_a_connection_is_for() -> None:
    """HTTP/1.1 stays open unless it is asked to close; HTTP/1.0 closes."""
    assert head(b"Connection: keep-alive").persistent
    assert not head(b"Connection: Close").persistent
    assert not head(b"Connection: keep-alive, close").persistent
    assert not head(b"Connection: keep-alive", first=b"GET / HTTP/1.0").persistent
    assert head(b"Expect: 100-Continue").expects_continue
    assert not head(b"Expect: 100-continue", first=b"GET / HTTP/1.0").expects_continue
    with pytest.raises(BadRequest, match="expectation"):
        head(b"Expect: tea")


def test_header_values_may_be_in_any_language() -> None:
    """Text in UTF-8, and in Latin-1, passes where it is no control character."""
    assert head("X: zażółć ✓".encode(), b"Y: \xe9t\xe9").known[b"x"] == "zażółć ✓".encode()


@pytest.mark.parametrize("value", [b"x" + b" " * 32_000 + b"y", b" " * 32_000, b"x" + b" \t" * 16_000, b": " * 16_000])
def test_no_header_takes_long_to_read(value: bytes) -> None:
    """A head of 32 KB is read in a moment, whatever is in it."""
    start = time.process_time()
    assert head(b"X: " + value).known[b"x"] == value.strip(b" \t")
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"*1\r\n$4\r\nPING\r\n",
        b"PUBLISH news hello\r\n",
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n",
    ],
)
def test_what_is_no_http_is_known_early(data: bytes) -> None:
    """TLS, HTTP/2 or a publisher at the wrong port need not wait for an answer until the time is over."""
    assert early_fault(data) is not None


def test_a_good_head_is_never_refused_early() -> None:
    """However it is cut, its beginning may still become a request."""
    whole = b"OPTIONS /topics/a?b=c HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n"
    for end in range(len(whole)):
        assert early_fault(whole[:end]) is None, whole[:end]


def test_trailers_are_header_lines() -> None:
    """What follows a chunked body is checked too, though it is not used."""
    check_trailers([b"X: y", b"Z:"])
    for line in (b"X: a\nb", b"no colon", b" folded: x", b"X: \0"):
        with pytest.raises(BadRequest, match="trailer"):
            check_trailers([line])


_PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"/topics/a", b"*", b"http://a", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1\r\n"),
        *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\t", b":", b"Host: a\r\n", b"Host: b\r\n", b"X: y\r\n", b",", b"?"),
        *(b"Content-Length: 5\r\n", b"Content-Length: ", b"5", b"+", b"Transfer-Encoding: chunked\r\n", b"\x85"),
        *(
            b"Transfer-Encoding: ",
            b"chunked",
            b"Connection: close\r\n",
            b"Expect: 100-continue\r\n",
            b"\0",
            b"\xc2\x85",
        ),
    ]
)
_REQUESTS = st.builds(
    lambda first, lines: first + b"".join(lines) + b"\r\n",
    st.sampled_from([b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n", b"GET http://a/ HTTP/1.1\r\n"]),
    st.lists(_PIECES, max_size=8),
)


@given(st.one_of(st.lists(_PIECES, max_size=12).map(b"".join), _REQUESTS, st.binary(max_size=80)))
def test_whatever_comes_is_read_in_one_way_or_refused(data: bytes) -> None:
    """Nothing but a refusal comes of what is no request, and what is one says the same to a simple reader."""
    early_fault(data)
    try:
        found = parse_head(data)
    except CometError as error:
        assert error.status == 400
        return
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert first.split(b" ") == [found.method, first.split(b" ")[1], found.version]
    fields = [line.split(b":", 1) for line in lines]
    assert found.fields == [(name.lower(), value.strip(b" \t")) for name, value in fields]
    names = [name for name, _ in found.fields]
    assert names.count(b"host") <= 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(value for _, value in found.fields))
    assert found.length == (None if b"transfer-encoding" in names else int(found.known.get(b"content-length", b"0")))
