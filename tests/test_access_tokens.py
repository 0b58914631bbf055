"""What a token says, and what it allows."""

from __future__ import annotations

import base64
import json
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.access.grant import Grant
from comet.access.tokens import LEEWAY, LONGEST, Terms, check_current, claims_of, grant_of, parts_of
from comet.errors import BadToken, CometError, TokenExpired
from comet.topics import Pattern
from tests.minting import minted

NOW = 1_790_000_000.0
ANYONE = Terms()


def encoded(data: object) -> str:
    """A part of a token: bytes, or JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def granted(terms: Terms = ANYONE, **claims: Any) -> Grant:
    """What claims come to."""
    return grant_of(json.dumps(claims).encode(), terms, NOW)


# -- parts ------------------------------------------------------------------------------------------------------------


def test_parts() -> None:
    """The header says the algorithm and the key; the message is what is signed."""
    token = minted(kid="k1", sub="alice")
    signed = parts_of(token)
    assert (signed.algorithm, signed.key) == ("HS256", "k1")
    assert signed.message == token.rpartition(".")[0].encode()
    assert json.loads(signed.payload)["sub"] == "alice"
    assert len(signed.signature) == 32


HEADER = encoded({"alg": "HS256"})


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "a", "a.b", "a.b.c", "a.b.c.d", "!.!.!", "é.é.é", " a.b.c", "a.b.c\n"),
        f"{HEADER}=.e30.",
        f"{HEADER}.e30",
        f"{HEADER}.e30.AB",  # another spelling of AA
        f"{HEADER}.e30.A",
        f"{HEADER}.e30.AA\n",
        f"{HEADER}.e30.AA.AA.AA",
    ],
)
def test_malformed(token: str) -> None:
    """Whatever is no signed JWT in its one right spelling is refused."""
    with pytest.raises(BadToken):
        parts_of(token)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"alg": None},
        {"alg": ["HS256"]},
        {"alg": "HS256", "kid": 7},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "crit": []},
        b"",
        b"\xff",
        b'{"alg":"HS256"',
        b'{"alg":"HS256","a":' + b"[" * 2000,
        b'{"alg":"HS256","a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_header(header: object) -> None:
    """A header is an object that names an algorithm, and asks for nothing that is not understood."""
    with pytest.raises(BadToken):
        parts_of(f"{encoded(header)}.e30.AA")


def test_token_bomb() -> None:
    """A token that is too long is refused before anything of it is looked at."""
    with pytest.raises(BadToken, match="longer than 8192 bytes"):
        parts_of("a" * (LONGEST + 1))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_anything_as_a_token(token: str) -> None:
    """Whatever a stranger sends has parts, or is refused; and the refusal does not repeat it."""
    try:
        parts_of(token)
    except BadToken as error:
        assert len(token) < 20 or token not in error.detail


@given(
    st.binary(max_size=400) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(encoded)
)
def test_anything_as_a_header(data: bytes | str) -> None:
    """So with whatever the header says."""
    header = data if isinstance(data, str) else encoded(data)
    try:
        parts_of(f"{header}.e30.AAAA")
    except BadToken:
        return


# -- claims -----------------------------------------------------------------------------------------------------------


def test_claims() -> None:
    """The grant has what the claims say."""
    grant = granted(
        sub="alice",
        jti="t1",
        exp=NOW + 60,
        iat=NOW,
        comet={"publish": ["chat/7"], "subscribe": ["chat/*", "news/**"], "consumers": ["mail"], "admin": True},
    )
    assert grant == Grant(
        subject="alice",
        token="t1",
        publish=(Pattern.parse("chat/7"),),
        subscribe=(Pattern.parse("chat/*"), Pattern.parse("news/**")),
        consumers=("mail",),
        admin=True,
        expires=NOW + 60 + LEEWAY,
        issued=NOW,
    )


def test_no_claims() -> None:
    """A token that says nothing allows nothing, for ever."""
    assert granted() == Grant()
    assert granted().expires == inf


def test_other_claims() -> None:
    """Claims of others do not matter."""
    assert granted(name="Alice", roles=["a"], nested={"comet": {"admin": True}}) == Grant()


@pytest.mark.parametrize(
    "claims",
    [
        {"comet": {"admin": True, "publsh": ["a"]}},
        {"comet": {"admin": "true"}},
        {"comet": {"admin": 1}},
        {"comet": {"publish": "a"}},
        {"comet": {"publish": [7]}},
        {"comet": {"publish": ["a/**/b"]}},
        {"comet": {"subscribe": [""]}},
        {"comet": {"subscribe": ["a*"]}},
        {"comet": {"consumers": ["a\nb"]}},
        {"comet": ["admin"]},
        {"comet": None},
        {"sub": 7},
        {"sub": "a\r\nb"},
        {"sub": "\ud800"},
        {"sub": "é" * 513},
        {"jti": "a\x00"},
        {"jti": 7},
        {"exp": "2030-01-01"},
        {"exp": True},
        {"exp": None},
        {"nbf": []},
        {"iat": "0"},
        {"aud": 7},
    ],
)
def test_claims_that_cannot_be_understood(claims: dict[str, Any]) -> None:
    """What is of another type, or unknown among what is allowed, refuses the whole token."""
    with pytest.raises(BadToken) as refused:
        granted(**claims)
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"7", b"{", b"\xff", b'{"exp":NaN}', b'{"exp":1e999}', b'{"exp":Infinity}']
)
def test_payloads_that_are_no_claims(payload: bytes) -> None:
    """A payload that is no JSON object, or has a time that is no number, is refused."""
    with pytest.raises(BadToken):
        claims_of(payload)


@pytest.mark.parametrize("payload", [b'{"a":' + b"[" * 3000, b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"])
def test_deep_nesting(payload: bytes) -> None:
    """A payload that is nested without end is refused."""
    with pytest.raises(BadToken):
        claims_of(payload)


def test_leeway() -> None:
    """A token counts for five seconds beyond its time, and before it, for clocks differ."""
    assert granted(exp=NOW - 4.9).expires == pytest.approx(NOW + 0.1)
    assert granted(nbf=NOW + 4.9, iat=NOW + 4.9).issued == NOW + 4.9
    with pytest.raises(TokenExpired, match="expired 5 s ago"):
        granted(exp=NOW - 5)
    with pytest.raises(BadToken, match="not valid yet"):
        granted(nbf=NOW + 5.1)


def test_a_token_from_the_future() -> None:
    """Nobody can make tokens that count as issued after a revocation that is still to come."""
    with pytest.raises(BadToken, match="future"):
        granted(iat=NOW + 3600)


def test_expired_tokens_are_over_where_they_are_remembered() -> None:
    """What is remembered is held against the time again."""
    grant = granted(exp=NOW + 10)
    check_current(grant, NOW + 14.9)
    with pytest.raises(TokenExpired, match="expired 15 s ago; ask the application"):
        check_current(grant, NOW + 25)


@pytest.mark.parametrize("audience", ["comet", ["shop", "comet"]])
def test_audience(audience: object) -> None:
    """A token is for those it names."""
    assert granted(terms=Terms("comet"), aud=audience) == Grant()
    for terms in (Terms("other"), Terms()):
        with pytest.raises(BadToken, match="aud"):
            granted(terms=terms, aud=audience)


@pytest.mark.parametrize("claims", [{}, {"aud": []}, {"aud": ""}, {"aud": "comets"}, {"aud": ["Comet"]}])
def test_no_audience(claims: dict[str, Any]) -> None:
    """A daemon that has an audience takes no token without it."""
    with pytest.raises(BadToken, match="audience"):
        granted(terms=Terms("comet"), **claims)


def test_issuer() -> None:
    """A daemon that has an issuer takes no token of another."""
    assert granted(terms=Terms("", "https://login.example/"), iss="https://login.example/") == Grant()
    for issuer in ("", "https://login.example", "https://evil.example/"):
        with pytest.raises(BadToken, match="issuer"):
            granted(terms=Terms("", "https://login.example/"), iss=issuer)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_NAMES = st.sampled_from(["sub", "jti", "iss", "aud", "exp", "nbf", "iat", "comet"])
_ALLOWED = st.dictionaries(st.sampled_from(["publish", "subscribe", "consumers", "admin"]), _VALUES)


@given(st.dictionaries(_NAMES, _VALUES | _ALLOWED))
def test_anything_as_claims(claims: dict[str, Any]) -> None:
    """Whatever the claims are, they come to a grant or a refusal."""
    try:
        grant = granted(**claims)
    except CometError:
        return
    assert grant.expires > NOW
    assert not grant.everything
