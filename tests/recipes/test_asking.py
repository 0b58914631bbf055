"""What Comet is asked through a proxy: by whom, for which host, with which cookies, and how topics are spelled."""

from __future__ import annotations

import json

import pytest

from tests.e2e.held import Held, connected, publish, streams
from tests.recipes.conftest import Served
from tests.recipes.faces import HTTP_1, OFFERED, RECIPES, Face, tried
from tests.recipes.proxies import Front, proxy
from tests.recipes.recorder import Recorded, recording

SPELLINGS = (
    "plain",
    "a%20b",
    "caf%C3%A9",
    "100%25",
    "a%3Fb%23c",
    "a+b",
    "a%2Bb",
    "a;b=c",
    "(a)'b'~c",
    "a:b@c",
    "x/y/z",
)
"""Segments of topics as a page writes them into a URL."""

RECORDED = [path for path in RECIPES if "unix" not in path]

KEPT = [(path, method) for path in RECORDED for method in ("GET", "POST")]
KEPT.remove(("varnish/default.vcl", "GET"))  # piped
KEPT.remove(("squid/squid.conf", "POST"))

each_offered = pytest.mark.parametrize(("served", "protocol"), OFFERED, indirect=["served"])
each_recipe = pytest.mark.parametrize("served", RECIPES, indirect=True)


@each_offered
def test_own_pages(served: Served, protocol: str, topic: str) -> None:
    """A page of the proxy's own host may publish: Comet is told the Host that the browser asked for."""
    with served.client(protocol) as client:
        scheme = served.front.url.partition(":")[0]
        origin = f"{scheme}://{served.face.recipe.host}"
        answer = client.exchange("POST", f"/topics/{topic}", b"hello", Origin=origin)
        assert answer.status == 201, answer


@each_offered
def test_other_pages(served: Served, protocol: str, topic: str) -> None:
    """A page of another origin may not, and is told so by Comet, not by the proxy."""
    with served.client(protocol) as client:
        answer = client.exchange("POST", f"/topics/{topic}", b"hello", Origin="https://elsewhere.example")
        assert (answer.status, answer.json()["code"]) == (403, "origin_refused")


@each_recipe
def test_topics(served: Served, topic: str) -> None:
    """A topic is the same through the proxy and past it, however it is spelled in the URL."""
    with Held(connected(served.direct)) as held, served.client(HTTP_1) as client:
        held.ask(f"/topics/{topic}/**?transport=stream", "stream").until_control("open")
        for number, spelling in enumerate(SPELLINGS):
            publish(served.direct, f"{topic}/{spelling}", "direct")
            answer = client.exchange("POST", f"/topics/{topic}/{spelling}", b"proxied")
            assert answer.status == 201, (spelling, answer)
            direct, proxied = (message["topic"] for message in held.until_messages(2 * number + 2)[-2:])
            assert direct == proxied, spelling


@each_offered
def test_batch(served: Served, protocol: str, topic: str) -> None:
    """A batch of several megabytes, which the daemon takes, is let through."""
    with served.client(protocol) as client:
        messages = [{"topic": topic, "data": "x" * 1_000_000}] * 5
        answer = client.exchange("POST", "/topics", json.dumps(messages).encode(), Content_Type="application/json")
        assert (answer.status, len(answer.json()["ids"])) == (201, 5)


@each_recipe
def test_figures(served: Served) -> None:
    """Who is none of the operator's own machines does not see topics and addresses of clients, however he spells it."""
    with served.client(HTTP_1) as client:
        for path in ("/stats", "/stats/streams", "/metrics", "/%73tats", "/%6detrics?a=b"):
            assert client.exchange("GET", path).status == 403, path


@pytest.mark.parametrize("path", RECIPES)
def test_own_machines(path: str) -> None:
    """The operator's own machines do, if it is an administrator who asks."""
    with tried(path) as face:
        text = face.text().replace("10.0.0.0", "127.0.0.0")
        with (
            face.daemon(),
            proxy(face.recipe.kind, text, face.upstream, words=face.words()) as front,
            face.client(front, HTTP_1) as client,
        ):
            assert client.exchange("GET", "/stats/streams").json()["code"] == "unauthorized"
            answer = client.exchange("GET", "/stats/streams", Authorization=f"Bearer {face.token(admin=True)}")
            assert answer.json()["streams"] == []


TOLD = [path for path in RECIPES if path not in ("nginx/unix.conf", "varnish/default.vcl")]
"""The recipes whose proxy connects from an address that is not the one of the client in these tests."""

CLAIMS = {"X_Forwarded_For": "127.0.0.1", "X_Real_IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
"""What somebody says who would like to be of this machine."""


@pytest.mark.parametrize("path", RECIPES)
def test_tokens(path: str) -> None:
    """Nobody is local behind a proxy, whatever he claims; who has a token may do what that says."""
    with tried(path) as face, face.daemon(allowed=()), face.proxy() as front:
        token = {"Authorization": f"Bearer {face.token(publish=['news'], subscribe=['news'])}"}
        assert statuses(face, front) == [401, 401, 401]
        assert statuses(face, front, **CLAIMS) == [401, 401, 401]
        assert {*statuses(face, front, Host="localhost", **CLAIMS)} <= {
            401,
            403,
        }  # some proxies let no other name through
        assert {*statuses(face, front, Host="localhost")} <= {401, 403}
        assert statuses(face, front, **token) == [200, 201, 403]
        publish(face.direct, "other", "from this machine")


def statuses(face: Face, front: Front, **header: str) -> list[int]:
    """The answers to a subscriber, and to two publishers, with a header of theirs."""
    asked = [("GET", "/topics/news?wait=0"), ("POST", "/topics/news"), ("POST", "/topics/other")]
    found = []
    for method, target in asked:
        with face.client(front, HTTP_1) as client:
            found.append(client.exchange(method, target, b"", **header).status)
    return found


@pytest.mark.parametrize("served", TOLD, indirect=True)
def test_address(served: Served, topic: str) -> None:
    """The daemon knows whose client it is, by the proxy's word and not by the client's."""
    with served.client(HTTP_1) as client:
        client.ask(f"/topics/{topic}?transport=stream", "stream", X_Forwarded_For="192.0.2.1").until_control("open")
        (stream,) = streams(served.direct, topic)
        assert stream["address"].partition(":")[0] == "127.0.0.1"


@each_offered
def test_requests_follow_each_other(served: Served, protocol: str) -> None:
    """A browser's connection is kept for its next request."""
    with served.client(protocol) as client:
        for _ in range(5):
            assert client.exchange("GET", "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("path", RECORDED)
def test_head(path: str) -> None:
    """What Comet goes by comes through as it was sent, cookies too."""
    sent = {
        "Origin": "https://www.example.org",
        "Cookie": "session=1; token=abc.def",
        "Authorization": "Bearer abc",
        "Last_Event_ID": "5f0c1a2b-1042",
        "Idempotency_Key": "order-7",
    }
    for request in recorded(path, "GET", 1, **sent) + recorded(path, "POST", 1, **sent):
        assert request.header["host"] == RECIPES[path].host
        for name, value in sent.items():
            assert request.header[name.lower().replace("_", "-")] == value


@pytest.mark.parametrize(("path", "method"), KEPT)
def test_connections_are_kept(path: str, method: str) -> None:
    """Polls, or publishes, that follow each other use one connection to Comet."""
    requests = recorded(path, method, 5)
    assert len({request.connection for request in requests}) == 1


def recorded(path: str, method: str, count: int, **header: str) -> list[Recorded]:
    """What comes to Comet of so many requests."""
    with tried(path) as face, recording(face.upstream) as recorder, face.proxy() as front:
        with face.client(front, HTTP_1) as client:
            for _ in range(count):
                assert client.exchange(method, "/topics/a?wait=0", b"", **header).status == 200
        return recorder.requests("/topics/a?wait=0", count)
