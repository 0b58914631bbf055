"""Targets without a connection: positions, topics and patterns, what a query asks for, and request heads.

Each thing that a script sends is one word, read on its own. What is taken must say the same when it is read again.
"""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import parse_qs

from hypothesis import strategies as st

from comet.access.grant import Grant, covers
from comet.audience import Interest
from comet.config import LARGEST_LIMIT, Config
from comet.control import Open
from comet.errors import CometError
from comet.log import parse_since
from comet.message import Position
from comet.topics import LONGEST, Pattern, PatternIndex, check_topic, parse_patterns
from comet.transports import BY_NAME, Transport
from comet.web.head import Head, early_fault, parse_head
from comet.web.negotiate import LARGEST_PADDING, LONGEST_PACE, PARAMETERS, Asked, negotiate
from tests.fuzz.mutations import mutated
from tests.fuzz.refusals import outcome
from tests.fuzz.scripts import Script, words

# -- positions and since ----------------------------------------------------------------------------------------------

_POSITIONS = (b"5f0c1a2b-1042", b"5f0c1a2b-0", b"0123456789abcdef0123456789abcdef-999999999999999999")
_SINCES = (b"now", b"first", b"last", b"-1", b"-1000", b"-9999999", *_POSITIONS)

positions = words(mutated(st.sampled_from(_SINCES)))


def read_positions(script: Script) -> None:
    """A position is one string, and what stands for a place in the log stands for one."""
    for step in script:
        text = step.data.decode(errors="surrogateescape")
        found = outcome(Position.parse, text)
        if isinstance(found, Position):
            assert str(found) == text
        since = outcome(parse_since, text)
        assert isinstance(found, CometError) or since == found
        if isinstance(since, int):
            assert 0 <= since <= 9_999_999


# -- topics and patterns ----------------------------------------------------------------------------------------------

_SEGMENTS = st.sampled_from((b"a", b"b", b"news", b"*", b"**", b"$stats", b"$", "é".encode(), b"a b", b"x" * 80))
_PATTERNS = st.lists(_SEGMENTS, min_size=1, max_size=5).map(b"/".join)

topics = words(mutated(_PATTERNS))


def read_topics(script: Script) -> None:
    """A topic is its own pattern, an index finds what matches and nothing else, and a grant is never widened."""
    texts = [step.data.decode(errors="surrogateescape") for step in script]
    found = [outcome(Pattern.parse, text) for text in texts]
    patterns = [pattern for pattern in found if isinstance(pattern, Pattern)]
    published = [text for text in texts if not isinstance(outcome(check_topic, text), CometError)]
    index: PatternIndex[str] = PatternIndex()
    for pattern in patterns:
        assert 0 < len(pattern.text.encode()) <= LONGEST
        index.add(pattern, pattern.text)
    for topic in published:
        assert Pattern.parse(topic).exact
        matching = {pattern.text for pattern in patterns if pattern.matches(topic)}
        assert set(index.match(topic)) == matching
        assert topic in matching
    for grant in patterns:
        held = Grant(subscribe=(grant,))
        for wanted in patterns:
            allowed = outcome(held.check_subscribe, [wanted]) is None
            assert allowed == covers(grant, wanted)
            assert not allowed or all(grant.matches(topic) for topic in published if wanted.matches(topic))
    for pattern in patterns:
        index.remove(pattern, pattern.text)
    assert not (index._exact or index._root.below or index.wildcards), "something is left in the index"


# -- what a query asks for --------------------------------------------------------------------------------------------

_VALUES: dict[str, tuple[bytes, ...]] = {
    "topic": (b"a", b"news/*", b"chat/**", b"$stats"),
    "transport": tuple(name.encode() for name in BY_NAME),
    "since": _SINCES,
    "wait": (b"0", b"25", b"60", b"0.5"),
    "limit": (b"1", b"1000"),
    "format": (b"json", b"raw"),
    "conflate": (b"", b"1", b"false"),
    "pace": (b"0", b"100", b"60000"),
    "padding": (b"0", b"2048", b"65536"),
    "callback": (b"comet", b"parent.comet.take"),
    "origin": (b"https://app.example.org", b"null"),
    "token": (b"x",),
    "_": (b"1",),
}
_ACCEPTS = (b"text/event-stream", b"application/x-ndjson", b"image/*", b"multipart/mixed;q=0.5", b"text/html,*/*;q=0.1")


@st.composite
def _query(draw: st.DrawFn) -> bytes:
    """A path, a query, the Accept and the Last-Event-ID, with line feeds in between."""
    names = draw(st.lists(st.sampled_from([parameter.name for parameter in PARAMETERS]), max_size=5))
    query = b"&".join(name.encode() + b"=" + draw(st.sampled_from(_VALUES[name])) for name in names)
    last = draw(st.sampled_from((b"", b"", *_POSITIONS)))
    return b"\n".join((draw(_PATTERNS), query, draw(st.sampled_from((b"", *_ACCEPTS))), last))


queries = words(mutated(_query(), [b"&" + name.encode() + b"=" for name in _VALUES]), most=3)


def read_queries(script: Script) -> None:
    """Whatever a query asks for is within its bounds, or refused."""
    for step in script:
        pattern, query, accept, last = (*step.data.decode(errors="replace").split("\n", 3), "", "", "")[:4]
        asked = Asked((pattern,), parse_qs(query, keep_blank_values=True), accept, last, "upgrade" in accept)
        found = outcome(negotiate, asked, _config())
        if not isinstance(found, CometError):
            _check_interest(*found)


@cache
def _config() -> Config:
    return Config(origin=("https://app.example.org",))


def _check_interest(transport: Transport, interest: Interest) -> None:
    key = interest.key
    assert key.transport == transport.name
    assert key.patterns == parse_patterns(pattern.text for pattern in key.patterns)
    assert len(key.patterns) <= _config().max_patterns
    assert 0 <= key.pace <= LONGEST_PACE / 1000
    assert 1 <= interest.limit <= LARGEST_LIMIT
    assert 0 <= interest.wait <= _config().max_wait
    assert re.fullmatch(r"[\x20-\x7e]*", key.framing.content_type)
    assert len(key.framing.open(Open("s", None, 25))) <= LARGEST_PADDING + 4096


# -- request heads ----------------------------------------------------------------------------------------------------

_FIRST = (
    b"GET /topics/news?transport=sse HTTP/1.1",
    b"POST /topics/news HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET http://localhost:7080/stats HTTP/1.1",
    b"GET / HTTP/1.0",
)
_LINES = (
    b"Host: localhost",
    b"Host: [::1]:7080",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Connection: keep-alive, Upgrade",
    b"Connection: close",
    b"Expect: 100-continue",
    b"X-A: \t b \t",
    b"X-A:",
    b"Cookie: a=b; c=d",
    "X-Name: é".encode(),
)
SMUGGLED = (
    *(b"\r\nTransfer-Encoding: chunked", b"\r\nContent-Length: 5", b"\r\nHost: a", b" chunked", b", chunked", b"\x0b"),
    *(b"\n ", b"\r\n ", b"\nX:y", b"\r", b" :", b"HTTP/1.1", b"HTTP/2.0", b"GET / HTTP/1.1\r\n\r\n"),
)


LONGEST_METHOD = 32
"""Bytes of a method that is waited for; a longer one is taken only if it comes at once."""


@st.composite
def _head(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.sampled_from(_LINES), max_size=5, unique=True))
    return b"\r\n".join((draw(st.sampled_from(_FIRST)), *lines, b"", b""))


heads = words(mutated(_head(), SMUGGLED), most=3)


def read_heads(script: Script) -> None:
    """What is a head can be read in one way only: a reader of another make comes to the same, and so do we, again."""
    for step in script:
        data = step.data
        early_fault(data)
        found = outcome(parse_head, data)
        if isinstance(found, Head):
            _check_head(data, found)


def _check_head(data: bytes, head: Head) -> None:
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert b"\0" not in data
    for end in range(len(data) if len(head.method) <= LONGEST_METHOD else 0):
        assert early_fault(data[:end]) is None, f"{data[:end]!r} was refused early"
    assert (b"content-length" in head.known) + (b"transfer-encoding" in head.known) <= 1
    assert head.length is None or head.length == int(head.known.get(b"content-length", b"0"))
    assert head.target[:1] == b"/" or head.target == b"*"
    lines = b"".join(b"%b: %b\r\n" % field for field in head.fields)
    again = parse_head(b"%b %b %b\r\n%b\r\n" % (head.method, head.target, head.version, lines))
    # An absolute target overrides Host, and is not there any more.
    assert again._replace(known={**again.known, b"host": b""}, host=b"") == head._replace(
        known={**head.known, b"host": b""}, host=b""
    )
