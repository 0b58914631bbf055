"""Wildcard widening: somebody who may subscribe to a little asks with a pattern that matches more, on every way in.

A grant covers a pattern only if it covers all that the pattern can match.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.attacks.access import asks, code_of, guarded, retained, token
from tests.attacks.attacker import push
from tests.attacks.frames import opened, text
from tests.daemons import Daemon
from tests.e2e.held import Held, connected

WIDER = {
    "a/*": "a/** ** * */* */b a a/*/* a/b/c b/* A/* a/b/* a/*/c",
    "a/**": "a ** */** */b * aa/b A/** a*/b",
    "a/*/c": "a/*/* a/** a/* */b/c a/b/d",
    "*": "** */* a/b $stats $stats/daemon",
    "**": "$stats/** $stats/daemon $stats/* $stats",
    "*/x": "** */* x $stats/x a/x/y",
    "a": "* ** a/* a/** A b á a\u200b",
}
"""By what is granted: what is asked for."""

CASES = [(granted, wider) for granted, several in WIDER.items() for wider in several.split(" ")]

KEPT = "confidential"


@pytest.fixture(scope="module")
def guard() -> Iterator[Daemon]:
    """A daemon with a message on many topics."""
    with guarded("--anonymous", "publish:**") as daemon:
        topics = ("a", "b", "a/b", "a/b/c", "a/b/c/d", "b/b", "x", "aa/b")
        lines = [json.dumps({"topic": topic, "data": KEPT}) for topic in topics]
        assert asks(daemon, "POST", "/topics", "", "\n".join(lines).encode())[0] == 201
        yield daemon


@pytest.mark.parametrize(("granted", "wider"), CASES)
def test_wildcard_widening(guard: Daemon, granted: str, wider: str) -> None:
    """Not in the path, nor in the query beside an allowed one, nor on an open stream, nor over RESP."""
    bearer = token(comet={"subscribe": [granted, "fine"]})
    path = wider.replace("$", "%24")
    for target in (f"/topics/{path}?since=first&wait=0", f"/topics/fine?topic={path}&since=first&wait=0"):
        answer = asks(guard, "GET", target.encode().decode("latin-1"), bearer)
        assert code_of(answer)[0] in (400, 403), answer
        assert KEPT not in answer[2].decode()
    with Held(connected(guard.http)) as held:
        held.ask("/topics/fine?transport=stream", "stream", Authorization=f"Bearer {bearer}")
        stream = held.until_control("open")["stream"]
        change = json.dumps({"subscribe": [wider], "since": "first"}).encode()
        assert code_of(asks(guard, "POST", f"/streams/{stream}", bearer, change))[0] in (400, 403)
        assert held.messages() == []


def test_wildcard_widening_on_a_websocket(guard: Daemon) -> None:
    """Nor on a WebSocket, where each is refused and the stream goes on."""
    for granted, wider in CASES:
        bearer = token(comet={"subscribe": [granted, "fine"]})
        with opened(guard.http, "fine", f"Authorization: Bearer {bearer}") as (connection, _):
            push(connection, text({"subscribe": [wider], "since": "first"}))
            answer = connection.recv(65_536)
            assert b'"error"' in answer, (granted, wider)
            assert KEPT.encode() not in answer


BEYOND = (
    *(b"PSUBSCRIBE a/** b", b"PSUBSCRIBE *", b"PSUBSCRIBE a*", b"PSUBSCRIBE ?", b"PSUBSCRIBE [ab]/b", b"PSUBSCRIBE **"),
    *(b"SUBSCRIBE b", b"SUBSCRIBE a/b/c", b"SUBSCRIBE fine b", b"PSUBSCRIBE a\\*", b"PSUBSCRIBE $stats/*"),
    *(b"XREAD STREAMS b 0", b"XREAD STREAMS a/b b 0 0", b"XRANGE b - +", b"XLEN b", b"XREVRANGE b + -"),
    *(b"PUBLISH a/b evil", b"XADD a/b * data evil", b"PUBSUB CHANNELS", b"XINFO STREAM b"),
    *(b"XREADGROUP GROUP g c STREAMS b >", b"XGROUP CREATE b g $"),
)


def test_wildcard_widening_over_resp(guard: Daemon) -> None:
    """Nor over RESP, whose patterns are written otherwise."""
    bearer = token(comet={"subscribe": ["a/*", "fine"]}).encode()
    with connected(guard.tcp) as connection:
        connection.sendall(b"AUTH %b\r\n" % bearer)
        assert connection.recv(1_000) == b"+OK\r\n"
        for words in BEYOND:
            connection.sendall(words + b"\r\n")
            answer = connection.recv(65_536)
            assert answer.startswith(b"-"), (words, answer)
            assert KEPT.encode() not in answer
            assert b"evil" not in answer
    assert "evil" not in retained(guard, "a/b")


ELSEWHERE = ("b", "a/b/c", "a", "a/%2e%2e", "a/b%2fc", "A/b", "%61/b/c", "a//b", "a/b/", "a/*", "$stats/a")


@pytest.mark.parametrize("topic", ELSEWHERE)
def test_publishing_beyond_a_grant(guard: Daemon, topic: str) -> None:
    """Who may publish on ``a/*`` publishes nowhere else, however that is spelt, and not in a batch with what he may."""
    bearer = token(comet={"publish": ["a/only"], "subscribe": ["a/*"]})
    assert code_of(asks(guard, "POST", f"/topics/{topic}", bearer, b"evil"))[0] in (400, 403)
    batch = json.dumps([{"topic": "a/only", "data": "evil"}, {"topic": topic, "data": "evil"}]).encode()
    assert code_of(asks(guard, "POST", "/topics", bearer, batch))[0] in (400, 403)
    with opened(guard.http, "a/only", f"Authorization: Bearer {bearer}") as (connection, _):
        push(connection, text({"publish": topic, "data": "evil"}))
        assert b'"error"' in connection.recv(65_536)
    assert "evil" not in retained(guard, "**")


ADMIN = (
    *("/", "/stats", "/stats/topics", "/stats/streams", "/metrics", "/hooks", "/consumers", "/revocations"),
    *("/topics/$stats/**?wait=0&since=last", "/topics/%24stats/daemon?wait=0&since=last", "/?x=1", "/stats?x"),
    *("/%73tats", "/%68ooks", "/metric%73", "/stats/", "/stats//topics", "//stats", "/./stats", "/healthz/../stats"),
    *("/comet.js/../stats", "/stats%2ftopics", "/healthz%2f..%2fstats", "/readyz/../metrics", "/stats;x=/healthz"),
    *("/healthz?/../stats", "/demo/../hooks", "http://localhost/stats", "HTTP://LOCALHOST/stats", "/hooks/x"),
)


@pytest.mark.parametrize("target", ADMIN)
def test_what_is_for_administrators(guard: Daemon, target: str) -> None:
    """The console, the figures, hooks and revocations are for administrators: not for anybody, nor for a token that may
    subscribe to everything, however the path is spelt; HEAD tells no more than GET."""
    everything = token(comet={"subscribe": ["**"], "publish": ["**"]})
    for method in ("GET", "HEAD"):
        for bearer in ("", everything):
            status, _, body = asks(guard, method, target, bearer)
            assert status in (400, 401, 403, 404, 405) or target.startswith("/healthz?"), (status, body)
            assert b"rates" not in body
            assert b"comet_" not in body
