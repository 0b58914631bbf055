"""A strict reader of all that an HTTP connection may be sent: responses one behind the other, then perhaps a stream."""

from __future__ import annotations

import json

from tests.framing_readers import READERS
from tests.http_wires import Response, read_head

STREAMS = {
    "application/x-ndjson": "stream",
    "text/event-stream": "sse",
    "text/html": "iframe",
    "multipart/x-mixed-replace": "multipart",
    "multipart/mixed": "mixed",
}
"""Which transport a response of a type is, that does not say how long it is."""


def check_answers(data: bytes, heads_asked: bool) -> None:
    """Fail unless ``data`` is whole responses, of which the last may be a stream. If ``heads_asked``, some may have
    been asked for by HEAD, and have no body."""
    while data:
        response, rest = _read_head(data)
        if response.status == 101:
            _check_frames(rest)
            return
        if response.status < 200 or response.status in (204, 304):
            assert "content-length" not in response.headers
            data = rest
            continue
        _check_response(response)
        if "content-length" not in response.headers:
            if heads_asked and rest.startswith(b"HTTP/1."):
                data = rest
                continue
            _check_stream(response, rest)
            return
        length = int(response.headers["content-length"])
        if heads_asked and (len(rest) < length or rest.startswith(b"HTTP/1.")):
            data = rest
            continue
        assert len(rest) >= length, f"{len(rest)} bytes of {length}"
        _check_body(response, rest[:length])
        data = rest[length:]


def _read_head(data: bytes) -> tuple[Response, bytes]:
    """Read a head, in which two things are allowed that are right and that no other test meets: twisted.web answers
    clients of HTTP/1.0 in their own language, and ``Vary``, which is a list, may be there twice."""
    head, end, rest = data.partition(b"\r\n\r\n")
    head = b"HTTP/1.1" + head.removeprefix(b"HTTP/1.0").removeprefix(b"HTTP/1.1")
    return read_head(head.replace(b"\r\nVary: Origin", b"", 1) + end + rest)


def _check_response(response: Response) -> None:
    headers = response.headers
    assert "transfer-encoding" not in headers
    if "html" in headers.get("content-type", "") or "script" in headers.get("content-type", ""):
        assert "content-security-policy" in headers, headers
        assert headers["x-content-type-options"] == "nosniff"


def _check_body(response: Response, body: bytes) -> None:
    kind = response.headers.get("content-type", "")
    if response.status >= 400:
        full = Response(response.status, response.reason, response.headers, body)
        assert full.code
        assert "Traceback" not in body.decode()
    elif kind == "application/json":
        json.loads(body)


def _check_stream(response: Response, data: bytes) -> None:
    assert response.status == 200, response
    kind = response.headers["content-type"]
    READERS[STREAMS[kind.partition(";")[0]]](kind).feed(data)


def _check_frames(data: bytes) -> None:
    """The frames of a server: none masked or fragmented, each size in its shortest form, a close the last."""
    at = 0
    while at < len(data):
        assert data[at] in (0x81, 0x88, 0x8A), data[at : at + 10]
        size, begin = data[at + 1], at + 2
        if size == 126:
            size, begin = int.from_bytes(data[begin : begin + 2]), begin + 2
            assert size >= 126
        elif size == 127:
            size, begin = int.from_bytes(data[begin : begin + 8]), begin + 8
            assert size >= 65_536
        assert size <= len(data) - begin, "half a frame"
        _check_frame(data[at], data[begin : begin + size])
        assert data[at] != 0x88 or begin + size == len(data), "something follows the close"
        at = begin + size


def _check_frame(first: int, payload: bytes) -> None:
    if first == 0x81:
        said = json.loads(payload.decode())
        assert "comet" in said or {"id", "topic"} <= said.keys(), said
    else:
        assert len(payload) <= 125
    if first == 0x88:
        assert len(payload) != 1
        payload[2:].decode()
