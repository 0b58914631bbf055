"""``/hooks``: hooks are made, looked at, ended and told to go on, while the store fails now and then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from comet.config import Config
from comet.errors import StoreFailed
from comet.hooks.answers import Answer, Terms
from comet.hooks.hooks import Hooks
from comet.hooks.signing import key_of
from tests.fakes import EPOCH
from tests.web_faces import Answer as Answered
from tests.web_faces import Face, Wire

URL = "https://receiver.example/in?token=geheim"


class HookedFace(Face):
    """An HTTP face with hooks, whose posts are answered by the test."""

    def __post_init__(self) -> None:
        self.posts: list[Any] = []
        self.answers: list[Deferred[Answer]] = []
        self.post = self.take
        super().__post_init__()

    def take(self, _url: str, _headers: Mapping[str, str], body: bytes, _terms: Terms) -> Deferred[Answer]:
        """Take a post."""
        answer: Deferred[Answer] = Deferred()
        self.posts.append(json.loads(body))
        self.answers.append(answer)
        return answer

    def acked(self, name: str = "h") -> int:
        """How far the receiver has everything."""
        return self.consumers.found(name).acked.offset

    def make(self, name: str = "h", topic: str = "news", **further: Any) -> Answered:
        """Make a hook."""
        return self.ask("POST", "/hooks", json.dumps({"name": name, "topic": topic, "url": URL, **further}).encode())

    def look(self, name: str = "h") -> Any:
        """What there is to say of a hook."""
        return self.ask("GET", f"/hooks/{name}").json()

    def begin(self, method: str, target: str) -> Wire:
        """Send a request whose answer may take its time."""
        wire = self.connect()
        wire.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        return wire


def test_making() -> None:
    """A hook that is made is answered with what it is, and a secret; the token of its URL is not shown."""
    face = HookedFace()
    made = face.make(topic="a/*", since="first")
    assert made.status == 201
    secret = made.json().pop("secret")
    assert len(key_of(secret)) == 32
    assert face.look() == {
        "name": "h",
        "topics": ["a/*"],
        "acked": f"{EPOCH}-0",
        "behind": {"messages": 0, "more": False, "offsets": 0},
        "gap": False,
        "url": "https://receiver.example/in?…",
        "created": 0.0,
        "state": "live",
        "tries": 0,
    }
    assert secret not in repr(vars(face.hooks)) + str(face.look())
    assert "geheim" not in repr(vars(face.hooks))


def test_names() -> None:
    """A hook without a name is given one."""
    face = HookedFace()
    names = [
        face.ask("POST", "/hooks", json.dumps({"topics": ["a"], "url": URL}).encode()).json()["name"] for _ in range(2)
    ]
    assert len(set(names)) == 2
    assert [each["name"] for each in face.ask("GET", "/hooks").json()["hooks"]] == names


def test_names_in_paths() -> None:
    """Names are UTF-8 in the path, percent-encoded."""
    face = HookedFace()
    face.make("bestellungen ü%")
    assert face.look("bestellungen%20%C3%BC%25")["name"] == "bestellungen ü%"
    for path in ("/hooks/%FF", "/hooks//", "/hooks/h/", "/hooks/h/a/b", "/hooks/h/resume"):
        assert face.ask("GET", path).status == 404, path
    assert face.ask("GET", "/hooks/").status == 200


def test_most() -> None:
    """There are at most max-hooks."""
    face = HookedFace(Config(max_hooks=2))
    assert [face.make(name).status for name in "abc"] == [201, 201, 429]
    assert face.ask("DELETE", "/hooks/a").status == 204
    assert face.make("c").status == 201


def test_listing() -> None:
    """A list is cut off at its limit, and says so."""
    face = HookedFace()
    for name in "abc":
        face.make(name)
    wire = face.begin("GET", "/hooks?limit=2")
    face.clock.pump([0.01] * 10)
    listed = Answered.parse(wire.take()).json()
    assert ([each["name"] for each in listed["hooks"]], listed["more"]) == (["a", "b"], True)


def test_the_store_fails() -> None:
    """What cannot be kept is not made, and what cannot be forgotten goes on."""
    face = HookedFace()
    face.store.fails = True
    assert face.make().status == 503
    assert not list(face.consumers)
    assert face.ask("GET", "/hooks/h").status == 404
    face.store.fails = False
    assert face.make().status == 201
    face.store.fails = True
    assert face.ask("DELETE", "/hooks/h").status == 503
    face.store.fails = False
    face.publish("news", "a")
    assert face.posts
    assert face.ask("DELETE", "/hooks/h").status == 204
    assert not list(face.consumers)


def test_deleting_what_posts() -> None:
    """A hook that is deleted while it posts gives that up."""
    face = HookedFace()
    face.make()
    face.publish("news", "a")
    assert face.ask("DELETE", "/hooks/h").status == 204
    assert face.answers[0].called
    assert not face.router.records.of("hook")
    face.publish("news", "b")
    assert len(face.posts) == 1


def test_parking_and_going_on() -> None:
    """A parked hook goes on when it is told to, also over a restart in between."""
    face = HookedFace()
    face.make()
    face.publish("news", "a")
    face.answers[0].callback(Answer(410))
    told = face.look()
    assert (told["state"], told["parked"]) == ("parked", 0.0)
    assert "410 Gone" in told["error"]
    assert face.hooks.states() == {"live": 0, "behind": 0, "retrying": 0, "parked": 1}
    again = Hooks(face.router, face.consumers, face.clock, face.post)
    again.start()
    assert again.look_at("h")["state"] == "parked"
    face.store.fails = True
    assert face.ask("POST", "/hooks/h/resume").status == 503
    face.store.fails = False
    assert face.ask("POST", "/hooks/h/resume").json()["state"] == "behind"
    assert len(face.posts) == 2
    face.answers[1].callback(Answer(200))
    assert face.look()["state"] == "live"
    assert face.ask("POST", "/hooks/h/resume").json()["state"] == "live"


def test_stopping() -> None:
    """A daemon that stops makes no hooks, and gives up what takes longer than it drains."""
    face = HookedFace(Config(drain=2.0))
    face.make()
    face.publish("news", "a")
    stopped: list[None] = []
    face.hooks.stop().addCallback(stopped.append)
    assert face.make("other").json()["code"] == "draining"
    face.clock.advance(1)
    assert not stopped
    face.clock.advance(1)
    assert stopped
    assert face.acked() == 0


def test_standing_still() -> None:
    """While a successor takes over nothing is posted; if it does not, the hooks go on."""
    face = HookedFace()
    face.make()
    face.publish("news", "a")
    face.router.hold()
    face.answers[0].callback(Answer(200))
    assert face.acked() == 0
    face.router.release()
    for _ in range(6):
        face.clock.advance(0.25)
    assert face.acked() == 1


def test_giving_way() -> None:
    """Once a successor has taken over, what is on its way is dropped at once."""
    face = HookedFace()
    face.make()
    face.publish("news", "a")
    face.router.hold()
    face.router.give_way(lambda _: fail(StoreFailed("gone")))
    stopped: list[None] = []
    face.hooks.stop().addCallback(stopped.append)
    face.clock.advance(0)
    assert stopped
    assert face.answers[0].called


def test_a_consumer_of_its_own() -> None:
    """The consumer of a hook is seen beside others, but nobody else reads, acknowledges or deletes it."""
    face = HookedFace()
    face.make()
    assert face.consumers.found("h").owner == "hook"
    for method, target in (("GET", "/consumers/h?wait=0"), ("POST", "/consumers/h/ack"), ("DELETE", "/consumers/h")):
        assert face.ask(method, target, b'{"id":"5f0c1a2b-0"}').json()["code"] == "consumer_exists", target
    assert face.ask("DELETE", "/hooks/h").status == 204
    assert not list(face.consumers)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"[]", "bad_json"),
        (b'{"url":1,"topic":"a"}', "bad_json"),
        (b'{"url":"https://a.example/"}', "bad_hook"),
        (b'{"url":"https://a.example/","topics":[]}', "bad_pattern"),
        (b'{"url":"https://a.example/","topics":["a"],"topic":"a"}', "bad_hook"),
        (b'{"url":"http://127.0.0.1/","topic":"a"}', "address_refused"),
        (json.dumps({"url": URL, "topics": [str(number) for number in range(101)]}).encode(), "too_many_patterns"),
    ],
)
def test_refusals(body: bytes, code: str) -> None:
    """What cannot be a hook is refused with a code."""
    assert HookedFace().ask("POST", "/hooks", body).json()["code"] == code
