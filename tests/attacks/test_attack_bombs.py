"""Bombs: requests that are small to send and large to take in. Each is refused by its size before anything is made of
it, and the daemon neither grows nor halts."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import pytest

from tests.attacks.attacker import (
    CHUNKED,
    MEGABYTE,
    exchanged,
    memory_of,
    published,
    push,
    request,
    rest_of,
    serves,
    statuses,
)
from tests.daemons import Daemon
from tests.e2e.held import asked, connected, payload, publish, subscribe

LARGEST_HEAD = 32 * 1024
"""The daemon's ``max-head``."""


def test_headers_without_end(daemon: Daemon, topic: str) -> None:
    """Headers without an end are refused once they are too long, and the connection is closed."""
    with connected(daemon.http) as connection:
        push(connection, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-More: y\r\n" * 40_000)
        assert statuses(rest_of(connection)) == [431]
    serves(daemon, topic)


HEADS = {
    "many-headers": (["X: y"] * 20_000, 431),
    "one-long-header": (["X: " + "y" * 100_000], 431),
    "one-long-name": (["X" * 100_000 + ": y"], 431),
    "as-many-as-fit": ([f"X-{number}: y" for number in range(2_000)], 200),
    "blanks": (["X: " + " \t" * 15_000 + "y"], 200),
    "many-codings": (["Accept-Encoding: " + ",".join(["gzip;q=0.1"] * 2_500)], 200),
    "many-tags": (["If-None-Match: " + ",".join(['"a"'] * 7_000)], 200),
    "open-tags": (["If-None-Match: " + '"' * 30_000], 200),
    "many-connections": (["Connection: " + ",".join(["x"] * 15_000)], 200),
    "many-cookies": (["Cookie: " + "; ".join(["__Host-comet="] * 2_000)], 401),
}


@pytest.mark.parametrize("name", HEADS)
def test_header_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """Headers that are many, long, or made to be slow to read are answered at once, or refused by their size."""
    lines, status = HEADS[name]
    answer = exchanged(daemon.http, request("GET", "/comet.js", "Connection: close", *lines))
    assert statuses(answer) in ([status], [200])
    serves(daemon, topic)


QUERIES = {
    "long": "topic=" + "a" * 30_000,
    "longer-than-allowed": "topic=" + "a" * 100_000,
    "many-topics": "&".join(f"topic=a{number}" for number in range(3_000)),
    "many-parameters": "&".join(f"p{number}=1" for number in range(3_500)),
    "one-parameter-often": "&".join(["wait=0"] * 4_000),
    "separators": "&" * 30_000,
    "percent-signs": "topic=" + "%" * 30_000,
    "escapes": "topic=" + "%61" * 10_000,
    "a-parameter-like-others": "transpor" * 3_500,
}


@pytest.mark.parametrize("name", QUERIES)
def test_query_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """A query that is long, or of very many parameters, is refused."""
    answer = exchanged(daemon.http, request("GET", f"/topics?{QUERIES[name]}", "Connection: close"))
    assert statuses(answer)[0] in (400, 414, 431), answer
    serves(daemon, topic)


PATHS = {
    "long": "/topics/" + "a" * 30_000,
    "longer-than-allowed": "/topics/" + "a" * 100_000,
    "many-segments": "/topics" + "/a" * 15_000,
    "many-slashes": "/" * 30_000,
    "many-dots": "/.." * 10_000,
    "many-wildcards": "/topics" + "/*" * 15_000,
    "many-folders": "/demo" * 6_000,
    "escapes": "/topics/" + quote("é") * 5_000,
}


@pytest.mark.parametrize("name", PATHS)
def test_url_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """A path that is long, or deep, is refused."""
    answer = exchanged(daemon.http, request("GET", PATHS[name], "Connection: close"))
    assert statuses(answer)[0] in (400, 404, 414, 431), answer
    serves(daemon, topic)


def test_decompression_bombs(daemon: Daemon, topic: str) -> None:
    """A compressed body is never unpacked: it is published as the bytes that came, or refused as the JSON it is not."""
    before = memory_of(daemon)
    bomb = gzip.compress(b"0" * 100 * MEGABYTE)
    status, _, _ = asked(daemon.http, "POST", f"/topics/{topic}", bomb, Content_Encoding="gzip")
    assert status == 201
    with subscribe(daemon.http, f"/topics/{topic}?transport=mixed&since=first", "mixed") as held:
        assert held.until_messages(1)[0]["payload"] == bomb
    status, _, _ = asked(daemon.http, "POST", "/topics", bomb, Content_Encoding="gzip")
    assert status == 400
    assert memory_of(daemon) - before < 20 * MEGABYTE


def test_bodies_that_are_too_large(daemon: Daemon, topic: str) -> None:
    """A body beyond the largest is refused as soon as that is known, and is not kept."""
    before = memory_of(daemon)
    assert statuses(exchanged(daemon.http, request("POST", f"/topics/{topic}", f"Content-Length: {1 << 40}"))) == [413]
    with connected(daemon.http) as connection:
        push(connection, request("POST", f"/topics/{topic}", CHUNKED))
        for _ in range(20):
            push(connection, b"%x\r\n%b\r\n" % (MEGABYTE, b"x" * MEGABYTE))
        assert statuses(rest_of(connection)) == [413]
    assert memory_of(daemon) - before < 40 * MEGABYTE
    assert published(daemon, topic) == []


CHUNKS = {
    "of-one-byte": b"1\r\nx\r\n" * 1_000_000,
    "with-extensions": (b"1;" + b"a" * 500 + b"\r\nx\r\n") * 10_000,
    "with-zeros": (b"0" * 500 + b"1\r\nx\r\n") * 10_000,
}


@pytest.mark.parametrize("name", CHUNKS)
def test_tiny_chunks(daemon: Daemon, name: str, topic: str) -> None:
    """A body in chunks that are mostly not content, which takes a thousand times as long to read as the same in one, is
    refused; one in small chunks, as a program writes them, is taken."""
    answer = exchanged(daemon.http, request("POST", f"/topics/{topic}", CHUNKED, body=CHUNKS[name] + b"0\r\n\r\n"))
    assert statuses(answer) == [400]
    small = b"14\r\n01234567890123456789\r\n" * 20_000 + b"0\r\n\r\n"
    answer = exchanged(daemon.http, request("POST", f"/topics/{topic}", CHUNKED, "Connection: close", body=small))
    assert statuses(answer) == [201]
    serves(daemon, topic)


JSON = {
    "nested-arrays": b"[" * 500_000,
    "nested-arrays-that-end": b"[" * 500_000 + b"]" * 500_000,
    "nested-objects": b'{"a":' * 100_000,
    "nested-data": b'{"topic":"a","data":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "many-messages": b'{"topic":"a","data":1}\n' * 100_000,
    "many-lines": b"\n" * 1_000_000,
    "a-long-number": b'{"topic":"a","data":' + b"9" * 1_000_000 + b"e99999}x",
    "many-members": b"{" + b",".join(b'"a%d":1' % number for number in range(50_000)) + b"}",
    "a-huge-base64": b'{"topic":"a","data64":"' + b"A" * 6_000_000 + b'"}',
}


@pytest.mark.parametrize("name", JSON)
def test_json_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """JSON that is nested very deeply, or of very many messages, is refused whole."""
    status, _, body = asked(daemon.http, "POST", "/topics", JSON[name])
    assert status in (400, 413), body
    assert len(body) < 1_000
    assert published(daemon, "a") == []
    serves(daemon, topic)


def test_nested_payloads(daemon: Daemon, topic: str) -> None:
    """A payload that says it is JSON, and is nested more deeply than a reader of it could bear, is refused."""
    for nested in (b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        status, _, body = asked(daemon.http, "POST", f"/topics/{topic}", nested, Content_Type="application/json")
        assert (status, json.loads(body)["code"]) == (400, "bad_json")
    publish(daemon.http, topic, "[" * 100_000)
    with subscribe(daemon.http, f"/topics/{topic}?since=first&transport=stream", "stream") as held:
        assert payload(held.until_messages(1)[0]) == "[" * 100_000
