"""WebSocket frames that no honest client sends: without end, without mask, compressed, oversized, by the thousand."""

from __future__ import annotations

import zlib

import pytest

from tests.attacks.attacker import MEGABYTE, memory_of, narrow, published, push, request, rest_of, restored, serves
from tests.attacks.frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FINAL,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    close_code,
    frame,
    opened,
    text,
)
from tests.daemons import Daemon, running
from tests.e2e.held import asked_json, subscribe
from tests.e2e.waiting import until

EVIL = {"publish": "forbidden", "data": "evil"}
PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF8, TOO_BIG = 1002, 1003, 1007, 1009
HUGE = b"\x7f" + (1 << 63).to_bytes(8)
LARGEST = b"\x7f" + ((1 << 63) - 1).to_bytes(8)


def deflated(data: bytes) -> bytes:
    """``data`` as permessage-deflate has it."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


BROKEN = {
    "compressed": (frame(FINAL | COMPRESSED | TEXT, deflated(b'{"publish":"forbidden","data":1}')), PROTOCOL_ERROR),
    "a-compressed-bomb": (frame(FINAL | COMPRESSED | TEXT, deflated(b"0" * MEGABYTE)), PROTOCOL_ERROR),
    "rsv-2": (frame(FINAL | 0x20 | TEXT, b"{}"), PROTOCOL_ERROR),
    "rsv-3": (frame(FINAL | 0x10 | TEXT, b"{}"), PROTOCOL_ERROR),
    "unmasked": (frame(FINAL | TEXT, b'{"publish":"forbidden","data":1}', mask=None), PROTOCOL_ERROR),
    "unmasked-ping": (frame(FINAL | PING, mask=None), PROTOCOL_ERROR),
    "a-length-of-2-to-63": (frame(FINAL | TEXT, b"x", length=HUGE), PROTOCOL_ERROR),
    "the-largest-length": (frame(FINAL | TEXT, b"x" * 4_000_000, length=LARGEST), TOO_BIG),
    "a-length-in-two-forms": (frame(FINAL | TEXT, b"{}", length=b"\x7e\x00\x02"), PROTOCOL_ERROR),
    "a-length-in-three-forms": (frame(FINAL | TEXT, b"{}", length=b"\x7f" + bytes(7) + b"\x02"), PROTOCOL_ERROR),
    "a-long-ping": (frame(FINAL | PING, b"x" * 126), PROTOCOL_ERROR),
    "a-ping-in-pieces": (frame(PING, b"x"), PROTOCOL_ERROR),
    "a-close-in-pieces": (frame(CLOSE), PROTOCOL_ERROR),
    "a-continuation-of-nothing": (frame(FINAL | CONTINUATION, b"{}"), PROTOCOL_ERROR),
    "a-message-in-a-message": (frame(TEXT, b"{") + frame(FINAL | TEXT, b"}"), PROTOCOL_ERROR),
    "an-unknown-opcode": (frame(FINAL | 3, b"{}"), PROTOCOL_ERROR),
    "an-unknown-control-opcode": (frame(FINAL | 11, b""), PROTOCOL_ERROR),
    "not-utf-8": (frame(FINAL | TEXT, b'{"publish":"forbidden","data":"\xff"}'), NOT_UTF8),
    "a-surrogate": (frame(FINAL | TEXT, b'"\xed\xa0\x80"'), NOT_UTF8),
    "binary": (frame(FINAL | BINARY, b'{"publish":"forbidden","data":1}'), UNSUPPORTED),
    "a-close-of-one-byte": (frame(FINAL | CLOSE, b"\x03"), PROTOCOL_ERROR),
    "a-close-with-a-code-of-nobody": (frame(FINAL | CLOSE, (1005).to_bytes(2)), PROTOCOL_ERROR),
    "a-request": (request("POST", "/topics/forbidden", "Content-Length: 4", body=b"evil"), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames(daemon: Daemon, name: str, topic: str) -> None:
    """A frame that breaks the protocol ends the stream with the code for it, and a publish behind it is not executed;
    the others on the topic go on."""
    data, code = BROKEN[name]
    with opened(daemon.http, topic) as (connection, _):
        push(connection, data + text(EVIL))
        assert close_code(connection) == code
    assert published(daemon, "forbidden") == []
    serves(daemon, topic)


def test_fragments_without_end(daemon: Daemon, topic: str) -> None:
    """A message in fragments that never ends is ended once it is larger than any message may be."""
    before = memory_of(daemon)
    with opened(daemon.http, topic) as (connection, _):
        push(connection, frame(TEXT, b"x" * 1_000))
        for _ in range(1_000):
            if not push(connection, frame(CONTINUATION, b"x" * 10_000)):
                break
        assert close_code(connection) == TOO_BIG
    assert memory_of(daemon) - before < 20 * MEGABYTE
    serves(daemon, topic)


def test_empty_fragments_without_end(daemon: Daemon, topic: str) -> None:
    """Fragments without content, by the hundred thousand, cost no memory and hold up nobody else."""
    before = memory_of(daemon)
    with opened(daemon.http, topic) as (connection, _):
        push(connection, frame(TEXT, b"{"))
        for _ in range(100):
            push(connection, frame(CONTINUATION) * 1_000)
        serves(daemon, f"{topic}/other")
        assert memory_of(daemon) - before < 10 * MEGABYTE
        push(connection, frame(FINAL | CONTINUATION, b"}") + frame(FINAL | CLOSE))
        assert rest_of(connection).count(b'"comet":"error"') == 1, "what it was in the end is no wish"


def test_pings_without_end(topic: str) -> None:
    """Who sends pings without end and does not read the answers is not read from any more: they do not pile up. It is
    dropped after ``stall``, and others are served meanwhile."""
    with running("--stall", "2s") as daemon, restored(daemon), narrow(daemon.http) as connection:
        push(connection, request("GET", f"/topics/{topic}", *HANDSHAKE))
        assert connection.recv(10)
        before = memory_of(daemon)
        connection.settimeout(1)
        assert not push(connection, frame(FINAL | PING, b"x" * 125) * 400_000), "all were taken"
        assert memory_of(daemon) - before < 10 * MEGABYTE
        serves(daemon, topic)
        until(lambda: asked_json(daemon.http, "/stats")["connections"]["http"] == 1, "it was dropped")


def test_pings_that_are_answered(daemon: Daemon, topic: str) -> None:
    """Twenty thousand pings at once are answered as far as the newest of those that are read together, and an honest
    subscriber has his message in between."""
    with (
        opened(daemon.http, topic) as (connection, _),
        subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream") as honest,
    ):
        push(connection, frame(FINAL | PING) * 20_000 + frame(FINAL | PING, b"newest") + frame(FINAL | PONG) * 20_000)
        push(connection, text({"publish": topic, "data": "on"}))
        assert honest.until_messages(1)[0]["data"] == "on"
        push(connection, frame(FINAL | CLOSE))
        rest = rest_of(connection)
        assert rest.count(b"\x8a\x06newest") == 1
        assert rest.count(b"\x8a\x00") < 20_000 / 32


def test_compression_is_not_negotiated(daemon: Daemon, topic: str) -> None:
    """Whatever extensions a client offers, none is agreed on."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"
    with opened(daemon.http, topic, offer) as (_, data):
        assert b"extensions" not in data.lower()


MESSAGES = {
    "nested": b'{"subscribe":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "nested-data": b'{"publish":"forbidden","data":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "many-patterns": b'{"subscribe":[' + b",".join(b'"a%d"' % number for number in range(20_000)) + b"]}",
    "a-long-ref": b'{"publish":"forbidden","data":1,"ref":"' + b"x" * 100_000 + b'"}',
    "many-members": b"{" + b",".join(b'"a%d":1' % number for number in range(20_000)) + b"}",
    "no-object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_bombs(daemon: Daemon, name: str, topic: str) -> None:
    """A message that is nested very deeply, or very long where it should not be, is refused, and the stream goes on."""
    with opened(daemon.http, topic) as (connection, _):
        push(connection, frame(FINAL | TEXT, MESSAGES[name]) + frame(FINAL | CLOSE))
        answer = rest_of(connection)
        assert answer.count(b'"comet":"error"') == 1
        assert len(answer) < 1_000
    assert published(daemon, "forbidden") == []
