"""Keys of every kind, and tokens that are signed with them, as another program would make them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET = "0123456789abcdef0123456789abcdef"

PRIVATE = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
"""How a key of each algorithm is made."""

ALLOWED = {"subscribe": ["chat/*"]}


@cache
def private(algorithm: str, name: str = "") -> Any:
    """A private key; the same for the same ``name``, for it takes a while to make one."""
    return PRIVATE[algorithm]()


def private_pem(key: Any) -> bytes:
    """A private key as a file has it."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    """The public half of a private key as a file has it."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def jwk(key: Any, algorithm: str, **further: Any) -> dict[str, Any]:
    """The public half of a private key as an issuer publishes it."""
    published: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {**published, **further}


def jwks(*keys: object) -> bytes:
    """A whole JWKS."""
    return json.dumps({"keys": keys}).encode()


def minted(key: Any = SECRET, algorithm: str = "HS256", *, kid: str | None = None, **claims: Any) -> str:
    """A token for :data:`ALLOWED`, unless the claims say otherwise."""
    headers = None if kid is None else {"kid": kid}
    return jwt.encode({"comet": ALLOWED, **claims}, key, algorithm=algorithm, headers=headers)
