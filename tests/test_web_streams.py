"""Changing and ending an open stream from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comet.config import Config
from tests.web_faces import Answer, Face, Wire


class Stream:
    """An open stream of JSON lines."""

    def __init__(self, face: Face, target: str = "/topics/news?transport=stream") -> None:
        self.face = face
        self.wire: Wire = face.connect()
        self.wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        _, _, body = self.wire.take().partition(b"\r\n\r\n")
        self.id = json.loads(body.split(b"\n")[0])["stream"]

    def lines(self) -> list[Any]:
        """The objects that came since the last time."""
        self.face.clock.advance(0)
        return [json.loads(line) for line in self.wire.take().splitlines()]

    def post(self, **change: object) -> Answer:
        """Change its topics."""
        return self.face.ask("POST", f"/streams/{self.id}", json.dumps(change).encode())


@pytest.fixture
def face() -> Face:
    """A daemon in memory."""
    return Face()


def test_topics_of_an_open_stream_are_changed(face: Face) -> None:
    """A POST adds and removes topics; the stream says so in-band and carries them from there on."""
    stream = Stream(face)
    answer = stream.post(subscribe=["sport/*"], unsubscribe=["news"])
    assert (answer.status, answer.body) == (204, b"")
    (topics,) = stream.lines()
    assert (topics["comet"], topics["topics"]) == ("topics", ["sport/*"])
    face.publish("news", "no")
    face.publish("sport/golf", "yes")
    assert [line["data"] for line in stream.lines()] == ["yes"]


def test_new_topics_come_with_their_history(face: Face) -> None:
    """A POST that says since brings what was published before."""
    face.publish("sport/golf", "old")
    stream = Stream(face)
    stream.post(subscribe=["sport/golf"], since="-1")
    topics, message = stream.lines()
    assert (topics["comet"], message["data"]) == ("topics", "old")


def test_naming_what_is_there_already_changes_nothing(face: Face) -> None:
    """Subscribing twice, or unsubscribing what is not subscribed, is answered like any change."""
    face.publish("news", "old")
    stream = Stream(face)
    assert stream.post(subscribe=["news"], unsubscribe=["sport"], since="first").status == 204
    (topics,) = stream.lines()
    assert topics["topics"] == ["news"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "bad_request"),
        ({"subscribe": [], "since": "first"}, "bad_request"),
        ({"subscribe": ["a//b"]}, "bad_pattern"),
        ({"unsubscribe": ["a//b"]}, "bad_pattern"),
        ({"unsubscribe": ["news"]}, "bad_pattern"),
        ({"subscribe": ["a"], "since": "soon"}, "bad_since"),
        ({"subscribe": "a"}, "bad_json"),
        ({"subscribe": ["a"], "sinse": "first"}, "bad_json"),
        ({"subscribe": ["a", "b", "c"]}, "too_many_patterns"),
    ],
)
def test_a_change_that_is_wrong_is_refused(change: dict[str, object], code: str) -> None:
    """What is wrong with a change is said, and the stream keeps its topics."""
    face = Face(Config(max_patterns=3))
    stream = Stream(face)
    answer = stream.post(**change)
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert stream.lines() == []
    face.publish("news", "still")
    assert [line["data"] for line in stream.lines()] == ["still"]


def test_a_stream_is_ended(face: Face) -> None:
    """DELETE ends a stream, which says bye; a second time there is nothing to end."""
    stream = Stream(face)
    assert face.ask("DELETE", f"/streams/{stream.id}").status == 204
    (bye,) = stream.lines()
    assert bye["comet"] == "bye"
    assert stream.wire.disconnecting
    assert face.ask("DELETE", f"/streams/{stream.id}").json()["code"] == "unknown_stream"


@pytest.mark.parametrize("path", ["/streams/nonesuch", "/streams/%ff", "/streams/a/b"])
def test_a_stream_that_is_not_there_is_unknown(face: Face, path: str) -> None:
    """Who names a stream that is not open is told so."""
    answer = face.ask("POST", path, b'{"subscribe":["a"]}')
    assert (answer.status, answer.json()["code"]) == (404, "unknown_stream")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/streams/x", 405), ("POST", "/streams", 404)])
def test_there_is_nothing_else_to_do_with_streams(face: Face, method: str, path: str, status: int) -> None:
    """Other methods and other paths get a problem document."""
    answer = face.ask(method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_poll_cannot_be_changed(face: Face) -> None:
    """A held poll is no stream: its topics are those of its request."""
    face.connect().send(b"GET /topics/news HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (poll,) = face.router.streams
    assert face.ask("POST", f"/streams/{poll}", b'{"subscribe":["a"]}').json()["code"] == "bad_request"
