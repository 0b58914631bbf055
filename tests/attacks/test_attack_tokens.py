"""Forged tokens: signed by nobody, by the wrong key, or by the right key in the wrong way; expired; and revoked ones
that are shown again. Each is refused, as a token and not as if there had been none, and says nothing of why in secret.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.attacks.access import OPEN, asks, code_of, guarded, retained, token
from tests.attacks.attacker import exchanged, published, request, statuses
from tests.attacks.frames import HANDSHAKE
from tests.daemons import Daemon, running
from tests.e2e.held import Held, connected
from tests.minting import SECRET, minted, private, private_pem, public_pem

EVERYTHING: dict[str, Any] = {
    "sub": "mallory",
    "comet": {"subscribe": ["**"], "publish": ["**"], "consumers": ["*"], "admin": True},
}


@pytest.fixture(scope="module")
def guard() -> Iterator[Daemon]:
    """A daemon that goes by a secret."""
    with guarded() as daemon:
        yield daemon


def encoded(value: Any) -> str:
    """``value`` as a part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, claims: Any = EVERYTHING, secret: bytes = SECRET.encode()) -> str:
    """A token with this header, whatever it says, signed with HMAC and ``secret``."""
    message = f"{encoded(header)}.{encoded(claims)}"
    return f"{message}.{encoded(hmac.digest(secret, message.encode(), sha256))}"


def unsigned(algorithm: str) -> str:
    """A token without a signature."""
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(EVERYTHING)}."


def tampered(change: Callable[[str, str, str], str]) -> str:
    """An honest token, of which somebody has changed a part."""
    return change(*token().split("."))


JWK = {"kty": "oct", "k": encoded(b"x" * 32)}

FORGED = {
    **{f"alg-{name}": unsigned(name) for name in ("none", "None", "NONE", "nOnE", "", "null", "HS256", "RS256")},
    "alg-none-with-a-signature": f"{unsigned('none')}{encoded(b'x' * 32)}",
    "no-alg": f"{encoded({'typ': 'JWT'})}.{encoded(EVERYTHING)}.",
    "alg-of-another-type": signed({"alg": ["HS256", "none"]}),
    "two-algs": signed(b'{"alg":"none","alg":"HS256"}', secret=b""),
    "another-secret": minted("x" * 32, **EVERYTHING),
    "empty-secret": signed({"alg": "HS256"}, secret=b""),
    "hs384": minted(SECRET * 2, "HS384", **EVERYTHING),
    "hs512": minted(SECRET * 2, "HS512", **EVERYTHING),
    "own-key-in-the-header": signed({"alg": "HS256", "jwk": JWK}, secret=b"x" * 32),
    "own-url-in-the-header": signed({"alg": "HS256", "jku": "http://127.0.0.1:1/jwks"}, secret=b"x" * 32),
    "own-certificate-in-the-header": signed({"alg": "HS256", "x5u": "http://127.0.0.1:1/", "x5c": ["x"]}, secret=b"x"),
    "kid-is-a-path": signed({"alg": "HS256", "kid": "../../../../dev/null"}, secret=b""),
    "kid-is-a-query": signed({"alg": "HS256", "kid": "' UNION SELECT 'x"}, secret=b"x"),
    "kid-is-null": signed({"alg": "HS256", "kid": "\0"}, secret=b"\0"),
    "critical": signed({"alg": "HS256", "crit": ["exp"], "exp": 0}),
    "claims-are-changed": tampered(lambda head, _, signature: f"{head}.{encoded(EVERYTHING)}.{signature}"),
    "header-is-changed": tampered(lambda _, *rest: ".".join((encoded({"alg": "HS256", "x": 1}), *rest))),
    "signature-is-cut": tampered(lambda head, claims, signature: f"{head}.{claims}.{signature[:-2]}"),
    "signature-is-gone": tampered(lambda head, claims, _: f"{head}.{claims}."),
    "signature-is-not-there": tampered(lambda head, claims, _: f"{head}.{claims}"),
    "signature-is-spelt-otherwise": tampered(lambda *parts: ".".join(parts) + "="),
    "four-parts": token() + ".x",
    "encrypted": f"{encoded({'alg': 'dir', 'enc': 'A256GCM'})}....",
    "no-comet": minted(**{**EVERYTHING, "comet": None}),
    "unknown-right": minted(**{**EVERYTHING, "comet": {"publish": ["**"], "everything": True}}),
    "admin-is-a-word": minted(**{**EVERYTHING, "comet": {"admin": "true"}}),
    "pattern-is-none": minted(**{**EVERYTHING, "comet": {"publish": ["a**"]}}),
    "claims-are-a-list": signed({"alg": "HS256"}, [EVERYTHING]),
    "claims-are-nested": signed({"alg": "HS256"}, b'{"comet":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    "expires-in-words": signed({"alg": "HS256"}, {**EVERYTHING, "exp": "never"}),
    "not-yet": minted(**EVERYTHING, nbf=int(time.time()) + 3600),
    "of-the-future": minted(**EVERYTHING, iat=int(time.time()) + 3600),
    "for-somebody-else": minted(**EVERYTHING, aud="billing"),
    "very-long": minted(**EVERYTHING, padding="x" * 20_000),
    "no-token": "evil",
    "dots": "..",
    "null": "null",
}
"""By name. Where one is signed by the right secret, it is for something else that is wrong with it."""


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens(guard: Daemon, name: str) -> None:
    """A forged token publishes nothing, reads nothing and renews nothing, wherever it is carried."""
    forged = FORGED[name]
    answer = asks(guard, "POST", "/topics/open/a", forged, b"evil")
    assert code_of(answer) in ((401, "bad_token"), (401, "token_expired")), answer
    assert answer[1]["www-authenticate"].startswith("Bearer")
    assert SECRET not in answer[2].decode()
    assert asks(guard, "GET", "/topics/open/a?wait=0", forged)[0] == 401
    assert asks(guard, "GET", f"/topics/open/a?wait=0&token={forged}")[0] in (401, 414)
    cookie = f"__Host-comet={forged}"
    assert asks(guard, "GET", "/topics/open/a?wait=0", Cookie=cookie, Sec_Fetch_Site="same-origin")[0] == 401
    websocket = request("GET", f"/topics/open/a?token={forged}", *HANDSHAKE, "Connection: close")
    assert statuses(exchanged(guard.http, websocket)) in ([401], [414])
    assert retained(guard, "open/a") == []


@pytest.mark.parametrize("name", ["alg-none", "another-secret", "claims-are-changed"])
def test_forged_tokens_do_not_count_as_none(name: str) -> None:
    """Not even where anybody may publish, or on one's own machine: a token that is there and wrong is refused."""
    with guarded("--anonymous", "publish:**") as daemon:
        assert asks(daemon, "POST", "/topics/a", "", b"x")[0] == 201
        assert code_of(asks(daemon, "POST", "/topics/a", FORGED[name], b"x")) == (401, "bad_token")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_key_confusion(tmp_path: Path, algorithm: str) -> None:
    """The public key, which everybody may have, is not taken for a secret: a token that is signed with its text as if
    it were one is refused; and so is one of another algorithm with the right key."""
    key = private(algorithm)
    pem = public_pem(key)
    file = tmp_path / "public.pem"
    file.write_bytes(pem)
    with running("--local", "anonymous", "--key", str(file)) as daemon:
        honest = jwt.encode({"comet": OPEN}, key, algorithm=algorithm)
        assert asks(daemon, "POST", "/topics/open/a", honest, b"x")[0] == 201
        bare = b"".join(pem.splitlines()[1:-1])
        for secret in (pem, pem.strip(), pem.replace(b"\n", b"\r\n"), bare, base64.b64decode(bare)):
            for name in ("HS256", "HS384", algorithm, "none"):
                forged = signed({"alg": name}, secret=secret)
                assert code_of(asks(daemon, "POST", "/topics/open/a", forged, b"evil")) == (401, "bad_token")
        other = private(algorithm, "mallory")
        assert asks(daemon, "GET", "/topics/a?wait=0", jwt.encode(EVERYTHING, other, algorithm=algorithm))[0] == 401
        assert private_pem(other) != private_pem(key)


def test_expired_tokens(guard: Daemon) -> None:
    """An expired token is refused everywhere, and says that it is expired."""
    for seconds in (10, 3600, 10**9):
        expired = token(exp=int(time.time()) - seconds)
        assert code_of(asks(guard, "POST", "/topics/open/a", expired, b"evil")) == (401, "token_expired")
        assert code_of(asks(guard, "GET", "/topics/open/a?wait=0", expired)) == (401, "token_expired")


def test_stream_outlives_its_token(guard: Daemon) -> None:
    """A stream that was opened before its token expired ends with it: nothing that is published afterwards comes."""
    short = token(exp=time.time() - 4)  # a few seconds are granted to clocks that differ
    with Held(connected(guard.http)) as held:
        held.ask("/topics/open/short?transport=stream", "stream", Authorization=f"Bearer {short}")
        assert held.until_control("bye")["reason"] == "expired"
        held.until_end()
    assert asks(guard, "POST", "/topics/open/short", token(), b"late")[0] == 201
    assert held.messages() == []


def test_revoked_tokens() -> None:
    """A token that was revoked is refused when it is shown again, by its id and by its subject; its streams have ended;
    and it cannot be used to renew another's."""
    admin = token("root", comet={"admin": True})
    with guarded() as daemon:
        by_id, by_subject, other = token(jti="t1"), token("bob", iat=int(time.time()) - 10), token("carol", jti="t2")
        with Held(connected(daemon.http)) as held, Held(connected(daemon.http)) as honest:
            held.ask("/topics/open/a?transport=stream", "stream", Authorization=f"Bearer {by_id}")
            honest.ask("/topics/open/a?transport=stream", "stream", Authorization=f"Bearer {other}")
            stream = honest.until_control("open")["stream"]
            for wanted in ({"token": "t1", "until": int(time.time()) + 3600}, {"subject": "bob"}):
                answer = asks(daemon, "POST", "/revocations", admin, json.dumps(wanted).encode())
                assert answer[0] in (200, 201, 204), answer
            assert held.until_control("bye")["reason"] == "revoked"
            for revoked in (by_id, by_subject):
                assert code_of(asks(daemon, "POST", "/topics/open/a", revoked, b"evil")) == (401, "bad_token")
                renewal = json.dumps({"token": revoked}).encode()
                assert asks(daemon, "POST", f"/streams/{stream}/token", other, renewal)[0] in (401, 403)
            assert asks(daemon, "POST", "/topics/open/a", other, b"fine")[0] == 201
            assert honest.until_messages(1)[0]["data"] == "fine"
            assert code_of(asks(daemon, "POST", "/revocations", other, b'{"subject":"root"}')) == (403, "forbidden")


def test_renewal_with_somebody_elses_token(guard: Daemon) -> None:
    """Whoever knows the id of a stream does not make it his own, nor has it go on with fewer rights than it needs."""
    with Held(connected(guard.http)) as held:
        held.ask("/topics/open/a?transport=stream", "stream", Authorization=f"Bearer {token()}")
        stream = held.until_control("open")["stream"]
        for renewal in (token("mallory"), token(comet={"subscribe": ["other"]}), FORGED["alg-none"]):
            answer = asks(guard, "POST", f"/streams/{stream}/token", token(), json.dumps({"token": renewal}).encode())
            assert answer[0] in (401, 403), answer


def test_two_tokens(guard: Daemon) -> None:
    """A request with two tokens is refused: nobody knows which one a proxy in front has looked at."""
    honest, forged = token(), FORGED["alg-none"]
    for lines in (
        (f"Authorization: Bearer {honest}", f"Authorization: Bearer {forged}"),
        (f"Authorization: Bearer {forged}, Bearer {honest}",),
        (f"Cookie: __Host-comet={honest}; __Host-comet={forged}", "Sec-Fetch-Site: same-origin"),
    ):
        answer = exchanged(guard.http, request("GET", "/topics/open/a?wait=0", *lines, "Connection: close"))
        assert statuses(answer)[0] in (400, 401), answer
    target = f"/topics/open/a?wait=0&token={honest}&token={forged}"
    assert statuses(exchanged(guard.http, request("GET", target, "Connection: close"))) == [401]


def test_nothing_was_published(daemon: Daemon) -> None:
    """A daemon without a key takes no token at all, not even from this machine."""
    assert code_of(asks(daemon, "POST", "/topics/forbidden", token(), b"evil"))[0] == 401
    assert published(daemon, "forbidden") == []
