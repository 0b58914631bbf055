"""Target: tokens. What was not signed by the key of the daemon is never granted, and is shown to nobody.

Each thing that a script sends is one token. A token that a mutation has left as it was minted is granted as before; any
other is a forgery, even if it says the same.
"""

from __future__ import annotations

import tempfile
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from comet.access.grant import Grant
from comet.access.keys import MOST_REMEMBERED, Keyring
from comet.access.tokens import Terms, grant_of
from comet.config import Config
from comet.errors import CometError
from tests.fuzz.mutations import mutated
from tests.fuzz.refusals import outcome
from tests.fuzz.scripts import Script, words
from tests.minting import SECRET, minted

NOW = 1_790_000_000.0


@cache
def _minted() -> dict[bytes, bool]:
    """Tokens that this daemon's key has signed, and whether they count."""
    allowed = {"publish": ["chat/7"], "subscribe": ["chat/*"], "consumers": ["c"], "admin": False}
    counting = (
        minted(sub="alice"),
        minted(kid="k1", sub="bob", jti="t1", comet=allowed, exp=NOW + 60, iat=NOW, nbf=NOW - 60),
        minted(sub="é", comet={}, exp=NOW + 0.5),
    )
    others = (
        minted(sub="late", exp=NOW - 60),
        minted(sub="early", nbf=NOW + 60),
        minted(aud="another"),
        minted(sub=7),
        minted(comet={"subscribe": ["a/**/b"]}),
        minted(comet={"delete": ["a"]}),
        minted(comet=[]),
    )
    return {**{token.encode(): True for token in counting}, **{token.encode(): False for token in others}}


def _encoded(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")


_HEADERS = (
    *(b'{"alg":"none"}', b'{"alg":"None"}', b'{"alg":""}', b'{"alg":"HS256"}', b'{"alg":"HS512"}', b'{"alg":"RS256"}'),
    *(b'{"alg":"HS256","kid":"../../dev/null"}', b'{"alg":"HS256","jwk":{"kty":"oct","k":""}}', b'{"alg":["HS256"]}'),
    *(b'{"alg":"HS256","crit":["exp"]}', b'{"alg":"HS256","b64":false}', b"[]", b"null", b"\xff", b"{", b"[" * 900),
)
_CLAIMS = (
    b'{"sub":"root","comet":{"admin":true,"subscribe":["**"],"publish":["**"]}}',
    b'{"sub":"a","sub":"b","exp":1e400,"nbf":-1,"iat":true}',
    b'{"aud":["a",1]}',
    b'{"exp":"9999999999"}',
    b'{"comet":{"subscribe":"**"}}',
    b'{"comet":{"subscribe":["a\\u0000b"]}}',
    b'{"sub":"\\ud800"}',
    b'{"jti":"a\\nb"}',
    b"[" * 900,
)


@st.composite
def _forged(draw: st.DrawFn) -> bytes:
    """A token that is whole, but signed by nobody."""
    claims = draw(mutated(st.sampled_from(_CLAIMS)))
    signature = draw(st.sampled_from((b"", b"\0" * 32, b"x" * 32, b"x" * 256)))
    return b".".join(map(_encoded, (draw(mutated(st.sampled_from(_HEADERS))), claims, signature)))


@st.composite
def _spliced(draw: st.DrawFn) -> bytes:
    """The parts of several tokens."""
    known = sorted(_minted())
    return b".".join(draw(st.sampled_from(known)).split(b".")[place] for place in range(3))


tokens = words(
    st.one_of(
        mutated(st.deferred(lambda: st.sampled_from(sorted(_minted())))),
        mutated(_forged()),
        _spliced(),
        mutated(_spliced()),
    )
)


def read_tokens(script: Script) -> None:
    """A token counts if it is, to the letter, one that was minted; no refusal says anything of what was sent."""
    keyring = _keyring()
    for step in script:
        token = step.data.decode("ascii", errors="replace")
        for _ in range(2):  # the second time it may be remembered
            found = outcome(keyring.grant, token, NOW)
            assert not isinstance(found, Deferred), "no key is fetched"
            counts = _minted().get(step.data, False)
            assert isinstance(found, Grant) == counts, found
            _check_silence(found, step.data)
        _read_claims(step.data)
    assert len(keyring._remembered) <= MOST_REMEMBERED


def _check_silence(found: object, token: bytes) -> None:
    if isinstance(found, CometError):
        assert all(part.decode(errors="replace") not in found.detail for part in token.split(b".") if len(part) > 12)


def _read_claims(data: bytes) -> None:
    """The claims are read only when they are signed; whatever their issuer writes is read, or refused."""
    for terms in (Terms(), Terms("this", "issuer")):
        found = outcome(grant_of, data, terms, NOW)
        if isinstance(found, Grant):
            assert not found.everything
            assert found.expires > NOW


@cache
def _keyring() -> Keyring:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "key")
        path.write_text(SECRET)
        path.chmod(0o600)
        keyring = Keyring(Config(key=(str(path),)), Clock())
        keyring.start()
        return keyring
