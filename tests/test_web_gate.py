"""The gate: who asks, from where, and whether that may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest
from twisted.internet.task import Clock

from comet.config import Config
from tests.web_faces import Answer, Face

SECRET = b"0123456789abcdef0123456789abcdef"
SUBSCRIBE = "/topics/news/a?wait=0"


def token(subject: str = "alice", *, secret: bytes = SECRET, **further: Any) -> str:
    """A token, which allows to subscribe to ``news/**`` and to publish on ``chat/*`` unless it says otherwise."""
    allowed = {"subscribe": ["news/**"], "publish": ["chat/*"]}
    return jwt.encode({"sub": subject, "comet": allowed, **further}, secret, algorithm="HS256")


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The file of a key."""
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    return str(path)


def make(**settings: Any) -> Face:
    """A daemon."""
    return Face(Config(**settings), Clock())


def code(answer: Answer) -> tuple[int, str]:
    """The status of a refusal, and its code."""
    return answer.status, answer.json()["code"]


UNAUTHORIZED = (401, "unauthorized")


# -- programs of this machine -----------------------------------------------------------------------------------------


def test_a_program_of_this_machine_may_do_everything() -> None:
    """Without a token, and without settings."""
    face = make()
    assert face.ask("POST", "/topics/a", b"hi").status == 201
    assert face.ask("GET", "/stats").status == 200
    assert face.ask("GET", "/topics/**?wait=0").status == 200


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"X-Forwarded-For": "203.0.113.5"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "127.0.0.1"},
    {"X-Forwarded-Proto": "https"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=repr)
def test_what_comes_for_somebody_else_is_not_of_this_machine(headers: dict[str, str]) -> None:
    """A page of another site, or a reverse proxy here, has no more rights than anybody."""
    face = make()
    assert code(face.ask("GET", SUBSCRIBE, b"", **headers)) == UNAUTHORIZED
    assert code(face.ask("POST", "/topics/a", b"hi", **headers)) == UNAUTHORIZED
    assert code(face.ask("GET", "/stats", b"", **headers)) == UNAUTHORIZED
    assert not face.router.log.count


NEAR = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"},
]


@pytest.mark.parametrize("headers", NEAR, ids=repr)
def test_pages_of_this_machine_and_links_are(headers: dict[str, str]) -> None:
    """A page from here may ask."""
    assert make().ask("GET", SUBSCRIBE, b"", **headers).status == 200


def test_a_link_elsewhere_may_lead_to_the_console() -> None:
    """And to nothing that does something when it is followed."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    face = make()
    assert face.ask("GET", "/", b"", **headers).status == 200
    for target in (SUBSCRIBE, "/consumers/mine?topic=a&wait=0", "/stats"):
        assert code(face.ask("GET", target, b"", **headers)) == UNAUTHORIZED


def test_a_listed_page_may_ask_from_another_site() -> None:
    """Its origin says so; and an iframe for it, which nobody else can show."""
    face = make(origin=("https://shop.example",))
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = face.ask("GET", SUBSCRIBE, b"", Origin="https://shop.example", **headers)
    assert answer.status == 200
    assert answer.headers["access-control-allow-credentials"] == "true"
    headers["Sec-Fetch-Dest"] = "iframe"
    framed = "/topics/a?transport=iframe&origin=https%3A%2F%2Fshop.example"
    wire = face.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    wire.send(f"GET {framed} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    assert b" 200 " in wire.take()
    assert code(face.ask("GET", framed.replace("shop", "evil"), b"", **headers))[0] in (400, 401)


def test_a_listed_proxy_is_never_local() -> None:
    """Even if it does not say for whom it speaks."""
    face = make(proxy=("127.0.0.1/32",))
    assert code(face.ask("GET", SUBSCRIBE)) == UNAUTHORIZED


def test_the_proxy_protocol_is_never_local() -> None:
    """Whatever it says whose connection it is."""
    face = make()
    wire = face.connect()
    wire.protocol.announced = True
    wire.send(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert code(Answer.parse(wire.take())) == UNAUTHORIZED


def test_local_programs_can_be_nobody_special() -> None:
    """With ``local`` set to anonymous they need a token like others."""
    face = make(local="anonymous", anonymous=("subscribe:news/**",))
    assert face.ask("GET", SUBSCRIBE).status == 200
    assert code(face.ask("GET", "/topics/a?wait=0")) == UNAUTHORIZED
    assert code(face.ask("POST", "/topics/news/a", b"hi")) == UNAUTHORIZED
    assert code(face.ask("GET", "/")) == UNAUTHORIZED


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/comet.js", "/console.css", "/demo/"])
def test_some_things_are_for_all(path: str) -> None:
    """Whether the daemon is up, and files that are the same everywhere."""
    assert make(local="anonymous").ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/", "/stats", "/stats/topics", "/metrics", "/hooks", "/hooks/x", "/consumers"])
def test_some_are_for_administrators(path: str, key: str) -> None:
    """A token may say that its holder is one."""
    face = make(local="anonymous", key=(key,))
    assert code(face.ask("GET", path)) == UNAUTHORIZED
    assert code(face.ask("GET", path, Authorization=f"Bearer {token()}")) == (403, "forbidden")
    admin = token(comet={"admin": True})
    assert face.ask("GET", path, Authorization=f"Bearer {admin}").status in (200, 404)


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_allows_what_it_says(key: str) -> None:
    """And nothing else; a wildcard does not widen it."""
    face = make(local="anonymous", key=(key,))
    bearer = {"Authorization": f"Bearer {token()}"}
    assert face.ask("GET", SUBSCRIBE, b"", **bearer).status == 200
    assert face.ask("GET", "/topics/news/*?wait=0", b"", **bearer).status == 200
    assert face.ask("POST", "/topics/chat/a", b"hi", **bearer).status == 201
    for target in ("/topics/**?wait=0", "/topics/*/a?wait=0", "/topics/chat/a?wait=0", "/topics/$stats?wait=0"):
        assert code(face.ask("GET", target, b"", **bearer)) == (403, "forbidden"), target
    assert code(face.ask("POST", "/topics/news/a", b"hi", **bearer)) == (403, "forbidden")
    assert code(face.ask("POST", "/topics", b'{"topic":"chat/a","data":1}\n{"topic":"x","data":1}', **bearer)) == (
        403,
        "forbidden",
    )
    assert face.router.log.count == 1


def test_a_refusal_says_how_to_authenticate(key: str) -> None:
    """RFC 6750, section 3."""
    answer = make(local="anonymous", key=(key,)).ask("GET", SUBSCRIBE)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["token", "%74oken", "tok%65n"])
def test_a_token_may_come_in_the_query(name: str, key: str) -> None:
    """However its name is spelt; publishing and subscribing know nothing of it."""
    face = make(local="anonymous", key=(key,))
    assert face.ask("GET", f"{SUBSCRIBE}&{name}={token()}").status == 200
    assert face.ask("POST", f"/topics/chat/a?{name}={token()}", b"hi").status == 201
    assert code(face.ask("GET", f"{SUBSCRIBE}&{name}=x")) == (401, "bad_token")
    assert code(face.ask("GET", f"{SUBSCRIBE}&{name}={token()}&token={token()}")) == (401, "bad_token")


def test_a_wrong_token_is_never_ignored(key: str) -> None:
    """Not even of a program of this machine."""
    face = make(key=(key,))
    assert code(face.ask("GET", SUBSCRIBE, Authorization="Bearer nonsense")) == (401, "bad_token")
    assert code(make().ask("GET", SUBSCRIBE, Authorization=f"Bearer {token()}")) == (401, "bad_token")


OURS = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {"Origin": "https://shop.example"}]
NOT_OURS = [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]


@pytest.mark.parametrize("headers", OURS, ids=repr)
def test_a_cookie_counts_if_the_page_is_ours(headers: dict[str, str], key: str) -> None:
    """Of this origin, or of a listed one."""
    face = make(local="anonymous", key=(key,), origin=("https://shop.example",))
    cookie = {"Cookie": f"theme=dark; __Host-comet={token()}; a=b"}
    assert face.ask("GET", SUBSCRIBE, b"", **cookie, **headers).status == 200
    published = face.ask("POST", "/topics/chat/a", b"hi", **cookie, **headers)
    assert published.status == (201 if "Origin" in headers else 401)


@pytest.mark.parametrize("headers", NOT_OURS, ids=repr)
def test_a_cookie_does_not_count_otherwise(headers: dict[str, str], key: str) -> None:
    """Browsers send it whoever's page asks."""
    face = make(local="anonymous", key=(key,))
    cookie = {"Cookie": f"__Host-comet={token()}"}
    assert code(face.ask("GET", SUBSCRIBE, b"", **cookie, **headers)) == UNAUTHORIZED
    assert code(face.ask("POST", "/topics/chat/a", b"hi", **cookie, **headers)) == UNAUTHORIZED


def test_one_cookie_only(key: str) -> None:
    """Two of the name are refused: another site of the domain may have set one. Another name means nothing."""
    face = make(local="anonymous", key=(key,))
    two = f"__Host-comet={token()}; __Host-comet={token('mallory')}"
    assert code(face.ask("GET", SUBSCRIBE, Cookie=two, Origin="http://localhost")) == (401, "bad_token")
    assert code(face.ask("GET", SUBSCRIBE, Cookie=f"comet={token()}", Origin="http://localhost")) == UNAUTHORIZED
    face = make(local="anonymous", key=(key,), cookie="none")
    cookie = f"__Host-comet={token()}"
    assert code(face.ask("GET", SUBSCRIBE, Cookie=cookie, Origin="http://localhost")) == UNAUTHORIZED


# -- streams ----------------------------------------------------------------------------------------------------------


def opened(face: Face, bearer: str, target: str = "/topics/news/a?transport=stream") -> tuple[Any, str]:
    """A stream, and its id."""
    wire = face.connect()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode())
    (stream,) = face.router.streams
    return wire, stream


def test_a_stream_changes_within_its_grant(key: str) -> None:
    """Whoever knows its id may change its topics, but only to what its own token allows."""
    face = make(local="anonymous", key=(key,))
    _, stream = opened(face, token())
    assert face.ask("POST", f"/streams/{stream}", b'{"subscribe":["news/b"]}').status == 204
    assert code(face.ask("POST", f"/streams/{stream}", b'{"subscribe":["chat/b"]}')) == (403, "forbidden")


def test_a_stream_is_renewed(key: str) -> None:
    """With a new token of its subject."""
    face = make(local="anonymous", key=(key,))
    wire, stream = opened(face, token(exp=100))
    wire.take()
    body = b'{"token":"%b"}' % token(exp=1000).encode()
    assert face.ask("POST", f"/streams/{stream}/token", body).status == 204
    other = b'{"token":"%b"}' % token("mallory").encode()
    assert code(face.ask("POST", f"/streams/{stream}/token", other)) == (403, "forbidden")
    assert code(face.ask("POST", f"/streams/{stream}/token", b'{"token":"x"}')) == (401, "bad_token")
    assert code(face.ask("POST", "/streams/nobody/token", body)) == (404, "unknown_stream")
    face.clock.pump([10.0] * 30)
    assert b"bye" not in wire.take()
    face.clock.pump([10.0] * 75)
    assert b'"reason":"expired"' in wire.take()


def test_consumers_are_for_those_whose_token_names_them(key: str) -> None:
    """Another's cursor can be neither read nor moved."""
    face = make(local="anonymous", key=(key,))
    mine = {"Authorization": f"Bearer {token(comet={'consumers': ['billing'], 'subscribe': ['news/**']})}"}
    assert face.ask("GET", "/consumers/billing?topic=news/a&wait=0", b"", **mine).status == 200
    for method, path in (("GET", "x?topic=news/a&wait=0"), ("POST", "x/ack"), ("DELETE", "x")):
        assert code(face.ask(method, f"/consumers/{path}", b'{"id":"0-1"}', **mine)) == (403, "forbidden")
    assert code(face.ask("GET", "/consumers/billing?topic=a&wait=0", b"", **mine)) == (403, "forbidden")


def test_revoking_ends_streams_and_keeps_out(key: str) -> None:
    """A token that was revoked opens nothing any more, and what it had opened ends."""
    face = make(local="anonymous", key=(key,))
    wire, _ = opened(face, token(jti="1"))
    admin = {"Authorization": f"Bearer {token('root', comet={'admin': True})}"}
    assert code(face.ask("POST", "/revocations", b'{"token":"1"}')) == UNAUTHORIZED
    answer = face.ask("POST", "/revocations", b'{"token":"1"}', **admin)
    assert (answer.status, answer.json()["ended"]) == (201, 1)
    assert b'"reason":"revoked"' in wire.take()
    assert code(face.ask("GET", SUBSCRIBE, Authorization=f"Bearer {token(jti='1')}")) == (401, "bad_token")
    assert face.ask("GET", SUBSCRIBE, Authorization=f"Bearer {token(jti='2')}").status == 200


def websocket(face: Face, bearer: str) -> Any:
    """A WebSocket, whose opening was read."""
    wire = face.connect()
    head = [
        "GET /topics/news/a HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {bearer}",
    ]
    wire.send("\r\n".join([*head, "", ""]).encode())
    assert b"101" in wire.take()[:12]
    return wire


def said(wire: Any, text: bytes) -> bytes:
    """What is answered to ``text``."""
    mask = b"\0\0\0\0"
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    wire.send(b"\x81" + size + mask + text)
    return bytes(wire.take())


def test_a_websocket_does_what_its_token_allows(key: str) -> None:
    """And is renewed on itself."""
    face = make(local="anonymous", key=(key,))
    wire = websocket(face, token(exp=100))
    assert b'"comet":"ok"' in said(wire, b'{"publish":"chat/a","data":1,"ref":1}')
    assert b'"code":"forbidden"' in said(wire, b'{"publish":"news/a","data":1,"ref":2}')
    assert b'"code":"forbidden"' in said(wire, b'{"subscribe":["chat/a"],"ref":3}')
    assert b'{"comet":"ok","ref":4}' in said(wire, b'{"token":"%b","ref":4}' % token(exp=1000).encode())
    assert b'"code":"bad_token"' in said(wire, b'{"token":"x","ref":5}')
    face.clock.pump([10.0] * 30)
    assert b"expired" not in wire.take()
    face.clock.pump([10.0] * 75)
    assert b'"reason":"expired"' in wire.take()


def test_behind_a_proxy_the_client_is_told(key: str) -> None:
    """In lists of streams stands who it is, not the proxy; of others what they say of themselves does not count."""
    face = make(proxy=("127.0.0.1/32",), key=(key,))
    admin = {"Authorization": f"Bearer {token('root', comet={'admin': True, 'subscribe': ['**']})}"}
    wire = face.connect()
    head = f"GET /topics/a?transport=stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: {admin['Authorization']}\r\n"
    wire.send(f"{head}X-Forwarded-For: 127.0.0.1, 203.0.113.5\r\n\r\n".encode())
    (stream,) = face.ask("GET", "/stats/streams", b"", **admin).json()["streams"]
    assert stream["address"] == "203.0.113.5"


def test_a_forgotten_proxy_is_not_local(key: str) -> None:
    """One that passes on any Host shows by the name that the daemon was given for it; one that passes on no Host, and
    adds nothing, by its HTTP/1.0."""
    face = make(host=("push.example",), key=(key,))
    assert code(face.ask("GET", "/stats")) == UNAUTHORIZED
    known = make(host=("push.example",), key=(key,), proxy=("127.0.0.2/32",))
    assert known.ask("GET", "/stats").status == 200, "it is known which proxy there is"
    wire = make().connect()
    wire.send(b"GET /stats HTTP/1.0\r\nHost: 127.0.0.1:7080\r\nConnection: close\r\n\r\n")
    assert code(Answer.parse(wire.take())) == UNAUTHORIZED


def test_messages_on_a_websocket_count_as_requests(key: str) -> None:
    """Who subscribes and unsubscribes in a loop is slowed down, as if each were a request."""
    face = make(local="anonymous", key=(key,), requests_per_subject=10, burst=1.0)
    wire = websocket(face, token())
    answers = [said(wire, b'{"subscribe":["news/b"],"unsubscribe":["news/b"]}') for _ in range(15)]
    assert [b"too_many_requests" in answer for answer in answers] == [False] * 9 + [True] * 6
    face.clock.advance(1.0)
    assert b'"comet":"topics"' in said(wire, b'{"subscribe":["news/b"]}')
