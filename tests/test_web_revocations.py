"""``/revocations``: tokens and subjects are revoked, listed, and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from comet.access.grant import Grant
from comet.access.revoked import Revocations
from comet.web.revocations import RevocationsResource
from tests.web_faces import Answer, Face

STREAMS = (Grant(subject="alice", token="a1"), Grant(subject="alice", token="a2"), Grant(subject="bob", token="b1"))
"""Those with which streams are open."""


class RevokingFace(Face):
    """An HTTP face on which three streams are open, as far as revocations see it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock.advance(1_790_000_000)
        self.streams = list(STREAMS)
        self.revocations = Revocations(self.router.records, self.router.time, 3)
        self.site.resource.putChild(b"revocations", RevocationsResource(self.revocations, self.end))

    def end(self, covers: Callable[[Grant], bool]) -> int:
        """End the streams that are covered."""
        before = len(self.streams)
        self.streams = [grant for grant in self.streams if not covers(grant)]
        return before - len(self.streams)

    def revoke(self, **said: Any) -> Answer:
        """Revoke what is said."""
        return self.ask("POST", "/revocations", json.dumps(said).encode())

    def listed(self, query: str = "") -> Any:
        """What is revoked."""
        return self.ask("GET", f"/revocations{query}").json()

    def subjects(self) -> list[str]:
        """Whose streams are open."""
        return [grant.token for grant in self.streams]


def test_a_token() -> None:
    """A token is revoked by its id, and its streams end."""
    face = RevokingFace()
    answer = face.revoke(token="a1", until=1_790_003_600)
    assert answer.status == 201
    said = {"token": "a1", "at": 1_790_000_000.0, "until": 1_790_003_600.0}
    assert answer.json() == {**said, "ended": 1}
    assert face.subjects() == ["a2", "b1"]
    assert face.listed() == {"revocations": [said], "more": False}


def test_a_subject() -> None:
    """A subject is revoked with all the tokens that it has."""
    face = RevokingFace()
    assert face.revoke(subject="alice").json() == {"subject": "alice", "at": 1_790_000_000.0, "ended": 2}
    assert face.subjects() == ["b1"]
    assert face.revoke(subject="alice").json()["ended"] == 0
    assert face.revocations.covers(STREAMS[0])


def test_taking_back() -> None:
    """What was revoked counts again, also if its name has a slash in it."""
    face = RevokingFace()
    face.revoke(token="a/1 ü")
    face.revoke(subject="alice")
    assert face.ask("DELETE", "/revocations/tokens/a%2F1%20%C3%BC").status == 204
    assert face.ask("DELETE", "/revocations/subjects/alice").status == 204
    assert face.listed() == {"revocations": [], "more": False}
    answer = face.ask("DELETE", "/revocations/subjects/alice")
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


def test_listing() -> None:
    """A list is cut off at its limit, and says so."""
    face = RevokingFace()
    for name in "abc":
        face.revoke(token=name)
    listed = face.listed("?limit=2")
    assert ([each["token"] for each in listed["revocations"]], listed["more"]) == (["a", "b"], True)
    assert face.listed("?limit=3")["more"] is False
    assert face.ask("GET", "/revocations?state=a").json()["code"] == "bad_parameter"
    assert face.ask("GET", "/revocations/").status == 200


def test_the_store_fails() -> None:
    """What cannot be kept is refused, and no stream ends."""
    face = RevokingFace()
    face.store.fails = True
    answer = face.revoke(subject="alice")
    assert (answer.status, answer.json()["code"]) == (503, "store_failed")
    assert len(face.streams) == 3
    assert face.listed()["revocations"] == []


def test_no_room() -> None:
    """When as many are revoked as are remembered, none is forgotten for another."""
    face = RevokingFace()
    assert [face.revoke(token=name).status for name in "abcd"] == [201, 201, 201, 503]
    assert face.revoke(token="e").json()["code"] == "too_many_revocations"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"[]", "bad_json"),
        (b'{"token":7}', "bad_json"),
        (b'{"token":"a","until":"soon"}', "bad_json"),
        (b'{"token":"a","until":1e999}', "bad_json"),
        (b'{"tokens":["a"]}', "bad_json"),
        (b"{}", "bad_request"),
        (b'{"until":1790003600}', "bad_request"),
        (b'{"token":"a","subject":"b"}', "bad_request"),
        (b'{"token":""}', "bad_name"),
        (b'{"subject":"' + b"x" * 2000 + b'"}', "bad_name"),
        (b'{"token":"a","until":1}', "bad_parameter"),
        (b'{"token":"a","until":-1}', "bad_parameter"),
    ],
)
def test_refusals(body: bytes, code: str) -> None:
    """What cannot be a revocation is refused with a code, and nothing is revoked."""
    face = RevokingFace()
    assert face.ask("POST", "/revocations", body).json()["code"] == code
    assert not list(face.revocations)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/revocations/tokens"),
        ("GET", "/revocations/tokens/a"),
        ("POST", "/revocations/tokens"),
        ("DELETE", "/revocations"),
        ("DELETE", "/revocations/tokens"),
        ("DELETE", "/revocations/hooks/a"),
        ("DELETE", "/revocations/tokens/a/b"),
        ("DELETE", "/revocations/tokens/%FF"),
        ("DELETE", "/revocations/tokens/"),
    ],
)
def test_paths(method: str, path: str) -> None:
    """There is nothing at other paths."""
    assert RevokingFace().ask(method, path, b'{"token":"a"}').status == 404
