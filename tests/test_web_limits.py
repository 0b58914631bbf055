"""Limits on the HTTP face: who has too much is told so, in a way that a program understands, and nothing stays behind.

Loopback clients are nobody special in these tests, so that their address counts.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
import pytest_twisted

from comet.limits.bodies import SMALL
from comet.limits.parting import LINGER, MOST
from tests.http_wires import (
    Face,
    Response,
    Wire,
    asking,
    get,
    post,
    read_head,
    read_response,
    read_responses,
    served,
    until,
)

HERE = "127.0.0.1"
POLL = get("/topics/a?wait=0")
HELD = ("poll", "stream", "sse", "iframe", "multipart", "mixed")
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def crowded(**settings: Any) -> Face:
    """A daemon to which a client on the loopback is anybody."""
    return Face(local="anonymous", anonymous=("publish:**", "subscribe:**"), **settings)


def refusal(wire: Wire) -> Response:
    """The refusal that is all there came on ``wire``, which the daemon has half closed."""
    (response,) = read_responses(wire.take())
    assert wire.closed == "half"
    assert response.headers["connection"] == "close"
    assert int(response.headers["retry-after"]) > 0
    return response


# -- connections ------------------------------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so_at_once() -> None:
    """Before it has asked for anything; the others are served on, and when one has gone there is room again."""
    face = Face(max_connections=2)
    first, second = face.connect(), face.connect()
    third = face.connect()
    answer = refusal(third)
    assert (answer.status, answer.code) == (503, "too_many_connections")
    assert first.ask(POLL).status == 200
    assert face.metrics.http_connections == 2
    assert face.metrics.refused == {"too_many_connections": 1}
    second.leave()
    fourth = face.connect()
    assert fourth.ask(POLL).status == 200
    for wire in (first, fourth):
        wire.leave()
    assert face.metrics.http_connections == 0
    assert face.metrics.limit_use["max-connections"] == 0


def test_one_address_has_its_share_of_connections() -> None:
    """And no more, whatever they are used for."""
    face = crowded(max_connections_per_address=3)
    wires = [face.connect(), face.held(get("/topics/a?transport=sse")), face.held(get("/topics/a", *HANDSHAKE))]
    assert face.metrics.addresses == 1
    answer = refusal(face.connect())
    assert (answer.status, answer.code) == (429, "too_many_from_one")
    assert HERE in answer.json()["detail"]
    for wire in wires:
        wire.leave()
    assert face.metrics.limit_use["max-connections-per-address"] == 0
    assert face.ask(POLL).status == 200


@pytest.mark.parametrize("transport", [*HELD, "websocket"])
def test_a_held_response_is_a_connection_until_it_ends(transport: str) -> None:
    """Its writer takes the connection over, and gives it back."""
    face = crowded(max_connections=1)
    further = HANDSHAKE if transport == "websocket" else ()
    wire = face.held(get(f"/topics/a?transport={transport}", *further))
    assert refusal(face.connect()).status == 503
    wire.leave()
    assert face.metrics.http_connections == 0
    assert face.ask(POLL).status == 200


def test_who_was_refused_has_a_moment_to_read() -> None:
    """What it sends is ignored; it is closed when it leaves, or soon."""
    face = Face(max_connections=1)
    face.connect()
    polite, rude = face.connect(), face.connect()
    for wire in (polite, rude):
        wire.send(POLL)
        assert refusal(wire).status == 503
    polite.leave()
    assert len(list(face.router.limits.partings)) == 1
    face.pass_time(LINGER + 1)
    assert rude.closed == "aborted"
    assert len(list(face.router.limits.partings)) == 0
    assert face.metrics.http_connections == 1


def test_of_those_who_were_refused_only_some_may_linger() -> None:
    """A flood is closed in the moment it comes."""
    face = Face(max_connections=1)
    face.connect()
    wires = [face.connect() for _ in range(MOST + 10)]
    assert len(list(face.router.limits.partings)) == MOST
    assert [wire.closed for wire in wires] == ["half"] * MOST + ["aborted"] * 10


@pytest_twisted.ensureDeferred
async def test_a_flood_of_real_connections_is_answered() -> None:
    """On real sockets those that may not linger have the whole answer, too, and then the end of the connection."""
    async with served(max_connections=1) as face:
        first = await face.client(POLL)
        clients = [await face.client() for _ in range(MOST + 10)]
        for client in clients:
            await until(lambda client=client: bool(client.read()) and client.ended)  # type: ignore[misc]
            (answer,) = read_responses(client.data)
            assert (answer.status, answer.code) == (503, "too_many_connections")
            client.socket.close()
        first.socket.close()
        await face.freed()


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [*HELD, "websocket"])
def test_one_address_has_its_share_of_streams(transport: str) -> None:
    """One too many is refused; when one ends there is room again, however it ends."""
    face = crowded(max_streams_per_address=2)
    further = HANDSHAKE if transport == "websocket" else ()
    asked = get(f"/topics/a?transport={transport}", *further)
    first, second = face.held(asked), face.held(asked)
    answer = face.ask(asked)
    assert (answer.status, answer.code) == (429, "too_many_from_one")
    assert int(answer.headers["retry-after"]) > 0
    assert face.metrics.limit_use["max-streams-per-address"] == 1.0
    first.leave()
    third = face.held(asked)
    assert len(face.router.streams) == 2
    for subscription in tuple(face.router.streams.values()):
        face.router.end(subscription, "enough")
    for wire in (second, third):
        wire.leave()
    assert not face.left_behind()
    assert face.metrics.limit_use["max-streams-per-address"] == 0


# -- rates ------------------------------------------------------------------------------------------------------------


def test_too_many_requests_are_told_when_to_come_again() -> None:
    """On the same connection, which is kept; a second later there is room again."""
    face = crowded(requests_per_address=2, burst=2.0)
    wire = face.connect()
    assert [wire.ask(POLL).status for _ in range(4)] == [200] * 4
    answer = wire.ask(POLL)
    assert (answer.status, answer.code) == (429, "too_many_requests")
    assert answer.headers["retry-after"] == "1"
    assert not wire.closed
    face.pass_time(1)
    assert wire.ask(POLL).status == 200
    assert face.metrics.refused == {"too_many_requests": 1}


def test_too_many_publishes_are_refused_whole() -> None:
    """Nothing of a batch is published that is one message too large."""
    face = crowded(publishes_per_address=2, burst=2.0)
    lines = b'{"topic":"a","data":1}\n'
    kind = "Content-Type: application/x-ndjson"
    assert face.ask(post("/topics", lines * 3, kind)).status == 201
    assert face.ask(post("/topics", lines * 2, kind)).code == "too_many_requests"
    assert face.publish("a", b"1").status == 201
    assert face.publish("a", b"1").status == 429
    assert face.router.log.count == 4


def test_programs_of_this_machine_are_not_counted() -> None:
    """By default, whatever the limits are."""
    face = Face(requests_per_address=1, publishes_per_address=1, max_streams_per_address=1, burst=1.0)
    for _ in range(20):
        assert face.publish("a", b"1").status == 201
        face.held(get("/topics/a?transport=sse"))
    assert face.metrics.addresses == 0


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [100, 101])
def test_a_url_bomb(length: int) -> None:
    """A path with its query has a bound of its own."""
    wire = Face(max_url=100).connect()
    wire.send(get("/topics/a?wait=0&since=".ljust(length, "0")))
    answer, _ = read_response(wire.take())
    assert (answer.status, answer.code) == ((414, "url_too_long") if length > 100 else (400, "bad_since"))


def test_a_request_line_without_end() -> None:
    """Is refused when it is as long as a head may be, and not read on."""
    wire = Face(max_head=1_000).connect()
    wire.send(b"GET /")
    for _ in range(20):
        wire.send(b"x" * 100)
    (answer,) = read_responses(wire.take())
    assert (answer.status, answer.code) == (414, "url_too_long")
    assert wire.closed == "half"


# -- bodies -----------------------------------------------------------------------------------------------------------


def bodies(face: Face, count: int, size: int) -> list[Wire]:
    """As many bodies, of which all but a byte has come."""
    wires = []
    for _ in range(count):
        wire = face.connect()
        wire.send(asking("POST", "/topics/a", f"Content-Length: {size + 1}") + b"x" * size)
        wires.append(wire)
    return wires


def test_bodies_have_a_bound_together() -> None:
    """What is beyond is refused, and what was there is published."""
    face = Face(max_bodies=10_000)
    wires = bodies(face, 10, 1_000)
    assert face.router.limits.bodies.taken == 10_000
    (late,) = bodies(face, 1, 1)
    answer = refusal(late)
    assert (answer.status, answer.code) == (503, "too_many_bodies")
    wires.pop().leave()
    for wire in wires:
        wire.send(b"x")
    assert [read_response(wire.take())[0].status for wire in wires] == [201] * 9
    assert face.router.limits.bodies.taken == 0


def test_large_bodies_leave_room_for_small_ones() -> None:
    """A few clients that take their time over large bodies do not keep others from publishing."""
    face = Face(max_bodies=8 * SMALL)
    bodies(face, 2, 2 * SMALL)
    (large,) = bodies(face, 1, 2 * SMALL)
    assert refusal(large).code == "too_many_bodies"
    assert face.publish("a", b"x" * SMALL).status == 201


@pytest.mark.parametrize(
    "end",
    [
        lambda face, wire: wire.leave(),
        lambda face, wire: wire.send(b"x"),
        lambda face, wire: wire.send(b"x" + POLL * 3),
        lambda face, wire: face.pass_time(40),
    ],
    ids=["left", "answered", "pipelined", "too slow"],
)
def test_a_body_is_forgotten_however_its_request_ends(end: Any) -> None:
    """The client may leave, be answered, or be too slow."""
    face = Face()
    (wire,) = bodies(face, 1, 5_000)
    assert face.router.limits.bodies.taken == 5_000
    end(face, wire)
    assert face.router.limits.bodies.taken == 0


def test_a_chunked_body_is_counted_too() -> None:
    """And one that is larger than allowed is not counted any more."""
    face = Face(max_body=10_000, max_payload=10_000)
    wire = face.connect()
    wire.send(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert face.router.limits.bodies.taken == 4096
    wire.send(b"2000\r\n" + b"x" * 8192)
    assert read_response(wire.take())[0].code == "payload_too_large"
    assert face.router.limits.bodies.taken == 0


def test_a_body_of_a_request_that_is_held() -> None:
    """Once its connection belongs to the stream there is no body any more."""
    face = Face()
    wire = face.connect()
    wire.send(asking("GET", "/topics/a?transport=sse", "Content-Length: 5") + b"12345")
    assert read_head(wire.take())[0].status == 200
    assert face.router.limits.bodies.taken == 0


# -- messages on a WebSocket ------------------------------------------------------------------------------------------


def spoken(face: Face) -> Wire:
    """A WebSocket that is open."""
    wire = face.held(get("/topics/a", *HANDSHAKE))
    wire.take()
    return wire


def fragment(payload: bytes, *, opcode: int = 0, last: bool = False) -> bytes:
    """A frame of a message; the mask of four zero bytes leaves it as it is."""
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
    return bytes(((0x80 if last else 0) | opcode,)) + size + bytes(4) + payload


def close_code(wire: Wire) -> int:
    """Why the daemon has closed the WebSocket."""
    data = wire.take()
    assert data[0] == 0x88, data
    return int.from_bytes(data[2:4], "big")


def test_fragments_without_end() -> None:
    """A message that never becomes whole has the time of a body, however often a piece of it comes."""
    face = Face()
    wire = spoken(face)
    wire.send(fragment(b'{"publish":', opcode=1))
    for _ in range(29):
        face.pass_time(1)
        wire.send(fragment(b" "))
        wire.take()
    assert face.router.limits.bodies.taken == 40
    face.pass_time(3)
    assert close_code(wire) == 1008
    assert face.router.limits.bodies.taken == 0


def test_fragments_have_a_bound_together_with_bodies() -> None:
    """Many large messages that are not whole do not take all the memory there is."""
    face = Face(max_bodies=30_000)
    first, second = spoken(face), spoken(face)
    for wire in (first, second):
        wire.send(fragment(b"x" * 15_000, opcode=1))
    assert face.router.limits.bodies.taken == 30_000
    second.send(fragment(b"x"))
    assert close_code(second) == 1013
    assert face.router.limits.bodies.taken == 15_000
    first.leave()
    second.leave()
    assert face.router.limits.bodies.taken == 0


def test_a_message_in_pieces_is_forgotten_when_it_is_whole() -> None:
    """It is published, and its time is not that of the next one."""
    face = Face()
    wire = spoken(face)
    wire.send(fragment(b'{"publish":"b",', opcode=1))
    face.pass_time(20)
    wire.send(fragment(b'"data":1,"ref":1}', last=True))
    assert b'"comet":"ok"' in wire.take()
    assert face.router.limits.bodies.taken == 0
    face.pass_time(20)
    assert b"\x88" not in wire.take()
    wire.leave()
    assert not face.left_behind()


def test_a_message_that_is_too_large_is_given_back() -> None:
    """What there was of it, too."""
    face = Face(max_payload=1_000)
    wire = spoken(face)
    wire.send(fragment(b"x" * 60_000, opcode=1))
    wire.send(fragment(b"x" * 60_000))
    assert close_code(wire) == 1009
    assert face.router.limits.bodies.taken == 0
