"""The transport ``websocket``, as its clients meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from comet.config import Config
from comet.web import websocket
from tests.web_faces import Answer, Face, Wire

HANDSHAKE = (
    b"GET /topics/news HTTP/1.1",
    b"Host: localhost",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""The key is the one of RFC 6455, section 1.3."""


def handshake(*further: bytes, without: bytes = b"-") -> bytes:
    """A handshake, with ``further`` lines, less those that begin like ``without``."""
    lines = [line for line in HANDSHAKE if not line.startswith(without)]
    return b"\r\n".join([*lines, *further, b"", b""])


class Client:
    """A client that has shaken hands; frames are read and written by wsproto, from the other side."""

    def __init__(self, face: Face, ahead: bytes = b"", target: bytes = b"/topics/news") -> None:
        self.face = face
        self.frames = FrameProtocol(client=True, extensions=[])
        self.wire: Wire = face.connect()
        self.wire.send(handshake().replace(b"/topics/news", target) + ahead)
        head, _, rest = self.wire.take().partition(b"\r\n\r\n")
        self.head = head
        self.frames.receive_bytes(rest)

    def say(self, value: object) -> None:
        """Send a JSON object as one text message."""
        self.wire.send(self.text(json.dumps(value)))

    def text(self, text: str) -> bytes:
        """The frame of a text message."""
        return bytes(self.frames.send_data(text))

    def publish(self, number: int) -> bytes:
        """The frame of a publish of ``number``."""
        return self.text(json.dumps({"publish": "news", "data": number, "ref": number}))

    def heard(self) -> list[Any]:
        """The JSON objects that came since the last time; of other frames the opcode and the payload."""
        return list(self._heard())

    def _heard(self) -> Iterator[Any]:
        self.frames.receive_bytes(self.wire.take())
        text = ""
        for frame in self.frames.received_frames():
            if frame.opcode is not Opcode.TEXT:
                yield frame.opcode, frame.payload
                continue
            text += str(frame.payload)
            if frame.message_finished:
                yield json.loads(text)
                text = ""

    def control(self) -> list[Any]:
        """The control objects that came since the last time."""
        return [value for value in self.heard() if "comet" in value]


@pytest.fixture
def face() -> Face:
    """A daemon in memory, that serves others than programs of this machine, too (HTTP/1.0 is never one of these)."""
    return Face(Config(anonymous=("publish:**", "subscribe:**")))


@pytest.fixture
def client(face: Face) -> Client:
    """A client of it that has been told ``open``."""
    client = Client(face)
    assert client.control()[0]["comet"] == "open"
    return client


# -- the handshake ----------------------------------------------------------------------------------------------------


def test_the_handshake_is_that_of_the_rfc(face: Face) -> None:
    """The key of the RFC's example gets the answer of the RFC's example, and no extension is agreed on."""
    client = Client(face)
    answer = Answer.parse(client.head)
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "sec-websocket-extensions" not in answer.headers
    assert "sec-websocket-protocol" not in answer.headers


def test_the_subprotocol_is_answered_if_it_is_offered(face: Face) -> None:
    """A client that offers comet.v1 among others gets comet.v1."""
    wire = face.connect()
    wire.send(handshake(b"Sec-WebSocket-Protocol: chat, comet.v1"))
    assert Answer.parse(wire.take()).headers["sec-websocket-protocol"] == "comet.v1"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake(without=b"Sec-WebSocket-Version"), 426),
        (handshake(b"Sec-WebSocket-Version: 8", without=b"Sec-WebSocket-Version"), 426),
        (handshake(without=b"Connection"), 426),
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
        (
            handshake().replace(b"/topics/news", b"/topics/news?transport=websocket").replace(b"websocket\r", b"h2c\r"),
            426,
        ),
        (handshake(without=b"Sec-WebSocket-Key"), 400),
        (handshake(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (handshake(b"Sec-WebSocket-Key: dGhlIHNhbXBsZQ==", without=b"Sec-WebSocket-Key"), 400),
        (handshake(b"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==", without=b"Sec-WebSocket-Key"), 400),
    ],
)
def test_a_handshake_that_is_none_is_refused(face: Face, request_: bytes, status: int) -> None:
    """What is not a WebSocket handshake gets a problem document; the wrong version is told the right one."""
    wire = face.connect()
    wire.send(request_)
    answer = Answer.parse(wire.take())
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    if status == 426:
        assert (answer.headers["sec-websocket-version"], answer.headers["upgrade"]) == ("13", "websocket")
    assert not face.router.streams


def test_another_upgrade_is_no_websocket(face: Face) -> None:
    """A client that offers HTTP/2 by an upgrade header gets its answer in HTTP/1.1."""
    answer = face.ask("GET", "/topics/news?wait=0", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings")
    assert (answer.status, answer.json()["messages"]) == (200, [])


def test_frames_right_behind_the_handshake_are_taken(face: Face) -> None:
    """A client need not wait for the answer to its handshake before it speaks."""
    ahead = bytes(FrameProtocol(client=True, extensions=[]).send_data('{"publish":"news","data":"early"}'))
    client = Client(face, ahead)
    opened, answer, message = client.heard()
    assert (opened["comet"], answer["comet"], message["data"]) == ("open", "ok", "early")


# -- messages ---------------------------------------------------------------------------------------------------------


def test_messages_come_as_text_frames(face: Face, client: Client) -> None:
    """A message is one text frame with the JSON object that every JSON transport has."""
    face.publish("news", "hello")
    (message,) = client.heard()
    assert (message["topic"], message["data"]) == ("news", "hello")


def test_a_publish_is_answered_with_its_position(client: Client) -> None:
    """A publish is answered by ok, with the reference of the client, under the position of the message."""
    client.say({"publish": "news", "data": {"bid": 120}, "ref": "r1"})
    answer, message = client.heard()
    assert answer == {"comet": "ok", "ref": "r1", "id": message["id"]}
    assert message["data"] == {"bid": 120}


def test_bytes_and_types_can_be_published(face: Face, client: Client) -> None:
    """A publish may carry base64, a content type, and a key that makes it safe to repeat."""
    frame = {"publish": "news", "data64": "AP8=", "type": "image/png", "key": "k"}
    client.say(frame)
    client.say(frame)
    first, message, second = client.heard()
    assert first == second
    assert message["data64"] == "AP8="
    (stored,) = face.router.log.topic("news").last(9)  # type: ignore[union-attr]
    assert (stored.payload, stored.content_type) == (b"\x00\xff", "image/png")


@pytest.mark.parametrize(
    ("text", "code", "ref"),
    [
        ('{"publish":"a/*","data":1,"ref":7}', "bad_topic", 7),
        ('{"publish":"a","ref":7}', "bad_request", 7),
        ('{"publish":"a","data":1,"data64":"","ref":7}', "bad_request", 7),
        ('{"publish":"a","data":1,"subscribe":["b"],"ref":7}', "bad_json", 7),
        ('{"subscribe":["a"],"sinse":"first","ref":7}', "bad_json", 7),
        ('{"subscribe":["a/**/b"],"ref":7}', "bad_pattern", 7),
        ('{"subscribe":["a"],"since":"yesterday","ref":7}', "bad_since", 7),
        ('{"unsubscribe":["news"],"ref":7}', "bad_pattern", 7),
        ('{"ref":7}', "bad_request", 7),
        ('{"ref":[7]}', "bad_json", None),
        ('{"publish":"a","data":1,"ref":"%s"}' % ("r" * 129), "bad_json", None),
        ("[]", "bad_json", None),
        ("hello", "bad_json", None),
        ("[" * 50_000, "bad_json", None),
    ],
)
def test_a_refused_frame_is_answered_and_the_stream_goes_on(
    face: Face, client: Client, text: str, code: str, ref: object
) -> None:
    """A frame that says nonsense is answered by an error, and the stream carries on."""
    client.wire.send(client.text(text))
    (answer,) = client.heard()
    assert (answer["comet"], answer["code"], answer.get("ref")) == ("error", code, ref)
    assert face.metrics.refused == {code: 1}
    face.publish("news", "still here")
    assert client.heard()[0]["data"] == "still here"


def test_a_publish_that_cannot_be_stored_is_answered_with_an_error(face: Face, client: Client) -> None:
    """A store that fails makes an error with the client's reference."""
    face.store.holds = face.store.fails = True
    client.say({"publish": "news", "data": 1, "ref": 1})
    assert client.heard() == []
    face.store.release()
    (answer,) = client.heard()
    assert (answer["comet"], answer["ref"], answer["code"]) == ("error", 1, "store_failed")


# -- topics -----------------------------------------------------------------------------------------------------------


def test_topics_are_changed_on_the_stream(face: Face, client: Client) -> None:
    """A client subscribes and unsubscribes on its stream, which says its topics each time."""
    client.say({"subscribe": ["sport/*"], "unsubscribe": ["news"]})
    (topics,) = client.heard()
    assert (topics["comet"], topics["topics"]) == ("topics", ["sport/*"])
    face.publish("news", "no")
    face.publish("sport/golf", "yes")
    assert [message["data"] for message in client.heard()] == ["yes"]


def test_new_topics_come_with_their_history(face: Face, client: Client) -> None:
    """A subscribe that says since gets what was published before."""
    face.publish("sport/golf", "old")
    client.say({"subscribe": ["sport/golf"], "since": "first"})
    topics, message = client.heard()
    assert (topics["comet"], message["data"]) == ("topics", "old")


def test_histories_under_way_are_bounded(face: Face, client: Client) -> None:
    """A client that asks for history faster than it can be read is told to wait."""
    face.publish("a", "1")
    frames = [{"subscribe": [f"a/{number}"], "since": "first"} for number in range(20)]
    client.wire.send(b"".join(client.text(json.dumps(frame)) for frame in frames))
    codes = [control.get("code") for control in client.control()]
    assert codes.count("still_reading") == 4


# -- RFC 6455 ---------------------------------------------------------------------------------------------------------


def test_a_message_may_come_in_pieces(client: Client) -> None:
    """Fragments, cut anywhere and with a ping in between, make one message."""
    pieces = (
        bytes(client.frames.send_data('{"publish":"news",', fin=False))
        + bytes(client.frames.ping(b"?"))
        + bytes(client.frames.send_data('"data":"ä"}', fin=True))
    )
    for at in range(len(pieces)):
        client.wire.send(pieces[at : at + 1])
    pong, answer, message = client.heard()
    assert (pong, answer["comet"], message["data"]) == ((Opcode.PONG, b"?"), "ok", "ä")


def test_a_close_is_answered(face: Face, client: Client) -> None:
    """A client that closes is answered with its own code, and the connection ends."""
    client.wire.send(bytes(client.frames.close(CloseReason.NORMAL_CLOSURE, "done")))
    assert client.heard() == [(Opcode.CLOSE, (1000, ""))]
    assert client.wire.disconnecting
    assert not face.router.streams


def raw(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A short frame with ``first`` as its first byte, masked with zeros."""
    mask = b"\0\0\0\0" if masked else b""
    return bytes([first, (0x80 if masked else 0) | len(payload)]) + mask + payload


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (raw(0x81, b"{}", masked=False), 1002),
        (raw(0xC1, b"{}"), 1002),
        (raw(0x83, b"{}"), 1002),
        (raw(0x80, b"{}"), 1002),
        (raw(0x09, b"unfinished ping"), 1002),
        (raw(0x88, b"\x03"), 1002),
        (raw(0x81, b"\xff\xfe"), 1007),
        (raw(0x82, b"\x00"), 1003),
    ],
)
def test_what_breaks_the_protocol_ends_the_stream(face: Face, client: Client, frame: bytes, code: int) -> None:
    """A client that breaks RFC 6455 is told how, by the code of a close frame, and disconnected."""
    client.wire.send(frame)
    ((opcode, (told, _)),) = client.heard()
    assert (opcode, told) == (Opcode.CLOSE, code)
    assert client.wire.disconnecting
    assert not face.router.streams
    client.wire.send(client.text('{"publish":"news","data":1}'))
    assert face.metrics.published == 0


def test_a_message_that_is_too_big_ends_the_stream_before_it_is_whole() -> None:
    """A message is given up on as soon as it is too big, however it is cut."""
    face = Face(Config(max_payload=1000))
    client = Client(face)
    client.heard()
    client.wire.send(bytes(client.frames.send_data('{"publish":"news","data":"', fin=False)))
    for _ in range(80):
        client.wire.send(bytes(client.frames.send_data("x" * 1000, fin=False)))
    ((opcode, (code, _)),) = client.heard()
    assert (opcode, code) == (Opcode.CLOSE, 1009)


def test_a_client_that_does_not_leave_is_dropped(face: Face, client: Client) -> None:
    """After the close frame a client has a few seconds, then the connection is dropped."""
    client.wire.send(raw(0x82, b""))
    for _ in range(7):
        face.clock.advance(1)
    assert client.wire.disconnected


def test_a_client_that_has_left_is_not_dropped_again(face: Face, client: Client) -> None:
    """A client that leaves after the close frame is done with."""
    client.wire.send(raw(0x82, b""))
    client.wire.leave()
    for _ in range(7):
        face.clock.advance(1)
    assert not client.wire.disconnected


def test_the_daemon_says_bye_and_going_away(face: Face, client: Client) -> None:
    """When the daemon ends a stream, bye comes in-band and then a close frame with 1001."""
    face.router.stop()
    bye, close = client.heard()
    assert (bye["comet"], close) == ("bye", (Opcode.CLOSE, (1001, "")))
    assert client.wire.disconnecting


# -- clients that ask for more than they take -------------------------------------------------------------------------


def test_a_client_that_does_not_read_its_answers_is_not_read(face: Face, client: Client) -> None:
    """Who sends pings and does not read the pongs is not listened to until it reads, and is dropped in the end."""
    client.wire.fill()
    client.wire.send(b"".join(bytes(client.frames.ping(b"?")) for _ in range(500)))
    assert client.heard() == [(Opcode.PONG, b"?")]
    assert client.wire.producerState == "paused"
    for _ in range(62):
        face.clock.advance(1)
    assert client.wire.disconnected
    assert face.metrics.stalled == 1


def test_a_client_that_reads_again_is_answered_again(face: Face, client: Client) -> None:
    """Nothing of what was sent meanwhile is lost, and messages come behind the answers."""
    client.wire.fill()
    client.wire.send(b"".join(client.publish(number) for number in range(5)))
    assert client.heard() == [{"comet": "ok", "ref": 0, "id": f"{face.router.epoch}-1"}]
    client.wire.drain()
    face.clock.advance(0)
    heard = client.heard()
    assert [answer["ref"] for answer in heard if "comet" in answer] == [1, 2, 3, 4]
    assert [message["data"] for message in heard if "data" in message] == [0, 1, 2, 3, 4]
    assert client.wire.producerState == "producing"


def test_publishes_wait_for_the_store(face: Face, client: Client) -> None:
    """A client that publishes faster than the store takes it is slowed down, not queued without bound."""
    face.store.holds = True
    count = websocket.OUTSTANDING + 10
    client.wire.send(b"".join(client.publish(number) for number in range(count)))
    assert client.wire.producerState == "paused"
    face.store.release()
    assert [answer["ref"] for answer in client.control()] == list(range(websocket.OUTSTANDING))
    face.store.release()
    assert [answer["ref"] for answer in client.control()] == list(range(websocket.OUTSTANDING, count))
    assert client.wire.producerState == "producing"


def test_many_frames_are_taken_a_few_at_a_time(face: Face, client: Client) -> None:
    """A client that sends thousands of frames at once leaves the others their turn."""
    client.wire.protocol.dataReceived(b"".join(client.text('{"publish":"news","data":1}') for _ in range(1000)))
    assert face.metrics.published == websocket.FRAMES
    for _ in range(20):
        face.clock.advance(0)
    assert face.metrics.published == 1000


def test_an_answer_for_a_client_that_has_left_goes_nowhere(face: Face, client: Client) -> None:
    """A publish that is stored after its client has left is not answered: the connection may be another's by then."""
    face.store.holds = True
    client.say({"publish": "news", "data": 1})
    client.wire.leave()
    face.store.release()
    assert client.heard() == []
    assert face.metrics.published == 1
