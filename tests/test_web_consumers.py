"""Readers whose cursor the daemon keeps, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import EPOCH
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
        ("GET", "/consumers/unknown", "", 400, "bad_request"),
        ("GET", "/consumers/c?topic=b", "", 409, "consumer_exists"),
        ("GET", "/consumers/c?transport=smoke", "", 400, "unknown_transport"),
        ("GET", "/consumers/c?lmit=3", "", 400, "bad_parameter"),
        ("GET", "/consumers/a%2Fb?topic=a", "", 400, "bad_name"),
        ("GET", "/consumers/new?topic=a&since=yesterday", "", 400, "bad_since"),
        ("GET", "/consumers?id=yesterday", "", 400, "bad_since"),
        ("GET", "/consumers?limit=0", "", 400, "bad_parameter"),
        ("POST", "/consumers/c/ack", "{}", 400, "bad_json"),
        ("POST", "/consumers/c/ack", '{"id":"x"}', 400, "bad_since"),
        ("POST", "/consumers/c/ack", '{"id":"5f0c1a2b-9"}', 409, "bad_acknowledgement"),
        ("POST", "/consumers/unknown/ack", '{"id":"5f0c1a2b-1"}', 404, "unknown_consumer"),
        ("POST", "/consumers/c", "", 404, "not_found"),
        ("DELETE", "/consumers/unknown", "", 404, "unknown_consumer"),
        ("PUT", "/consumers/c", "", 405, "method_not_allowed"),
    ],
)
def test_refusals(face: Face, method: str, target: str, body: str, status: int, code: str) -> None:
    """What cannot be done is refused with a code, and nothing changes."""
    poll(face, "&topic=a&since=first")
    answer = face.ask(method, target, body.encode())
    assert (answer.status, answer.json()["code"]) == (status, code)
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
