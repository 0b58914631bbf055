"""What is sent to the HTTP port: requests of every kind, one behind the other, and mutations of them."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.word_targets import SMUGGLED
from tests.minting import minted

STREAM = b"@STREAM@"
"""Stands for the id of a stream that is open."""

ALICE = minted(sub="alice", comet={"subscribe": ["news", "chat/*"], "publish": ["news/*"], "consumers": ["c"]}).encode()
ADMIN = minted(sub="admin", jti="t1", comet={"admin": True, "subscribe": ["**"], "publish": ["**"]}).encode()
"""Tokens that count, where the daemon has a key."""

_WATCHED = (
    *(
        b"/topics/news",
        b"/topics/news/*",
        b"/topics/**",
        b"/topics?topic=a&topic=b",
        b"/topics/$stats",
        b"/topics/a%2Fb",
    ),
    *(b"/consumers/c?topic=news", b"/consumers/c", b"/topics/caf%C3%A9", b"/topics/%ff", b"/topics//"),
)
_WISHES = (
    *(b"transport=sse", b"transport=stream", b"transport=poll", b"transport=multipart", b"transport=mixed"),
    *(b"transport=iframe", b"transport=iframe&callback=parent.take", b"transport=websocket", b"format=raw", b"wait=0"),
    *(b"since=first", b"since=last", b"since=-2", b"since=5f0c1a2b-1", b"since=00000000-9", b"limit=1", b"pace=10"),
    *(b"conflate", b"padding=2048", b"token=x", b"token=" + ALICE, b"origin=https://app.example.org", b"_=1", b"x=1"),
)
_READ = (
    *(b"/", b"/healthz", b"/readyz", b"/metrics", b"/stats", b"/stats/topics", b"/stats/streams", b"/stats/audiences"),
    *(b"/comet.js", b"/comet.mjs", b"/demo/", b"/demo/chat.html", b"/../etc/passwd", b"/%2e%2e/%2e%2e/etc", b"/hooks"),
    *(
        b"/consumers",
        b"/consumers/c",
        b"/revocations",
        b"/hooks/h",
        b"/favicon.ico",
        b"/streams",
        b"/streams/" + STREAM,
    ),
)
_LINES = (
    *(b"Accept: text/event-stream", b"Accept: image/*;q=0.5, */*", b"Last-Event-ID: 5f0c1a2b-1", b"Connection: close"),
    *(b"Origin: http://localhost", b"Origin: null", b"Origin: https://app.example.org", b"Origin: http://evil.example"),
    *(b"Authorization: Bearer x", b"Authorization: Basic eDp5", b"Cookie: __Host-comet=x", b"Idempotency-Key: k"),
    *(b"Authorization: Bearer " + ALICE, b"Authorization: bearer " + ADMIN, b"Cookie: __Host-comet=" + ALICE),
    *(b"X-Forwarded-For: 10.0.0.1", b"Forwarded: for=10.0.0.1", b"Sec-Fetch-Site: cross-site", b"Expect: 100-continue"),
    *(b"Content-Type: application/json", b"Content-Type: text/html", b"Content-Type: application/x-ndjson"),
    *(b"Access-Control-Request-Method: POST", b"Accept-Encoding: gzip", b"Range: bytes=0-1", b"If-None-Match: *"),
)
_POSTED = (
    (b"/topics/news", b"hello"),
    (b"/topics/news", b'{"a":[1,2,3]}'),
    (b"/topics/news/1", b"\0\xff\r\n\r\n</script>"),
    (b"/topics", b'{"topic":"news","data":1}\n{"topic":"news/1","data64":"AAEC","type":"image/png","key":"k"}\n'),
    (b"/topics", b'[{"topic":"news","data":{"b":"\\u2028"}}]'),
    (b"/streams/" + STREAM, b'{"subscribe":["churn/1"],"since":"first"}'),
    (b"/streams/" + STREAM, b'{"subscribe":["churn/2"],"unsubscribe":["churn/1"]}'),
    (b"/streams/" + STREAM + b"/token", b"a.b.c"),
    (b"/streams/" + STREAM + b"/token", ALICE),
    (b"/streams/nobody", b'{"subscribe":["a"]}'),
    (b"/consumers/c", b'{"ack":"5f0c1a2b-1"}'),
    (b"/consumers/c/ack", b'{"id":"5f0c1a2b-1"}'),
    (b"/hooks", b'{"url":"https://hooks.example.org/x","topics":["news"],"name":"h"}'),
    (b"/hooks", b'{"url":"http://127.0.0.1:7080/topics/news","topics":["news"]}'),
    (b"/revocations", b'{"token":"t1","until":1790000060}'),
    (b"/revocations", b'{"subject":"alice"}'),
)
_METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"PATCH", b"TRACE", b"CONNECT")
_HANDSHAKE = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")
_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def head(method: bytes, target: bytes, *lines: bytes, version: bytes = b"1.1") -> bytes:
    """The head of a request."""
    return b"\r\n".join((method + b" " + target + b" HTTP/" + version, b"Host: localhost", *lines, b"", b""))


@st.composite
def _get(draw: st.DrawFn) -> bytes:
    target = draw(st.sampled_from((*_WATCHED, *_READ)))
    wishes = b"&".join(draw(st.lists(st.sampled_from(_WISHES), max_size=3)))
    if wishes:
        target += (b"&" if b"?" in target else b"?") + wishes
    lines = draw(st.lists(st.sampled_from(_LINES), max_size=2))
    return head(
        draw(st.sampled_from(_METHODS)), target, *lines, version=draw(st.sampled_from((b"1.1",) * 5 + (b"1.0",)))
    )


@st.composite
def _post(draw: st.DrawFn) -> bytes:
    target, body = draw(st.sampled_from(_POSTED))
    body = draw(mutated(st.just(body), most=1))
    lines = draw(st.lists(st.sampled_from(_LINES), max_size=2))
    if draw(st.booleans()):
        return head(b"POST", target, b"Content-Length: %d" % len(body), *lines) + body
    cut = draw(st.integers(0, len(body)))
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), b";a=b", part) for part in (body[:cut], body[cut:]) if part)
    trailers = draw(st.sampled_from((b"", b"X: y\r\n", b"X y\r\n", b"a:\nb\r\n")))
    return head(b"POST", target, b"Transfer-Encoding: chunked", *lines) + chunks + b"0\r\n" + trailers + b"\r\n"


def handshake(target: bytes = b"/topics/news") -> bytes:
    """The head that asks for a WebSocket."""
    return head(b"GET", target, *_HANDSHAKE, _KEY)


_REQUEST = st.one_of(_get(), _get(), _post(), _post(), st.just(handshake()), st.just(b"PUBLISH news hi\r\n"))

_CHUNKS = (
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"0x5\r\n",
    b"5 \r\n",
    b"5;" + b"x" * 300 + b"\r\n",
    b"0\r\n\r\n",
    b"5\n",
)

conversations = mutated(st.lists(_REQUEST, min_size=1, max_size=4).map(b"".join), (*SMUGGLED, *_CHUNKS, STREAM))
