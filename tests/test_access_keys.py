"""The keyring: keys from files, and which tokens they let in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from comet.access import keys
from comet.access.grant import Grant
from comet.access.keyfiles import BadKeyFile, key_in, read_key, read_signing_key
from comet.access.keys import Keyring
from comet.config import BadSetting, Config
from comet.errors import BadToken, TokenExpired
from comet.topics import Pattern
from tests.minting import SECRET, minted, private, private_pem, public_pem

NOW = 1_790_000_000.0
GRANT = Grant(subscribe=(Pattern.parse("chat/*"),))
PEM = ("RS256", "ES256", "EdDSA")
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

Write = Callable[[str, bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file; returns its path."""

    def write(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that are logged."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(str(event.get("log_format")).format(**event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


def ring(*paths: str, **settings: Any) -> Keyring:
    """A keyring with the keys in files."""
    return Keyring(Config(key=paths, **settings), Clock())


def refused(keyring: Keyring, token: str) -> str:
    """Why a token is refused; the reason does not repeat it."""
    with pytest.raises(BadToken) as error:
        keyring.grant(token, NOW)
    assert len(token) < 20 or token not in error.value.detail
    return error.value.detail


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secret(write: Write, end: str) -> None:
    """A secret is what is in its file, without the newline that an editor has put there."""
    path = write("key", SECRET.encode() + end.encode())
    assert ring(path).grant(minted(), NOW) == GRANT


def test_one_newline_is_stripped() -> None:
    """Every other byte is the secret's."""
    assert key_in(b"\n" + b" " * 40 + b"\n\n").public == b"\n" + b" " * 40 + b"\n"


@pytest.mark.parametrize("algorithm", PEM)
def test_pem(write: Write, algorithm: str) -> None:
    """A public key lets in what its private half has signed; so does a file that has both."""
    key = private(algorithm)
    for data in (public_pem(key), private_pem(key), b"# of alice\n" + public_pem(key)):
        path = write("key.pem", data)
        assert read_key(path).algorithm == algorithm
        assert ring(path).grant(minted(key, algorithm), NOW) == GRANT
        assert "no key of this daemon has signed" in refused(ring(path), minted(private(algorithm, "other"), algorithm))


def test_traditional_pem(write: Write) -> None:
    """Older forms of PEM are read, too, with parameters before the key as openssl writes them."""
    for algorithm in ("RS256", "ES256"):
        key = private(algorithm)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        path = write("key.pem", PARAMETERS + pem if algorithm == "ES256" else pem)
        assert ring(path).grant(minted(key, algorithm), NOW) == GRANT


@pytest.mark.parametrize("algorithm", PEM)
def test_certificate(write: Write, algorithm: str) -> None:
    """The key of a certificate counts."""
    key = private(algorithm)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example")])
    since = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=1))
    certificate = builder.sign(key, None if algorithm == "EdDSA" else SHA256())
    path = write("key.pem", certificate.public_bytes(Encoding.PEM))
    assert ring(path).grant(minted(key, algorithm), NOW) == GRANT


def test_the_private_half_is_forgotten(write: Write) -> None:
    """The daemon keeps no key that it could sign with, and shows none."""
    path = write("key.pem", private_pem(private("ES256")))
    assert read_signing_key(path).private is not None
    assert read_key(path).private is None
    assert SECRET not in repr(read_signing_key(write("key", SECRET.encode())))


def _openssh() -> bytes:
    public: bytes = private("RS256").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public


def _der() -> bytes:
    public: bytes = private("RS256").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


def _encrypted() -> bytes:
    pem: bytes = private("ES256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return pem


BROKEN = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
UNFIT: list[tuple[Callable[[], bytes], str]] = [
    (bytes, "has 0 bytes and needs 32; make one with comet token --new-key FILE"),
    (lambda: b"a" * 31 + b"\n", "has 31 bytes"),
    (lambda: b"a" * 65_537, "larger than 65536 bytes"),
    (lambda: public_pem(rsa.generate_private_key(65537, 1024)), "has 1024 bits; take one of 2048 to 8192"),
    (lambda: public_pem(ec.generate_private_key(ec.SECP384R1())), "not supported; take RSA, EC P-256 or Ed25519"),
    (lambda: private_pem(ec.generate_private_key(ec.SECP384R1())), "not supported"),
    (lambda: private_pem(ed448.Ed448PrivateKey.generate()), "not supported"),
    (lambda: public_pem(dsa.generate_private_key(1024)), "not supported"),
    (_encrypted, "encrypted; give the public key"),
    (lambda: public_pem(private("RS256"))[:200], "broken"),
    (lambda: BROKEN, "broken"),
    (lambda: PARAMETERS, "broken"),
    (_der, "in another form than PEM"),
    (_openssh, "in another form than PEM"),
]
"""What is no key that could be used, and what is said of it."""


@pytest.mark.parametrize(("made", "said"), UNFIT)
def test_files_that_are_no_key(write: Write, made: Callable[[], bytes], said: str) -> None:
    """A key that is too weak, or of another kind or form, keeps the daemon from starting."""
    path = write("key", made())
    with pytest.raises(BadSetting, match=r"^key: .*cannot be used: ") as error:
        ring(path)
    assert said in str(error.value)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, a directory, and a pipe, which would block for ever, are refused."""
    with pytest.raises(BadKeyFile, match="cannot be read: no such file"):
        read_key(str(tmp_path / "none"))
    with pytest.raises(BadKeyFile, match="no regular file"):
        read_key(str(tmp_path))
    with pytest.raises(BadKeyFile, match="no regular file"):
        read_key("/dev/zero")


# -- tokens -----------------------------------------------------------------------------------------------------------


def forged(header: dict[str, object], secret: bytes | None = None) -> str:
    """A token with whatever ``header``, for everything; signed with ``secret`` by HMAC, or not at all."""
    claims = {"sub": "mallory", "comet": {"subscribe": ["**"], "admin": True}}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    message = b".".join(parts)
    signature = hmac.new(secret, message, hashlib.sha256).digest() if secret is not None else b""
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "hs256", "HS384", "RS256", "null"])
@pytest.mark.parametrize("key", [SECRET.encode(), b""])
def test_alg_none(write: Write, algorithm: str, key: bytes) -> None:
    """A token that is not signed lets nobody in, whatever it calls that."""
    keyring = ring(write("key", key)) if key else ring(write("key.pem", public_pem(private("RS256"))))
    refused(keyring, forged({"alg": algorithm}))


@pytest.mark.parametrize("algorithm", PEM)
@pytest.mark.parametrize("named", ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"])
def test_key_confusion(write: Write, algorithm: str, named: str) -> None:
    """A token that is signed with the public key, as if that were a secret, lets nobody in."""
    pem = public_pem(private(algorithm))
    keyring = ring(write("key.pem", pem), write("key", SECRET.encode()))
    for secret in (pem, pem.strip(), pem + b"\n"):
        refused(keyring, forged({"alg": named, "typ": "JWT"}, secret))


@pytest.mark.parametrize(
    "header", [{"jwk": {"kty": "oct", "k": ""}}, {"jku": "http://127.0.0.1:1/"}, {"kid": "../../dev/null"}]
)
def test_keys_that_a_token_brings_along(write: Write, header: dict[str, object]) -> None:
    """What the header says about keys is not followed."""
    keyring = ring(write("key", SECRET.encode()))
    refused(keyring, forged({"alg": "HS256", **header}, b""))


def test_tampering(write: Write) -> None:
    """A token of which a byte has changed lets nobody in."""
    keyring = ring(write("key", SECRET.encode()))
    token = minted(sub="alice")
    assert isinstance(keyring.grant(token, NOW), Grant)
    for index in range(len(token)):
        refused(keyring, token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :])
        refused(keyring, token[:index])


def test_several_keys(write: Write) -> None:
    """Each of several keys counts, so that one can follow another; a name of a key is no matter if no key has one."""
    other = "b" * 40
    keyring = ring(write("a", SECRET.encode()), write("b", other.encode()), write("c", public_pem(private("EdDSA"))))
    for token in (minted(), minted(other), minted(private("EdDSA"), "EdDSA"), minted(kid="a")):
        assert keyring.grant(token, NOW) == GRANT


def test_no_key() -> None:
    """A daemon without keys takes no token."""
    assert "no key of this daemon is for" in refused(ring(), minted())


def test_audience_and_issuer(write: Write) -> None:
    """The settings say whom tokens are for, and of whom."""
    keyring = ring(write("key", SECRET.encode()), audience="comet", issuer="app")
    assert keyring.grant(minted(aud="comet", iss="app"), NOW) == GRANT
    refused(keyring, minted(aud="comet"))
    refused(keyring, minted(iss="app"))


def test_an_expired_token_that_is_replayed(write: Write) -> None:
    """A token that was remembered is over when its time is, and stays so."""
    keyring = ring(write("key", SECRET.encode()))
    token = minted(exp=NOW + 10)
    for now in (NOW, NOW + 14):
        assert isinstance(keyring.grant(token, now), Grant)
    for now in (NOW + 15, NOW + 1e6):
        with pytest.raises(TokenExpired):
            keyring.grant(token, now)


def test_remembered(write: Write) -> None:
    """A token is verified once, and the same grant is given each time."""
    keyring = ring(write("key", SECRET.encode()))
    token = minted(sub="alice")
    assert keyring.grant(token, NOW) is keyring.grant(token, NOW + 1)


def test_memory_of_tokens_is_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who has tokens without end takes no memory without end; the oldest are forgotten first."""
    monkeypatch.setattr(keys, "MOST_REMEMBERED", 3)
    keyring = ring(write("key", SECRET.encode()))
    tokens = [minted(sub=str(number)) for number in range(5)]
    grants = [keyring.grant(token, NOW) for token in tokens]
    for token, grant in list(zip(tokens, grants, strict=True))[2:]:
        assert keyring.grant(token, NOW) is grant
    assert keyring.grant(tokens[0], NOW) == grants[0]
    assert keyring.grant(tokens[0], NOW) is not grants[0]


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_rotation(write: Write) -> None:
    """Reading the files again takes the new keys, and takes the old ones out of use, for remembered tokens too."""
    path = write("key", SECRET.encode())
    keyring = ring(path)
    old, new = minted(sub="alice"), minted("n" * 40, sub="alice")
    assert isinstance(keyring.grant(old, NOW), Grant)
    write("key", b"n" * 40)
    refused(keyring, new)
    keyring.configure(Config(key=(path,)))
    assert isinstance(keyring.grant(new, NOW), Grant)
    refused(keyring, old)


def test_rotation_in_two_steps(write: Write) -> None:
    """With both keys in force in between, nobody's token is refused."""
    first, second = write("first", SECRET.encode()), write("second", b"n" * 40)
    keyring = ring(first)
    old, new = minted(), minted("n" * 40)
    keyring.configure(Config(key=(first, second)))
    assert keyring.grant(old, NOW) == keyring.grant(new, NOW) == GRANT
    keyring.configure(Config(key=(second,)))
    assert keyring.grant(new, NOW) == GRANT
    refused(keyring, old)


def test_a_file_that_is_broken_later(write: Write, logged: list[str]) -> None:
    """Where a file has no key any more the old one counts on, and one line says so; a file that is new has none."""
    path, other = write("key", SECRET.encode()), write("other", b"short")
    keyring = ring(path)
    write("key", b"half")
    keyring.configure(Config(key=(path, other)))
    assert keyring.grant(minted(), NOW) == GRANT
    assert len(logged) == 2
    assert "its old key counts on: the secret has 4 bytes" in logged[0]
    assert "it counts for nothing: the secret has 5 bytes" in logged[1]
    keyring.configure(Config(key=(other,)))
    refused(keyring, minted())


def test_new_terms(write: Write) -> None:
    """Another audience is asked for at once, of remembered tokens too."""
    path = write("key", SECRET.encode())
    keyring = ring(path)
    assert keyring.grant(minted(), NOW) == GRANT
    keyring.configure(Config(key=(path,), audience="comet"))
    refused(keyring, minted())
