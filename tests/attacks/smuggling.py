"""Requests that two readers of HTTP may take apart in two ways (RFC 9112, section 11.2).

Each is one request for whoever reads it as its author hopes, and two for somebody else, of whom the second publishes on
a topic on which nobody may. ``REFUSED`` must not be understood by the daemon at all; ``UNDERSTOOD`` may be read in one
way only, and must be.
"""

from __future__ import annotations

from tests.attacks.attacker import CHUNKED, publishing, request

EVIL = publishing("forbidden")
"""What is to be slipped in."""

END = b"0\r\n\r\n"


def carrying(*lines: str, body: bytes = b"") -> bytes:
    """A request that publishes on a topic where everybody may."""
    return request("POST", "/topics/open", *lines, body=body)


def chunked(body: bytes, *lines: str) -> bytes:
    """The same with a body in chunks, however well they are made."""
    return carrying(CHUNKED, *lines, body=body)


def _headers() -> dict[str, bytes]:
    """What is ambiguous is in the head."""
    length = f"Content-Length: {len(EVIL)}"
    return {
        "two-lengths": carrying("Content-Length: 0", length, body=EVIL),
        "two-lengths-the-other-way": carrying(length, "Content-Length: 0", body=EVIL),
        "two-equal-lengths": carrying("Content-Length: 2", "Content-Length: 2", body=b"hi" + EVIL),
        "a-list-of-lengths": carrying(f"Content-Length: 0, {len(EVIL)}", body=EVIL),
        "a-length-and-chunks": carrying(length, CHUNKED, body=END + EVIL),
        "chunks-and-a-length": carrying(CHUNKED, length, body=END + EVIL),
        "a-length-with-a-plus": carrying(f"Content-Length: +{len(EVIL)}", body=EVIL),
        "a-length-with-a-minus": carrying("Content-Length: -1", body=EVIL),
        "a-length-in-hexadecimal": carrying(f"Content-Length: {len(EVIL):#x}", body=EVIL),
        "a-length-with-a-comma": carrying(f"Content-Length: {len(EVIL)},", body=EVIL),
        "a-length-with-an-underscore": carrying("Content-Length: 1_0", body=EVIL),
        "an-empty-length": carrying("Content-Length: ", body=EVIL),
        "a-length-of-other-digits": carrying("Content-Length: \xb2", body=EVIL),
        "a-length-beyond-64-bits": carrying("Content-Length: 18446744073709551616", body=EVIL),
        "a-blank-before-the-colon": carrying(f"Content-Length : {len(EVIL)}", body=EVIL),
        "a-tab-before-the-colon": carrying("Transfer-Encoding\t: chunked", body=END + EVIL),
        "a-null-in-the-name": carrying("Transfer-Encoding\0: chunked", body=END + EVIL),
        "a-folded-line": carrying("X: y", f" Content-Length: {len(EVIL)}", body=EVIL),
        "a-folded-coding": carrying("Transfer-Encoding:", " chunked", body=END + EVIL),
        "a-folded-first-line": request("POST", "/topics/open", body=EVIL).replace(b"Host", b" X: y\r\nHost", 1),
        "a-bare-line-feed": carrying(f"X: y\nContent-Length: {len(EVIL)}", body=EVIL),
        "a-bare-carriage-return": carrying(f"X: y\rContent-Length: {len(EVIL)}", body=EVIL),
        "an-end-of-line-feeds": b"POST /topics/open HTTP/1.1\nHost: localhost\n\n" + EVIL,
        "an-end-of-one-line-feed": b"POST /topics/open HTTP/1.1\r\nHost: localhost\r\n\n" + EVIL,
        "a-null-in-a-value": carrying(f"X: \0\r\nContent-Length: {len(EVIL)}", body=EVIL),
        "another-end-of-line": carrying(f"X: \x85Content-Length: {len(EVIL)}", body=EVIL),
    }


def _codings() -> dict[str, bytes]:
    """What is ambiguous is whether the body is in chunks."""
    values = (
        *("xchunked", "chunked, identity", "identity", "identity, chunked", "chunked, chunked", "gzip, chunked"),
        *("chunked;q=1", '"chunked"', "chunked,", ",chunked", "chunk", "\x0bchunked", "chunked\x0c", "x chunked", ""),
        *("\xa0chunked", "chunked\0", "cow"),
    )
    found = {f"coding-{value!a}": carrying(f"Transfer-Encoding: {value}", body=END + EVIL) for value in values}
    two = carrying("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=END + EVIL)
    old = carrying(CHUNKED, body=END + EVIL).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    return {**found, "two-codings": two, "chunks-in-http-1.0": old}


def _chunks() -> dict[str, bytes]:
    """What is ambiguous is where a chunk ends."""
    inside = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)
    sizes = {
        "plus": b"+2",
        "minus": b"-2",
        "prefix": b"0x2",
        "blank-in-front": b" 2",
        "blank-behind": b"2 ",
        "tab-behind": b"2\t",
        "underscore": b"0_2",
        "empty": b"",
        "not-hexadecimal": b"g",
        "null": b"2\0",
        "very-long": b"0" * 5000 + b"2",
        "full-width": "２".encode(),
    }
    found = {f"size-{name}": chunked(size + b"\r\nhi\r\n" + END + EVIL) for name, size in sizes.items()}
    return {
        **found,
        "size-ends-in-a-line-feed": chunked(b"2\nhi\r\n" + END + EVIL),
        "size-ends-in-a-carriage-return": chunked(b"2\rhi\r\n" + END + EVIL),
        "chunk-is-longer": chunked(b"2\r\nhih\r\n" + END + EVIL),
        "chunk-is-shorter": chunked(b"3\r\nhi\r\n" + END + EVIL),
        "chunk-ends-in-a-line-feed": chunked(b"2\r\nhi\n" + END + EVIL),
        "chunk-ends-in-nothing": chunked(b"2\r\nhi" + END + EVIL),
        "chunk-ends-in-anything": chunked(b"2\r\nhixx" + END + EVIL),
        "extension-with-a-line-feed": chunked(b"2;a\nb\r\nhi\r\n" + END + EVIL),
        "extension-with-a-carriage-return": chunked(b"2;a\rb\r\nhi\r\n" + END + EVIL),
        "extension-with-a-null": chunked(b"2;\0\r\nhi\r\n" + END + EVIL),
        "extension-without-end": chunked(b"2;" + b"a" * 100_000 + b"\r\nhi\r\n" + END + EVIL),
        "extension-hides-a-body": chunked(b"2;\n" + inside),
        "end-is-line-feeds": chunked(b"0\n\n" + EVIL),
        "end-is-a-carriage-return-too-many": chunked(b"0\r\r\n\r\n" + EVIL),
        "trailer-with-a-line-feed": chunked(b"0\r\nX: y\n\r\n\r\n" + EVIL),
        "trailer-is-a-request": chunked(b"0\r\n" + EVIL),
        "trailer-is-folded": chunked(b"0\r\nX: y\r\n z\r\n\r\n" + EVIL),
        "trailer-with-a-null": chunked(b"0\r\nX: \0\r\n\r\n" + EVIL),
        "trailers-without-end": chunked(b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n" + EVIL),
        "no-last-chunk": chunked(b"2\r\nhi\r\n\r\n" + EVIL),
    }


def _targets() -> dict[str, bytes]:
    """What is ambiguous is the request line, or whom the request is for."""
    plain = request("GET", "/healthz")
    return {
        "two-hosts": request("GET", "/healthz", "Host: evil.example") + EVIL,
        "a-list-of-hosts": request("GET", "/healthz", host="localhost, evil.example") + EVIL,
        "a-host-with-a-user": request("GET", "/healthz", host="evil@localhost") + EVIL,
        "a-target-with-a-user": request("GET", "http://evil@localhost/healthz") + EVIL,
        "a-target-of-another-scheme": request("GET", "gopher://localhost/healthz") + EVIL,
        "a-target-with-a-blank": request("GET", "/healthz HTTP/1.1\tx") + EVIL,
        "a-target-with-a-request": request("GET", "/healthz HTTP/1.1\r\n\r\nPOST /topics/forbidden") + EVIL,
        "two-blanks": plain.replace(b" /", b"  /", 1) + EVIL,
        "a-tab": plain.replace(b" /", b"\t/", 1) + EVIL,
        "a-blank-in-front": b" " + plain + EVIL,
        "a-blank-behind": plain.replace(b"/1.1\r", b"/1.1 \r", 1) + EVIL,
        "another-version": plain.replace(b"HTTP/1.1", b"HTTP/1.2", 1) + EVIL,
        "a-version-in-small-letters": plain.replace(b"HTTP/1.1", b"http/1.1", 1) + EVIL,
        "no-version": b"GET /healthz\r\n\r\n" + EVIL,
        "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EVIL,
        "no-host": b"GET /healthz HTTP/1.1\r\n\r\n" + EVIL,
    }


REFUSED = {**_headers(), **_codings(), **_chunks(), **_targets()}
"""By name."""

UNDERSTOOD = {
    "coding-in-capitals": carrying("TRANSFER-ENCODING: CHUNKED", "Connection: close", body=END) + EVIL,
    "coding-behind-a-tab": carrying("Transfer-Encoding:\tchunked\t", "Connection: close", body=END) + EVIL,
    "length-behind-a-tab": carrying("Content-Length:\t0 ", "Connection: close") + EVIL,
    "length-with-zeros": carrying("Content-Length: 000", "Connection: close") + EVIL,
    "size-with-zeros": chunked(b"0002\r\nhi\r\n" + END, "Connection: close") + EVIL,
    "size-in-capitals": chunked(b"A\r\n0123456789\r\n" + END, "Connection: close") + EVIL,
    "extension": chunked(b"2;a=b;c\r\nhi\r\n" + END, "Connection: close") + EVIL,
    "trailer": chunked(b"0\r\nX: y\r\nContent-Length: 9\r\n\r\n", "Connection: close") + EVIL,
    "get-with-a-body": request("GET", "/healthz", f"Content-Length: {len(EVIL)}", "Connection: close", body=EVIL),
    "body-is-a-request": carrying(f"Content-Length: {len(EVIL)}", "Connection: close", body=EVIL),
    "chunk-is-a-request": chunked(b"%x\r\n%b\r\n" % (len(EVIL), EVIL) + END, "Connection: close"),
    "http-1.0": request("GET", "/healthz").replace(b"HTTP/1.1", b"HTTP/1.0") + EVIL,
}
"""What is unusual, but can be read in one way only: it is answered, and nothing behind it or in it is a request."""

UNENDED = {
    "size-beyond-64-bits": chunked(b"1" + b"0" * 16 + b"2\r\nhi\r\n" + END + EVIL),
    "length-beyond-the-request": carrying(f"Content-Length: {len(EVIL) + 1}", body=EVIL),
    "get-with-half-a-body": request("GET", "/healthz", f"Content-Length: {len(EVIL) + 1}", body=EVIL),
    "no-end-of-the-chunks": chunked(b"2\r\nhi\r\n"),
}
"""What promises more than comes: to wait for it is right, and to take what came for a request would be wrong."""
