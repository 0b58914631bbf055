"""One connection: its requests one after the other, its limits and its deadlines."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.interfaces import IHalfCloseableProtocol

from comet.web.channel import AHEAD, Channel
from tests.http_wires import (
    Face,
    Response,
    Wire,
    asking,
    get,
    position,
    post,
    read_head,
    read_response,
    read_responses,
    served,
    until,
)

POLL = get("/topics/news?wait=0")


@pytest.fixture
def face() -> Face:
    """A daemon in memory."""
    return Face()


def refused(wire: Wire) -> Response:
    """The refusal that is all there came on ``wire``, which the daemon has closed."""
    (response,) = read_responses(wire.take())
    assert response.headers["connection"] == "close"
    assert response.headers["cache-control"] == "no-store"
    assert wire.closed == "half"
    return response


# -- requests one after the other -------------------------------------------------------------------------------------


def test_a_request_may_come_in_any_pieces(face: Face) -> None:
    """However the network cuts a request, its answer is the same."""
    body = b'{"bid":120}'
    for data in (
        post("/topics/a", body, "Content-Type: application/json"),
        asking("POST", "/topics/a", "Transfer-Encoding: chunked")
        + b'4;x=y\r\n{"bi\r\n7\r\nd":120}\r\n0\r\nX: y\r\n\r\n',
    ):
        for cut in range(1, len(data)):
            wire = face.connect()
            wire.send(data[:cut])
            assert wire.take() == b"", data[:cut]
            assert wire.ask(data[cut:]).status == 201
        wire = face.connect()
        for byte in data:
            wire.send(bytes((byte,)))
        assert read_responses(wire.take())[0].status == 201
    answer = face.ask(get("/topics/a?since=last&wait=0"))
    assert answer.json()["messages"][0]["data"] == '{"bid":120}'


def test_a_connection_is_kept(face: Face) -> None:
    """Requests follow each other on one connection, whatever they are."""
    wire = face.connect()
    assert wire.ask(post("/topics/a", b"1")).status == 201
    assert wire.ask(get("/nowhere")).code == "not_found"
    assert wire.ask(get("/topics/a?since=first")).json()["messages"][0]["data"] == "1"
    assert wire.ask(post("/topics/**", b"1")).code == "bad_topic"
    assert wire.ask(asking("DELETE", "/topics/a")).code == "method_not_allowed"
    assert wire.ask(asking("HEAD", "/nowhere")).status == 404
    assert wire.ask(POLL).json()["messages"] == []
    assert not wire.closed


def test_pipelined_requests_are_answered_in_order(face: Face) -> None:
    """A client need not wait for an answer to send the next request."""
    wire = face.connect()
    wire.send(b"".join(post("/topics/a", b"%d" % number) for number in range(50)) + get("/topics/a?since=first"))
    *posted, polled = read_responses(wire.take())
    assert [answer.json()["id"] for answer in posted] == [position(number) for number in range(1, 51)]
    assert [message["data"] for message in polled.json()["messages"]] == [str(number) for number in range(50)]


def test_pipelined_requests_wait_for_a_slow_store(face: Face) -> None:
    """The second request is not looked at before the first one is answered."""
    face.store.holds = True
    wire = face.connect()
    wire.send(post("/topics/a", b"1") + get("/nowhere") + post("/topics/a", b"2"))
    assert wire.take() == b""
    face.store.release()
    wire.send(b"")
    assert [answer.status for answer in read_responses(wire.take())] == [201, 404]
    face.store.release()
    assert read_responses(wire.take())[0].json() == {"id": position(2)}


def test_empty_lines_before_a_request_are_skipped(face: Face) -> None:
    """Some clients end a body with one too many, and a flood of them is no request either."""
    wire = face.connect()
    assert wire.ask(b"\r\n\r\n" + POLL).status == 200
    wire.send(b"\r\n" * 40_000)
    assert wire.ask(b"\r\n" + POLL).status == 200
    wire.send(b"\r")
    assert wire.ask(b"\n" + POLL).status == 200


@pytest.mark.parametrize(
    "request_", [get("/topics/a?wait=0", "Connection: close"), post("/topics/a", b"", "Connection: close")]
)
def test_a_connection_is_closed_if_it_is_asked_for(face: Face, request_: bytes) -> None:
    """The answer says so, and nothing behind the request is answered."""
    wire = face.connect()
    wire.send(request_)
    (answer,) = read_responses(wire.take())
    assert answer.headers["connection"] == "close"
    assert wire.closed == "closed"
    assert not face.left_behind()


@pytest.mark.parametrize("target", ["/topics/a?wait=0", "/nowhere", "/topics/a?transport=x"])
def test_http_1_0_is_answered_and_closed(face: Face, target: str) -> None:
    """Old clients and simple proxies are served, one request a connection."""
    wire = face.connect()
    wire.send(get(target, version="1.0"))
    (answer,) = read_responses(wire.take().replace(b"HTTP/1.0", b"HTTP/1.1"))
    assert answer.headers["connection"] == "close"
    assert wire.closed == "closed"


def test_more_behind_a_last_request_does_not_reset_the_answer(face: Face) -> None:
    """Who asks to close and sends on is not answered again, but can read the answer."""
    wire = face.connect()
    wire.send(get("/topics/a?wait=0", "Connection: close") + POLL)
    assert len(read_responses(wire.take())) == 1
    assert wire.closed == "half"
    wire.leave()
    assert not face.left_behind()


def test_what_was_pipelined_is_not_done_for_a_client_that_left(face: Face) -> None:
    """Who leaves before the second answer has not published the second message, and holds nothing."""
    wire = face.connect()
    wire.protocol.dataReceived(post("/topics/a", b"1") + post("/topics/a", b"2") + get("/topics/a?transport=sse"))
    wire.leave()
    assert face.router.log.end == 1
    assert not face.left_behind()


def test_a_client_that_leaves_before_its_answer_is_forgotten(face: Face) -> None:
    """Its message is published; its answer goes nowhere."""
    face.store.holds = True
    wire = face.held(post("/topics/a", b"1"))
    wire.leave()
    face.store.release()
    assert face.router.log.end == 1
    assert not wire.take()
    assert not face.left_behind()


# -- what is no request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET / HTTP/1.1\n\n", 400, "bad_request"),
        (b"GET /\r\n", 400, "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
        (b"*1\r\n$4\r\nPING\r\n", 400, "bad_request"),
        (get("/", host=None), 400, "bad_request"),
        (get("/", "Host: localhost"), 400, "bad_request"),
        (get("/", "X: a\r\n b"), 400, "bad_request"),
        (
            asking("POST", "/topics/a", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            400,
            "bad_request",
        ),
        (asking("POST", "/topics/a", "Content-Length: 5", "Content-Length: 5") + b"12345", 400, "bad_request"),
        (get("/", "X: " + "y" * 40_000), 431, "head_too_large"),
        (get("/" + "y" * 40_000), 414, "url_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, 431, "head_too_large"),
        (asking("POST", "/topics/a", f"Content-Length: {9 << 20}"), 413, "payload_too_large"),
        (
            asking("POST", "/topics/a", "Content-Length: 999999999999999", "Expect: 100-continue"),
            413,
            "payload_too_large",
        ),
    ],
)
def test_what_is_no_request_is_refused(face: Face, data: bytes, status: int, code: str) -> None:
    """The refusal is a problem document; then the connection is closed, and what else comes is ignored."""
    wire = face.held(data)
    response = refused(wire)
    assert (response.status, response.code) == (status, code)
    assert face.metrics.refused == {code: 1}
    wire.send(POLL)
    assert not wire.take()
    wire.leave()
    assert not face.left_behind()


def test_a_refused_client_that_stays_is_dropped(face: Face) -> None:
    """It has some time to read why."""
    wire = face.held(b"\n")
    refused(wire)
    face.pass_time(face.site.config.head_timeout + 2)
    assert wire.closed == "aborted"
    assert not face.left_behind()


def test_the_largest_head_is_a_setting(face: Face) -> None:
    """A head just within it is read, also in the smallest pieces."""
    face = Face(max_head=100)
    line = "X: " + "y" * (100 - len(get("/topics/a?wait=0", "X: ")) + 4)
    data = get("/topics/a?wait=0", line)
    assert len(data) == 104  # the empty line is not counted
    for request in (data, data * 3):
        assert read_response(face.held(request).take())[0].status == 200
    assert refused(face.held(data.replace(b"yy", b"yyy"))).status == 431


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        b"xyz\r\n",
        b"5\r\n12345",
        b"2\r\n12345\r\n0\r\n\r\n",
        b"-5\r\n12345\r\n0\r\n\r\n",
        b"+5\r\n12345\r\n0\r\n\r\n",
        b"0x5\r\n12345\r\n0\r\n\r\n",
        b"5 \r\n12345\r\n0\r\n\r\n",
        b"5\n12345\n0\n\n\r\n",
        b"5;a\nb\r\n12345\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"0\r\nX: a\nb: c\r\n\r\n",
        b"0\r\nno header\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"1" * 2000,
    ],
)
def test_malformed_chunks_are_refused(face: Face, chunks: bytes) -> None:
    """Chunks that could be read in two ways publish nothing."""
    wire = face.held(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + chunks)
    if chunks == b"5\r\n12345":  # not malformed, but not all: it waits
        assert not wire.take()
        wire.send(b"x\r\n0\r\n\r\n")
    assert refused(wire).code == "bad_request"
    assert face.router.log.end == 0


def test_a_chunk_may_say_that_it_is_huge(face: Face) -> None:
    """Saying so costs nothing; only what comes is counted."""
    face = Face(max_payload=1000, max_body=1000)
    wire = face.held(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + b"f" * 16 + b"\r\n" + b"x" * 1000)
    assert not wire.take()
    wire.send(b"x")
    assert refused(wire).code == "payload_too_large"


@pytest.mark.parametrize("size", [999, 1000])
def test_a_body_within_its_bounds_is_taken(size: int) -> None:
    """A body of just the allowed size is published, with a length and in chunks."""
    face = Face(max_payload=1000, max_body=1000)
    assert face.publish("a", b"x" * size).status == 201
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    assert face.ask(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + chunk).status == 201


def test_a_client_may_wait_to_be_told_to_go_on(face: Face) -> None:
    """With ``Expect: 100-continue`` the body is asked for once the head is good."""
    wire = face.held(asking("POST", "/topics/a", "Content-Length: 2", "Expect: 100-continue"))
    assert wire.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.ask(b"hi").status == 201
    assert wire.ask(asking("POST", "/topics/a", "Content-Length: 0", "Expect: 100-continue")).status == 201


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_reads_its_refusal_while_it_sends(chunked: bool) -> None:
    """Who sends a body that is too large can read the refusal, although the body was not read: the connection is not
    reset."""
    async with served() as face:
        lines = ("Transfer-Encoding: chunked",) if chunked else (f"Content-Length: {1 << 30}",)
        client = await face.client(asking("POST", "/topics/a", *lines))
        piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        sent = 0

        def send() -> bool:
            nonlocal sent
            sent += client.send(piece[sent % len(piece) :])
            return sent > 20 << 20

        await until(send)
        await until(client.has(b"payload_too_large"))
        await until(lambda: bool(client.read()) and client.ended)
        (response,) = read_responses(client.data)
        assert (response.status, response.code) == (413, "payload_too_large")
        client.socket.close()
        await face.freed()


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_head_has_its_time(face: Face) -> None:
    """A byte now and then does not win time: a slow head is refused."""
    wire = face.connect()
    for byte in get("/topics/a?wait=0")[:9]:
        assert not wire.closed
        wire.send(bytes((byte,)))
        face.pass_time(1)
    face.pass_time(3)
    assert refused(wire).code == "too_slow"
    assert wire.closed


def test_the_next_head_has_its_time_too(face: Face) -> None:
    """On a kept connection the time of a head begins with its first byte, early or late."""
    for quiet in (1, 70):
        wire = face.connect()
        wire.ask(POLL)
        face.pass_time(quiet)
        wire.send(b"GET")
        face.pass_time(8)
        assert not wire.closed
        wire.send(b" ")
        face.pass_time(4)
        assert refused(wire).code == "too_slow"


def test_a_connection_on_which_nothing_comes_is_closed(face: Face) -> None:
    """A new one soon, a kept one later; neither is told anything."""
    new, kept = face.connect(), face.connect()
    kept.ask(POLL)
    face.pass_time(12)
    assert (new.closed, kept.closed) == ("closed", "")
    face.pass_time(65)
    assert kept.closed == "closed"
    assert not new.take() + kept.take()
    assert not face.left_behind()


def test_a_body_that_never_comes_is_refused(face: Face) -> None:
    """After the time that every body has."""
    for start in (asking("POST", "/topics/a", "Content-Length: 5"), asking("POST", "/a", "Transfer-Encoding: chunked")):
        wire = face.held(start)
        face.pass_time(29)
        assert not wire.closed
        face.pass_time(3)
        assert refused(wire).code == "too_slow"


def test_a_body_has_a_least_rate(face: Face) -> None:
    """A large body may take its time as long as it comes on; a drop now and then is too slow."""
    quick, slow = face.held(asking("POST", "/topics/a", "Content-Length: 200000")), face.connect()
    slow.send(asking("POST", "/topics/a", "Content-Length: 200000"))
    for _ in range(100):
        quick.send(b"x" * 2000)
        slow.send(b"x")
        face.pass_time(1)
    assert read_response(quick.take())[0].status == 201
    assert read_response(slow.take())[0].code == "too_slow"
    assert slow.closed == "aborted"


def test_what_came_quickly_wins_no_more_time(face: Face) -> None:
    """A large body that has come but for its end must not be held for as long as all of it might have taken."""
    wire = face.held(asking("POST", "/topics/a", "Content-Length: 1000000"))
    wire.send(b"x" * 999_000)
    for _ in range(32):
        wire.send(b"x")
        face.pass_time(1)
    assert refused(wire).code == "too_slow"


def test_a_body_in_tiny_chunks_is_refused() -> None:
    """It would take a thousand times as long to read as the same in one; small chunks, as programs write them, do
    not."""
    face = Face(max_payload=1_000_000)
    chunks = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    wire = face.held(asking("POST", "/topics/a", "Transfer-Encoding: chunked"))
    for start in range(0, len(chunks), 10_000):
        wire.send(chunks[start : start + 10_000])
    assert refused(wire).code == "bad_request"
    small = (b"14\r\n%b\r\n" % (b"x" * 20)) * 20_000 + b"0\r\n\r\n"
    assert face.ask(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + small).status == 201


def test_chunks_without_content_do_not_win_time(face: Face) -> None:
    """Chunk extensions are no progress."""
    wire = face.held(asking("POST", "/topics/a", "Transfer-Encoding: chunked") + b"5;")
    for _ in range(32):
        wire.send(b"x")
        face.pass_time(1)
    assert refused(wire).code == "too_slow"


def test_a_slow_store_is_waited_for(face: Face) -> None:
    """Nobody is refused for what the daemon itself takes long for."""
    face.store.holds = True
    wire = face.held(post("/topics/a", b"1"))
    face.pass_time(200)
    face.store.release()
    assert read_response(wire.take())[0].status == 201


# -- clients that do not read, and clients that send ahead ------------------------------------------------------------


def test_who_does_not_read_its_answers_is_not_answered_further(face: Face) -> None:
    """Answers of a client that never reads do not pile up."""
    face.publish("a", b"x" * 100_000)
    wire = face.connect()
    wire.stall()
    for _ in range(10):
        wire.send(get("/topics/a?since=first"))
    assert len(read_responses(wire.take())) == 1
    assert wire.unread
    for count in range(9):
        wire.drain()
        assert len(read_responses(wire.take())) == 1, count
    wire.resume()
    assert not wire.take()
    assert wire.ask(POLL).status == 200


def test_who_never_reads_is_dropped(face: Face) -> None:
    """The connection ends although its answer was not taken."""
    face.publish("a", b"x" * 100_000)
    wire = face.connect()
    wire.stall()
    wire.send(get("/topics/a?since=first") * 2)
    face.pass_time(90)
    assert wire.closed
    wire.leave()
    assert not face.left_behind()


def test_bytes_ahead_of_a_slow_store_are_bounded(face: Face) -> None:
    """While an answer is prepared, the daemon reads only so far ahead; nothing is lost."""
    face.store.holds = True
    wire = face.held(post("/topics/a", b"0"))
    for number in range(1, 100):
        wire.send(post("/topics/a", b"%d" % number + b"x" * 1000))
    assert not wire.is_read
    assert wire.unread > 50_000
    face.store.holds = False
    face.store.release()
    wire.send(b"")
    answers = read_responses(wire.take())
    assert [answer.json()["id"] for answer in answers] == [position(number) for number in range(1, 101)]


def test_a_poll_may_be_followed_by_a_request(face: Face) -> None:
    """One more request behind a held poll waits for it."""
    wire = face.held(get("/topics/a") + POLL)
    assert not wire.take()
    face.publish("a", b"1")
    first, second = read_responses(wire.take())
    assert first.json()["messages"][0]["data"] == "1"
    assert second.json()["messages"] == []


def test_who_floods_a_held_poll_is_dropped(face: Face) -> None:
    """More than that is no use of a poll; and the client's leaving would go unnoticed."""
    wire = face.held(get("/topics/a"))
    while not wire.closed:
        assert wire.is_read
        wire.send(b"x" * 1000)
    assert wire.closed == "aborted"
    assert face.metrics.intruded == 1
    assert not face.left_behind()


def test_a_flood_with_a_poll_in_front_is_read_on(face: Face) -> None:
    """Also if it comes with the poll, the client's leaving is noticed."""
    wire = face.held(get("/topics/a") + b"x" * (3 * AHEAD))
    assert wire.is_read
    wire.leave()
    assert not face.left_behind()


def test_who_half_closes_while_held_has_left() -> None:
    """The end of what a client sends is its leaving: nothing else tells on a quiet topic."""
    assert not IHalfCloseableProtocol.implementedBy(Channel)


@pytest_twisted.ensureDeferred
async def test_idle_connections_leave_nothing_in_the_reactor() -> None:
    """Kept connections, half a head, half a body, a refusal: whoever leaves is forgotten."""
    async with served() as face:
        starts = [b"", POLL, b"GET /", asking("POST", "/topics/a", "Content-Length: 5") + b"x", b"\n", POLL * 30]
        clients = [await face.client(start) for start in starts]
        await until(lambda: len(face.sockets()) == len(starts))
        for client in (clients[1], clients[5]):
            await until(client.has(b"messages"))
        assert read_head(clients[1].data)[0].status == 200
        for client in clients:
            client.socket.close()
        await face.freed()
