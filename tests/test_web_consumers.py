"""Readers whose cursor the daemon keeps, over HTTP."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from comet.audience import Subscription
from comet.config import Config
from tests.fakes import EPOCH
from tests.test_web_websocket import Client
from tests.web_faces import Answer, Face, Wire


@pytest.fixture
def face() -> Face:
    """A daemon in memory with three messages on two topics."""
    face = Face()
    for topic, text in (("a", "1"), ("b", "2"), ("a", "3")):
        face.publish(topic, text)
    return face


def poll(face: Face, query: str = "", name: str = "c") -> Any:
    """What a poll of the consumer that does not wait is answered."""
    answer = face.ask("GET", f"/consumers/{name}?wait=0{query}")
    assert answer.status == 200, answer.body
    return answer.json()


def texts(answer: Any) -> list[str]:
    return [message["data"] for message in answer["messages"]]


def ack(face: Face, offset: int, name: str = "c") -> Answer:
    return face.ask("POST", f"/consumers/{name}/ack", json.dumps({"id": f"{EPOCH}-{offset}"}).encode())


def opened(face: Face, target: str) -> Wire:
    """A stream that is held open."""
    wire = face.connect()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return wire


def lines(face: Face, wire: Wire) -> list[Any]:
    """The objects that came since the last time."""
    face.clock.advance(0)
    data: bytes = wire.take()
    return [json.loads(line) for line in data.partition(b"\r\n\r\n")[2].splitlines() or data.splitlines()]


def test_made_read_and_acknowledged(face: Face) -> None:
    """The first GET makes it; each begins behind what was acknowledged, whatever it says of since."""
    assert texts(poll(face, "&topic=a&since=first")) == ["1", "3"]
    assert texts(poll(face)) == texts(poll(face, "&topic=a&since=now")) == ["1", "3"]
    assert ack(face, 1).json() == {"acked": f"{EPOCH}-1"}
    assert texts(poll(face)) == ["3"]
    assert ack(face, 3).json() == {"acked": f"{EPOCH}-3"}
    assert ack(face, 1).json() == {"acked": f"{EPOCH}-3"}
    assert texts(poll(face)) == []


def test_last_event_id_counts_for_nothing(face: Face) -> None:
    """An EventSource that comes back is given what it has not acknowledged, not what it has not seen."""
    poll(face, "&topic=a&since=first")
    answer = face.ask("GET", "/consumers/c?wait=0", Last_Event_ID=f"{EPOCH}-3")
    assert texts(answer.json()) == ["1", "3"]


def test_stream_goes_on_live(face: Face) -> None:
    """A stream has what is not acknowledged, and then what comes; an acknowledgement does not disturb it."""
    wire = opened(face, "/consumers/c?topic=a&since=first&transport=stream")
    assert [each.get("data", each.get("comet")) for each in lines(face, wire)] == ["open", "1", "3"]
    ack(face, 3)
    face.publish("a", "4")
    assert [each["data"] for each in lines(face, wire)] == ["4"]
    again = opened(face, "/consumers/c?transport=stream")
    assert [each.get("data", each.get("comet")) for each in lines(face, again)] == ["open", "4"]


def test_one_reader(face: Face) -> None:
    """A newer reader ends the older one, which is told why; a poll that waits is answered."""
    wire = opened(face, "/consumers/c?topic=a&transport=stream")
    lines(face, wire)
    waiting = opened(face, "/consumers/c?wait=9&transport=poll")
    assert [(each["comet"], each["reason"]) for each in lines(face, wire)] == [("bye", "replaced")]
    opened(face, "/consumers/c?transport=stream")
    face.clock.advance(0)
    assert Answer.parse(waiting.take()).json()["messages"] == []
    (listed,) = face.ask("GET", "/consumers").json()["consumers"]
    assert listed["reader"]["transport"] == "stream"


def test_listed(face: Face) -> None:
    """GET /consumers says who is how far behind, and who has a message."""
    poll(face, "&topic=a&since=first")
    poll(face, "&topic=b&topic=a", name="d%C3%A9")
    ack(face, 1)
    listed = {each["name"]: each for each in face.ask("GET", "/consumers").json()["consumers"]}
    assert listed["c"]["topics"] == ["a"]
    assert listed["c"]["acked"] == f"{EPOCH}-1"
    assert listed["c"]["behind"]["messages"] == 1
    assert listed["c"]["reader"] is None
    assert listed["dé"]["behind"]["messages"] == 0
    has = face.ask("GET", f"/consumers?id={EPOCH}-2").json()["consumers"]
    assert [(each["name"], each["has"]) for each in has] == [("c", False), ("dé", True)]
    assert [each["name"] for each in face.ask("GET", "/consumers?topic=b").json()["consumers"]] == ["dé"]
    limited = face.ask("GET", "/consumers?limit=1").json()
    assert (len(limited["consumers"]), limited["more"]) == (1, True)


def test_deleted(face: Face) -> None:
    """DELETE ends the reader and forgets the cursor."""
    wire = opened(face, "/consumers/c?topic=a&since=first&transport=stream")
    lines(face, wire)
    assert face.ask("DELETE", "/consumers/c").status == 204
    assert [each["comet"] for each in lines(face, wire)] == ["bye"]
    assert face.ask("GET", "/consumers").json()["consumers"] == []
    assert texts(poll(face, "&topic=a")) == []


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("GET", "/consumers/unknown", "", 404, "unknown_consumer"),
        ("GET", "/consumers/c?topic=b", "", 409, "consumer_exists"),
        ("GET", "/consumers/c?transport=smoke", "", 400, "unknown_transport"),
        ("GET", "/consumers/c?lmit=3", "", 400, "bad_parameter"),
        ("GET", "/consumers/a%2Fb?topic=a", "", 400, "bad_name"),
        ("GET", "/consumers/new?topic=a&since=yesterday", "", 400, "bad_since"),
        ("GET", "/consumers/new?topic=a&since=5f0c1a2b-4", "", 400, "bad_since"),
        ("GET", "/consumers/new?topic=a&since=now&since=first", "", 400, "bad_parameter"),
        ("GET", "/consumers/new?topic=a&transport=smoke", "", 400, "unknown_transport"),
        ("GET", "/consumers/new?topic=a//b", "", 400, "bad_pattern"),
        ("GET", "/consumers/%FF?topic=a", "", 400, "bad_request"),
        ("GET", "/consumers?id=yesterday", "", 400, "bad_since"),
        ("GET", "/consumers?limit=0", "", 400, "bad_parameter"),
        ("POST", "/consumers/c/ack", "{}", 400, "bad_json"),
        ("POST", "/consumers/c/ack", '{"id":"x"}', 400, "bad_since"),
        ("POST", "/consumers/c/ack", '{"id":"5f0c1a2b-9"}', 409, "bad_acknowledgement"),
        ("POST", "/consumers/unknown/ack", '{"id":"5f0c1a2b-1"}', 404, "unknown_consumer"),
        ("POST", "/consumers/c", "", 404, "not_found"),
        ("DELETE", "/consumers/unknown", "", 404, "unknown_consumer"),
        ("POST", "/consumers/c/ack", '{"id":"5f0c1a2b-1","x":1}', 400, "bad_json"),
        ("PUT", "/consumers/c", "", 405, "method_not_allowed"),
        ("HEAD", "/consumers/c", "", 405, ""),
    ],
)
def test_refusals(face: Face, method: str, target: str, body: str, status: int, code: str) -> None:
    """What cannot be done is refused with a code, and nothing changes."""
    poll(face, "&topic=a&since=first")
    answer = face.ask(method, target, body.encode())
    assert (answer.status, answer.json()["code"] if answer.body else "") == (status, code)
    assert [each["name"] for each in face.ask("GET", "/consumers").json()["consumers"]] == ["c"]
    assert texts(poll(face)) == ["1", "3"]


def test_store_that_fails(face: Face) -> None:
    """An acknowledgement that cannot be kept is refused; so is a new consumer."""
    poll(face, "&topic=a&since=first")
    face.store.fails = True
    assert ack(face, 1).status == 503
    assert face.ask("GET", "/consumers/new?topic=a").status == 503
    face.store.fails = False
    assert ack(face, 1).status == 200


def test_two_who_begin_at_once(face: Face) -> None:
    """Of two readers that come while the consumer is made, the later is the reader."""
    face.store.holds = True
    wires = [opened(face, "/consumers/c?topic=a&since=first&transport=stream") for _ in range(2)]
    other = opened(face, "/consumers/c?topic=b&transport=stream")
    face.store.holds = False
    face.store.release()
    assert Answer.parse(other.take()).json()["code"] == "consumer_exists"
    first, second = (lines(face, wire) for wire in wires)
    assert [each["comet"] for each in first if "comet" in each] == ["open", "bye"]
    assert [each["data"] for each in second if "data" in each] == ["1", "3"]


def test_gap_is_told_and_then_waited(face: Face) -> None:
    """A poll is told what is missing, once: a client that has nothing to acknowledge does not ask in a circle. A
    stream is told whenever it begins, and the list says so until it is acknowledged."""
    poll(face, "&topic=c&since=00000000-7")
    again = opened(face, "/consumers/c?transport=poll&wait=9")
    face.publish("c", "4")
    assert texts(Answer.parse(again.take()).json()) == ["4"]
    stream = opened(face, "/consumers/c?transport=stream")
    assert [each.get("comet", each.get("data")) for each in lines(face, stream)] == ["open", "gap", "4"]
    assert face.ask("GET", "/consumers").json()["consumers"][0]["gap"] is True
    ack(face, 4)
    assert face.ask("GET", "/consumers").json()["consumers"][0]["gap"] is False


def test_what_is_retained_within_a_gap(face: Face) -> None:
    """Nothing that is still there is skipped for a gap that was told, and a newer gap is told."""
    face = Face(Config(retain_messages=2))
    for topic, text in (("a", "1"), ("b", "2"), ("b", "3"), ("b", "4"), ("a", "5")):
        face.publish(topic, text)
    gap = {"since": f"{EPOCH}-0", "until": f"{EPOCH}-2"}
    poll(face, f"&topic=a&topic=b&since={EPOCH}-0")
    for _ in range(2):
        answer = poll(face)
        assert (texts(answer), "gap" in answer) == (["1", "3", "4", "5"], False)
    face.publish("b", "6")
    answer = poll(face)
    assert (texts(answer), answer["gap"]) == (["1", "4", "5", "6"], {**gap, "until": f"{EPOCH}-3"})


def test_websocket(face: Face) -> None:
    """On a WebSocket the client acknowledges by a frame, and is answered if it says a ref."""
    client = Client(face, target=b"/consumers/c?topic=a&since=first")
    assert [each.get("comet", each.get("data")) for each in client.heard()] == ["open", "1", "3"]
    client.say({"ack": f"{EPOCH}-1", "ref": 7})
    assert client.heard() == [{"comet": "ok", "ref": 7, "id": f"{EPOCH}-1"}]
    client.say({"ack": f"{EPOCH}-3"})
    assert client.heard() == [{"comet": "ok", "id": f"{EPOCH}-3"}]
    assert texts(poll(face)) == []
    assert client.heard()[0]["reason"] == "replaced"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"ack": f"{EPOCH}-9", "ref": 1}, "bad_acknowledgement"),
        ({"ack": "x", "ref": 1}, "bad_since"),
        ({"ack": 7, "ref": 1}, "bad_json"),
        ({"subscribe": ["b"], "ref": 1}, "bad_request"),
        ({"unsubscribe": ["a"], "ref": 1}, "bad_request"),
    ],
)
def test_websocket_refusals(face: Face, said: object, code: str) -> None:
    """What is refused is said, and the stream goes on. Its topics stay: what is unsubscribed would be skipped."""
    client = Client(face, target=b"/consumers/c?topic=a")
    client.heard()
    client.say(said)
    (answer,) = client.heard()
    assert (answer["comet"], answer["code"]) == ("error", code)
    face.publish("a", "4")
    assert [each["data"] for each in client.heard()] == ["4"]


def test_websocket_and_a_store_that_fails(face: Face) -> None:
    """An acknowledgement that is not kept is refused on the stream too."""
    client = Client(face, target=b"/consumers/c?topic=a&since=first")
    client.heard()
    face.store.fails = True
    client.say({"ack": f"{EPOCH}-1", "ref": 1})
    assert client.heard()[0]["code"] == "store_failed"
    face.store.fails = False
    assert texts(poll(face)) == ["1", "3"]


def test_only_consumers_acknowledge(face: Face) -> None:
    """On another stream there is nothing to acknowledge."""
    client = Client(face)
    client.heard()
    client.say({"ack": f"{EPOCH}-1"})
    assert client.heard()[0]["code"] == "bad_request"


def test_topics_of_a_stream_stay(face: Face) -> None:
    """Whoever knows the stream's id can end it, but not have messages skipped."""
    wire = opened(face, "/consumers/c?topic=a&transport=stream")
    (told,) = lines(face, wire)
    change = face.ask("POST", f"/streams/{told['stream']}", b'{"unsubscribe":["a"],"subscribe":["b"]}')
    assert (change.status, change.json()["code"]) == (400, "bad_request")
    assert face.ask("DELETE", f"/streams/{told['stream']}").status == 204


def test_pages_of_other_origins() -> None:
    """A listed origin may do everything here, another nothing."""
    face = Face(Config(origin=("https://shop.example",)))
    for method, target in (("OPTIONS", "/consumers/c"), ("GET", "/consumers/c?topic=a&wait=0"), ("GET", "/consumers")):
        answer = face.ask(method, target, Origin="https://shop.example")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert face.ask("POST", "/consumers/c/ack", b'{"id":"x"}', Origin="https://evil.example").status == 403


def test_hooks_read_for_themselves(face: Face) -> None:
    """The consumer of a hook is listed, and nobody else reads, acknowledges or deletes it."""
    face.router.config = Config(hook_private=("127.0.0.1",))
    hook = {"topic": "a", "url": "http://127.0.0.1:9/", "name": "h"}
    assert face.ask("POST", "/hooks", json.dumps(hook).encode()).status == 201
    assert face.ask("GET", "/consumers/h").json()["code"] == "consumer_exists"
    assert ack(face, 1, "h").json()["code"] == "consumer_exists"
    assert face.ask("DELETE", "/consumers/h").json()["code"] == "consumer_exists"
    assert [each["name"] for each in face.ask("GET", "/consumers").json()["consumers"]] == ["h"]


def test_figures(face: Face) -> None:
    """Consumers, and what they acknowledge, are counted."""
    poll(face, "&topic=a&since=first")
    ack(face, 1)
    ack(face, 9)
    exposed = face.ask("GET", "/metrics").body.decode().splitlines()
    assert {"comet_consumers 1", "comet_acks_total 1"} <= set(exposed)


def test_connections_are_let_go_of(face: Face) -> None:
    """A consumer that is not read keeps nothing of the connection of its last reader."""
    wire = opened(face, "/consumers/c?topic=a&transport=stream")
    (stream,) = face.router.streams
    wire.leave()
    del wire
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Subscription) and each.stream == stream]


def test_who_leaves_while_it_is_made(face: Face) -> None:
    """A client that goes before its consumer is kept leaves nothing but the consumer."""
    face.store.holds = True
    wire = opened(face, "/consumers/c?topic=a&transport=stream")
    wire.leave()
    face.store.holds = False
    face.store.release()
    face.clock.advance(0)
    assert face.router.streams == {}
    assert [each["name"] for each in face.ask("GET", "/consumers").json()["consumers"]] == ["c"]
