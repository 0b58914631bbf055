"""What a token says, and what its holder may do: from the text of a JWT to a grant. Pure; ``now`` is an argument.

A token is ``header.payload.signature``, each in base64url without padding (RFC 7515, section 7.1). The header names an
algorithm (``alg``) and mostly a key (``kid``); the payload is a JSON object of claims (RFC 7519). Ours is ``comet``::

    {"sub": "alice", "exp": 1790003600, "comet": {"subscribe": ["chat/*"], "publish": ["chat/7"]}}

The traps. Until a key has verified the signature, all of it is what a stranger has written: so it is bounded, it is
decoded strictly, and the header does nothing but choose among the keys. Afterwards a claim of another type, or an
unknown one in ``comet``, still refuses the token: what is not understood must not count as allowed, or as for ever.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from math import inf
from typing import NamedTuple

import msgspec

from comet.access.grant import Grant
from comet.errors import BadPattern, BadToken, TokenExpired
from comet.topics import Pattern

LONGEST = 8192
"""Bytes of a token."""

LONGEST_NAME = 1024
"""Bytes of a subject, an id, or the name of a consumer."""

LEEWAY = 5.0
"""Seconds that the clocks of the issuer and of this machine may differ."""

_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_MALFORMED = "the token is malformed: a JWT is three parts of base64url with dots between them"


class Header(msgspec.Struct):
    """What of a header is looked at. ``crit`` names extensions that must be understood (RFC 7515, section 4.1.11)."""

    alg: str
    kid: str | None = None
    crit: msgspec.Raw = msgspec.Raw()


class Signed(NamedTuple):
    """A token in its parts, of which nothing is verified. ``message`` is what ``signature`` signs."""

    algorithm: str
    key: str | None
    message: bytes
    payload: bytes
    signature: bytes


class Terms(NamedTuple):
    """Whom tokens must be for, and of whom. An empty audience is none; an empty issuer anyone who has a key."""

    audience: str = ""
    issuer: str = ""


class Allowed(msgspec.Struct, forbid_unknown_fields=True):
    """The claim ``comet``."""

    publish: list[str] = []
    subscribe: list[str] = []
    consumers: list[str] = []
    admin: bool = False


class Claims(msgspec.Struct):
    """The claims that are looked at (RFC 7519, section 4.1). Times are in seconds since 1970."""

    sub: str = ""
    jti: str = ""
    iss: str = ""
    aud: str | list[str] = []
    exp: float = inf
    nbf: float = 0.0
    iat: float = 0.0
    comet: Allowed = msgspec.field(default_factory=Allowed)


_HEADER = msgspec.json.Decoder(Header)
_CLAIMS = msgspec.json.Decoder(Claims)


def parts_of(token: str) -> Signed:
    """Return the parts of ``token``, or raise :exc:`~comet.errors.BadToken`."""
    if len(token) > LONGEST:
        raise BadToken(f"the token is longer than {LONGEST} bytes")
    match = _PARTS.fullmatch(token)
    if match is None:
        raise BadToken(_MALFORMED)
    head, payload, signature = (_decoded(part.encode("ascii")) for part in match.groups())
    try:
        header = _HEADER.decode(head)
    except (ValueError, RecursionError):
        raise BadToken("the token is malformed: its header is a JSON object that names an algorithm (alg)") from None
    if header.crit:
        raise BadToken("the header of the token has critical extensions (crit), and none is supported")
    return Signed(header.alg, header.kid, token.rpartition(".")[0].encode("ascii"), payload, signature)


def grant_of(payload: bytes, terms: Terms, now: float) -> Grant:
    """Return what the claims of a token allow, whose signature is verified.

    Raises :exc:`~comet.errors.BadToken`, or :exc:`~comet.errors.TokenExpired` if they did so once.
    """
    claims = claims_of(payload)
    _check_times(claims, now)
    _check_terms(claims, terms)
    allowed = claims.comet
    return Grant(
        subject=_name(claims.sub, "subject (sub)"),
        token=_name(claims.jti, "id (jti)"),
        publish=_patterns(allowed.publish, "publish"),
        subscribe=_patterns(allowed.subscribe, "subscribe"),
        consumers=tuple(_name(name, "list of consumers") for name in allowed.consumers),
        admin=allowed.admin,
        expires=claims.exp + LEEWAY,
        issued=claims.iat,
    )


def claims_of(payload: bytes) -> Claims:
    """Return the claims that ``payload`` has, or raise :exc:`~comet.errors.BadToken`."""
    try:
        return _CLAIMS.decode(payload)
    except msgspec.ValidationError as error:  # says which claim it is, and shows no value
        raise BadToken(f"the claims of the token cannot be used: {error}") from None
    except (ValueError, RecursionError):
        raise BadToken("the claims of the token are not JSON") from None


def check_current(grant: Grant, now: float) -> None:
    """Raise :exc:`~comet.errors.TokenExpired` if ``grant`` is over."""
    if now >= grant.expires:
        ago = now - grant.expires + LEEWAY
        raise TokenExpired(f"the token expired {ago:.0f} s ago; ask the application for a new one")


def _check_times(claims: Claims, now: float) -> None:
    check_current(Grant(expires=claims.exp + LEEWAY), now)
    for start, name in ((claims.nbf, "not valid yet (nbf)"), (claims.iat, "from the future (iat)")):
        if start > now + LEEWAY:
            raise BadToken(f"the token is {name}, by {start - now:.0f} s; if that is wrong, set the clocks")


def _check_terms(claims: Claims, terms: Terms) -> None:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if terms.audience and terms.audience not in audiences:
        raise BadToken("the token is not for this daemon: its audience (aud) is not the one of --audience")
    # Who does not know itself in an audience must refuse the token (RFC 7519, section 4.1.3): it was made for another.
    if audiences and not terms.audience:
        raise BadToken("the token is for somebody in particular (aud), and this daemon has no --audience")
    if terms.issuer and claims.iss != terms.issuer:
        raise BadToken("the token is of another issuer (iss) than the one of --issuer")


def _patterns(texts: list[str], name: str) -> tuple[Pattern, ...]:
    try:
        return tuple(Pattern.parse(text) for text in dict.fromkeys(texts))
    except BadPattern as error:
        raise BadToken(f"what the token allows to {name} cannot be used: {error.detail}") from None


def _name(text: str, what: str) -> str:
    # It gets into logs, replies and records.
    if _CONTROL.search(text) or len(text.encode()) > LONGEST_NAME:
        raise BadToken(f"the {what} of the token has a control character, or is longer than {LONGEST_NAME} bytes")
    return text


def _decoded(part: bytes) -> bytes:
    """Return the bytes of ``part``, which has only letters of base64url; one spelling of them is right."""
    try:
        data = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        raise BadToken(_MALFORMED) from None
    if urlsafe_b64encode(data).rstrip(b"=") != part:
        raise BadToken(_MALFORMED)
    return data
