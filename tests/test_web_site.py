"""The gate that every request passes, and the answers that every path gives alike."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from comet.errors import StoreFailed
from tests.http_wires import Face, Wire, asking, get, post, read_head, read_response

HELD = ("poll", "stream", "sse", "iframe", "multipart", "mixed")


@pytest.fixture
def face() -> Face:
    """A daemon in memory, one more name and one more origin of which are listed."""
    anybody = ("publish:**", "subscribe:**")
    return Face(host=("push.example",), origin=("https://shop.example",), anonymous=anybody)


def held_head(wire: Wire) -> dict[str, str]:
    """The header of the response that is held on ``wire``."""
    response, _ = read_head(wire.take())
    assert response.status == 200
    return response.headers


# -- the gate: Host ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7080", "127.0.0.1:7080", "[::1]:7080", "push.example"])
def test_the_loopback_answers_to_its_names_and_the_listed_ones(face: Face, host: str) -> None:
    """On every address of the loopback, with any port."""
    for address in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
        assert face.connect(address).ask(get("/topics/a?wait=0", host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_answers_to_no_other_name(face: Face, host: str, address: str) -> None:
    """A page whose name suddenly means 127.0.0.1 (DNS rebinding) may neither read nor publish nor subscribe."""
    requests = [get("/topics/a?wait=0", host=host), asking("POST", "/topics/a", host=host)]
    requests += [get(f"/topics/a?transport={transport}", host=host) for transport in HELD]
    requests += [get(f"http://{host}/topics/a"), asking("OPTIONS", "/topics/a", host=host), get("/", host=host)]
    for data in requests:
        answer = face.connect(address).ask(data)
        assert (answer.status, answer.code) == (421, "host_refused")
    assert face.router.log.end == 0
    assert not face.router.streams


def test_other_addresses_answer_to_any_name(face: Face) -> None:
    """Who listens on the network is reached by names that the daemon cannot know."""
    assert face.connect("192.0.2.1").ask(get("/topics/a?wait=0", host="whatever.example")).status == 200


# -- the gate: Origin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://localhost.evil.example", "https://shop.example.evil.example"),
        *("http://shop.example", "https://shop.example:8443", "file://", "ftp://localhost", "localhost", "*", ""),
        *("http://localhost:7081", "http://user@localhost", "https://shop.example, https://shop.example"),
    ],
)
def test_a_foreign_page_may_nothing(face: Face, origin: str) -> None:
    """Its request is refused before it does anything, and the page cannot read why."""
    line = f"Origin: {origin}"
    requests = [
        post("/topics/a", b"1", line),
        post("/topics", b'{"topic":"a","data":1}', line),
        asking("OPTIONS", "/", line),
    ]
    requests += [get(f"/topics/a?transport={transport}", line) for transport in HELD]
    for data in requests:
        answer = face.ask(data)
        assert (answer.status, answer.code) == (403, "origin_refused")
        assert "access-control-allow-origin" not in answer.headers
    assert face.router.log.end == 0
    assert not face.router.streams


@pytest.mark.parametrize("host", ["localhost", "localhost:7080", "push.example"])
def test_a_page_of_the_own_origin_may_everything(face: Face, host: str) -> None:
    """What the daemon itself serves, directly or behind a proxy that speaks TLS."""
    for scheme in ("http", "https"):
        line = f"Origin: {scheme}://{host}"
        answer = face.ask(asking("POST", "/topics/a", line, host=host))
        assert answer.status == 201
        assert "access-control-allow-origin" not in answer.headers
        assert face.ask(get("/topics/a?wait=0", line, host=host)).status == 200


@pytest.mark.parametrize("transport", HELD)
def test_a_listed_page_may_read_what_is_held(face: Face, transport: str) -> None:
    """The head of each held response allows that one origin, and says that it depends on it."""
    wire = face.held(get(f"/topics/a?transport={transport}", "Origin: https://shop.example"))
    if transport == "poll":
        face.publish("a", b"1")
    headers = held_head(wire)
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "data",
    [
        post("/topics/a", b"1", "Origin: https://shop.example"),
        post("/topics", b'{"topic":"a","data":1}', "Origin: https://shop.example"),
        post("/topics/**", b"1", "Origin: https://shop.example"),
        get("/topics/a?since=x", "Origin: https://shop.example"),
        get("/nowhere", "Origin: https://shop.example"),
        asking("DELETE", "/topics/a", "Origin: https://shop.example"),
    ],
)
def test_a_listed_page_may_read_every_answer(face: Face, data: bytes) -> None:
    """Also why it was refused."""
    answer = face.ask(data)
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["vary"] == "Origin"


def test_pollers_of_different_origins_get_different_heads(face: Face) -> None:
    """Though they wait for the same messages."""
    listed = face.held(get("/topics/a", "Origin: https://shop.example"))
    own = face.held(get("/topics/a"))
    face.publish("a", b"1")
    assert "access-control-allow-origin" in held_head(listed)
    assert "access-control-allow-origin" not in held_head(own)


def test_a_listed_page_is_answered_before_it_asks(face: Face) -> None:
    """The preflight says which methods and headers a page may use."""
    lines = ("Origin: https://shop.example", "Access-Control-Request-Method: POST")
    answer = face.ask(asking("OPTIONS", "/topics/a", *lines, "Access-Control-Request-Headers: content-type"))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert allowed == {"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"}
    assert int(answer.headers["access-control-max-age"]) > 0


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (get("/nowhere"), 404, "not_found"),
        (get("//topics/a"), 404, "not_found"),
        (get("/topics%2Fa"), 404, "not_found"),
        (get("/%00"), 404, "not_found"),
        (get("/<script>"), 404, "not_found"),
        (get("/topics/a?since=yesterday"), 400, "bad_since"),
        (get("/topics/a?wibble=1"), 400, "bad_parameter"),
        (get("/topics/a?wibble"), 400, "bad_parameter"),
        (get("/topics/a?transport=x"), 400, "unknown_transport"),
        (get("/topics/a//b"), 400, "bad_pattern"),
        (get("/topics"), 400, "bad_pattern"),
        (get("/topics/%FF"), 400, "bad_pattern"),
        (get("/topics/a?transport=websocket"), 426, "upgrade_required"),
        (post("/topics/a*", b""), 400, "bad_topic"),
        (asking("POST", "/streams/x"), 404, "unknown_stream"),
        (asking("OPTIONS", "/topics/a"), 405, "method_not_allowed"),
        (asking("TRACE", "/topics/a"), 405, "method_not_allowed"),
        (asking("BREW", "/topics/a"), 405, "method_not_allowed"),
        (asking("HEAD", "/topics/a"), 405, ""),
        (asking("HEAD", "/nowhere"), 404, ""),
    ],
)
def test_every_refusal_is_a_problem_document(face: Face, data: bytes, status: int, code: str) -> None:
    """With a code for programs and a sentence for people; never a page. HEAD has no body, but its length."""
    answer = face.ask(data)
    assert answer.status == status
    assert answer.headers["cache-control"] == "no-store"
    assert "date" in answer.headers
    if code:
        assert answer.code == code
        assert face.metrics.refused == {code: 1}
    else:
        assert int(answer.headers["content-length"]) > 0


def test_a_wrong_method_is_told_the_right_ones(face: Face) -> None:
    """``Allow`` lists what the path knows."""
    assert face.ask(asking("PUT", "/topics/a")).headers["allow"] == "GET, POST"
    assert face.ask(asking("GET", "/streams/x")).headers["allow"] == "DELETE, POST"


def test_what_may_pass_says_when_to_try_again(face: Face) -> None:
    """A full house and a failed store are worth another try."""
    face = Face(max_streams=1)
    face.held(get("/topics/a?transport=sse"))
    for transport in HELD:
        answer = face.ask(get(f"/topics/a?transport={transport}"))
        assert (answer.status, answer.code) == (503, "too_many_streams")
        assert int(answer.headers["retry-after"]) > 0
    face.store.fails = True
    assert face.publish("a", b"1").code == StoreFailed.code
    face.router.stop()
    assert face.publish("a", b"1").code == "draining"
    assert face.ask(get("/topics/a")).code == "draining"


class Broken(Resource):
    """Our own mistakes, in each way that a resource can make them."""

    isLeaf = True

    def render_GET(self, request: Any) -> Any:
        raise ValueError(f"secret of {request}")

    def render_POST(self, request: Any) -> Any:
        request.write(b"half an ans")
        raise ValueError("secret")

    def render_DELETE(self, request: Any) -> Any:
        request.site.clock.callLater(1, request.processingFailed, Failure(ValueError("secret")))
        return NOT_DONE_YET


def test_our_own_mistake_is_told_without_its_traceback(face: Face, failures: list[Failure]) -> None:
    """The client hears that the daemon is to blame; the log has the rest; the connection goes on."""
    face.site.resource.putChild(b"broken", Broken())
    wire = face.connect()
    for data in (get("/broken"), asking("DELETE", "/broken")):
        wire.send(data)
        face.pass_time(1)
        answer, rest = read_response(wire.take())
        assert not rest
        assert (answer.status, answer.code) == (500, "internal")
        assert b"secret" not in answer.body
        assert [failure.type for failure in failures] == [ValueError]
        failures.clear()
    assert wire.ask(get("/topics/a?wait=0")).status == 200


def test_a_mistake_in_mid_answer_ends_the_connection(face: Face, failures: list[Failure]) -> None:
    """What was written cannot be taken back, but must not look whole."""
    face.site.resource.putChild(b"broken", Broken())
    wire = face.connect()
    wire.send(asking("POST", "/broken"))
    assert wire.closed == "closed"
    assert b"\r\n0\r\n\r\n" not in wire.take()
    assert len(failures) == 1
    failures.clear()
    assert not face.left_behind()


def test_http_2_is_not_offered(face: Face) -> None:
    """Also not if the package that twisted.web needs for it happens to be installed."""
    assert face.site.acceptableProtocols() == [b"http/1.1"]
