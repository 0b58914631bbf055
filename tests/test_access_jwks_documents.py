"""What is at the URL of an issuer: which of its keys count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from comet.access.jwks import Unusable, keys_in
from tests.minting import jwk, jwks, private

OLD_KEY, NEW_KEY = (jwk(private("ES256", name), "ES256", kid=name) for name in ("old", "new"))
RSA_KEY = jwk(private("RS256"), "RS256")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "alg": "HS256"}, "only public keys may be"),
        ({**OLD_KEY, "d": "AAAA"}, "the whole world has it now"),
        ({**OLD_KEY, "use": "enc"}, "not for signatures"),
        ({**OLD_KEY, "key_ops": ["sign"]}, "not for signatures"),
        ({**OLD_KEY, "alg": "ES384"}, "it is for 'ES384', and ES256 is what is supported"),
        ({**OLD_KEY, "alg": "HS256"}, "it is for 'HS256'"),
        ({**RSA_KEY, "alg": "PS256"}, "it is for 'PS256'"),
        ({**RSA_KEY, "alg": "none"}, "it is for 'none'"),
        ({**RSA_KEY, "n": ""}, "broken"),
        ({**RSA_KEY, "n": "!"}, "broken"),
        ({**RSA_KEY, "e": "AA"}, "broken"),
        ({**RSA_KEY, "n": None}, "broken"),
        ({**RSA_KEY, "n": 7}, "no JWK"),
        ({**OLD_KEY, "x": OLD_KEY["y"]}, "broken"),
        ({**OLD_KEY, "crv": "P-384"}, "broken"),
        ({**OLD_KEY, "kid": 7}, "no JWK"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "broken"),
        ({"kty": "OKP", "crv": "X25519", "x": "A" * 43}, "broken"),
        (jwk(ec.generate_private_key(ec.SECP384R1()), "ES384"), "not supported"),
        (jwk(ed448.Ed448PrivateKey.generate(), "EdDSA"), "not supported"),
        (jwk(rsa.generate_private_key(65537, 1024), "RS256"), "has 1024 bits"),
        ({}, "no JWK"),
        ([], "no JWK"),
        ("key", "no JWK"),
    ],
)
def test_keys_that_do_not_count(key: object, said: str) -> None:
    """A key that is secret, weak, broken, or for something else does not count; its neighbours do."""
    keys, [reason] = keys_in(jwks(OLD_KEY, key, NEW_KEY))
    assert [each.id for each in keys] == ["old", "new"]
    assert said in reason
    assert "\n" not in reason


def test_no_keys() -> None:
    """An issuer may withdraw all its keys."""
    assert keys_in(jwks()) == ((), [])


def test_what_else_is_said_does_not_matter() -> None:
    """Members of others are passed over."""
    further = {"x5c": ["…"], "x5t": "…", "use": "sig", "key_ops": ["verify"], "alg": "RS256", "issuer": {"a": []}}
    keys, left_out = keys_in(json.dumps({"keys": [{**RSA_KEY, **further}], "more": 1}).encode())
    assert (len(keys), left_out) == (1, [])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_MEMBERS = st.dictionaries(st.sampled_from(["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "d"]), _VALUES)


@given(st.binary() | st.lists(st.tuples(st.sampled_from([OLD_KEY, RSA_KEY, {}]), _MEMBERS)))
def test_anything_as_a_document(document: Any) -> None:
    """Whatever is at the URL has keys that can be used, or is refused."""
    if not isinstance(document, bytes):
        document = jwks(*({**key, **members} for key, members in document))
    try:
        keys, _ = keys_in(document)
    except Unusable:
        return
    for key in keys:
        assert not key.verifies(b"message", b"signature")
