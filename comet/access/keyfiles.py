"""A key, and the files that keys are in.

A file is either a secret, for HS256, or PEM, for signatures that anybody can check: a public key, a certificate, or a
private key, of which the public half counts. The algorithm is a property of the key, and never of a token: so a token
cannot have none (``alg: none``), nor be signed with a public key as if that were a secret (key confusion). The traps:
whatever is not PEM would pass for a secret, so what looks like a key of another form is refused; and a newline at the
end of the file is an editor's, not the secret's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt import PyJWS
from jwt.exceptions import InvalidKeyError

SIGNATURES = ("RS256", "ES256", "EdDSA")
"""The algorithms of keys whose public half anybody may have."""

ALGORITHMS = ("HS256", *SIGNATURES)

SHORTEST_SECRET = 32
"""Bytes; a shorter one can be found by trying (RFC 7518, section 3.2)."""

RSA_BITS = range(2048, 8193)
"""A shorter key can be broken (RFC 7518, section 3.3), a longer one makes work for the daemon."""

LARGEST_FILE = 64 * 1024

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_METHODS = {name: PyJWS().get_algorithm_by_name(name) for name in ALGORITHMS}


@dataclass(frozen=True, slots=True)
class Key:
    """A key that tokens are checked with, by ``algorithm`` and no other. ``id`` is its name (``kid``), if it has one;
    ``private`` is the half that signs, for who wants to. Neither half is shown."""

    algorithm: str
    public: Any = field(repr=False)
    private: Any = field(default=None, repr=False)
    id: str | None = None

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is of ``message``, and by this key."""
        return _METHODS[self.algorithm].verify(message, self.public, signature)


class BadKeyFile(Exception):
    """A file has no key that can be used. Its text says in one line why, and what is right; nothing of the file."""


def read_key(path: str) -> Key:
    """Return the key that is in the file at ``path``, to check tokens with. Raises :exc:`BadKeyFile`."""
    return replace(read_signing_key(path), private=None)


def read_signing_key(path: str) -> Key:
    """Return the key that is in the file at ``path``, with its private half if it is there. Raises
    :exc:`BadKeyFile`."""
    return key_in(_read(path))


def key_in(data: bytes) -> Key:
    """Return the key that a file with ``data`` has. Raises :exc:`BadKeyFile`."""
    try:
        return _key_of(_halves(data)) if _PEM.search(data) else _secret(data)
    except UnsupportedAlgorithm:
        raise BadKeyFile("the key is of a kind that is not supported; take RSA, EC P-256 or Ed25519") from None


def key_of(public: object, id_: str | None = None) -> Key:
    """Return the key whose public half is ``public``. Raises :exc:`BadKeyFile`."""
    return _key_of((public, None), id_)


def _key_of(halves: tuple[object, object], id_: str | None = None) -> Key:
    public, private = halves
    match public:
        case RSAPublicKey():
            if public.key_size not in RSA_BITS:
                bits = f"{RSA_BITS[0]} to {RSA_BITS[-1]}"
                raise BadKeyFile(f"the RSA key has {public.key_size} bits; take one of {bits}")
            return Key("RS256", public, private, id_)
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return Key("ES256", public, private, id_)
        case Ed25519PublicKey():
            return Key("EdDSA", public, private, id_)
    raise BadKeyFile("the key is of a kind that is not supported; take RSA, EC P-256 or Ed25519")


def _halves(pem: bytes) -> tuple[object, object]:
    """Return the public half of the key in ``pem``, and the private one or None."""
    kinds = [kind.decode() for kind in _PEM.findall(pem) if not kind.endswith(b"PARAMETERS")]
    try:
        if kinds[0].endswith("PRIVATE KEY"):
            private = load_pem_private_key(pem, None)
            if isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
                return private.public_key(), private
            return None, None
        if kinds[0] == "CERTIFICATE":
            return x509.load_pem_x509_certificate(pem).public_key(), None
        return load_pem_public_key(pem), None
    except TypeError:
        raise BadKeyFile("the private key is encrypted; give the public key, which is all that is needed") from None
    except (ValueError, IndexError):
        raise BadKeyFile("the PEM in it is broken, or is no key") from None


def _secret(data: bytes) -> Key:
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(secret) < SHORTEST_SECRET:
        raise BadKeyFile(
            f"the secret has {len(secret)} bytes and needs {SHORTEST_SECRET}; make one with comet token --new-key FILE"
        )
    try:
        _METHODS["HS256"].prepare_key(secret)
    except InvalidKeyError:
        raise BadKeyFile("it is a key in another form than PEM, and must not be used as a secret") from None
    return Key("HS256", secret, secret)


def _read(path: str) -> bytes:
    file = Path(path)
    try:
        if file.exists() and not file.is_file():
            raise BadKeyFile("it is no regular file")  # a pipe would block for ever
        with file.open("rb") as opened:
            data = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadKeyFile(f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > LARGEST_FILE:
        raise BadKeyFile(f"it is larger than {LARGEST_FILE} bytes")
    return data
