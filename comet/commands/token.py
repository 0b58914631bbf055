"""``comet token``: sign a token, say what one allows, or make a secret to sign with.

Any program that has the key can do the same, with the JWT library of its language; this is for trying things out, and
for scripts. The traps: the token stands alone on standard output, so that ``$(comet token …)`` is the token; a key is
read from a file, never from an argument, which everybody on the machine can see; and what a token says is a stranger's
text, and is shown on a terminal.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence

import jwt

from comet.access.keyfiles import BadKeyFile, Key, read_key, read_signing_key
from comet.access.tokens import Claims, Signed, Terms, claims_of, grant_of, parts_of
from comet.commands.amounts import age
from comet.commands.arguments import Parser, reason
from comet.errors import BadPattern, CometError
from comet.kinds import SECONDS
from comet.logs.masks import printable
from comet.topics import Pattern

DESCRIPTION = """Sign a token, and print it: what its holder may do at a daemon that has the key.

comet token --show says what a token allows, comet token --new-key makes a secret to sign with."""

EXAMPLES = """examples:
  comet token --new-key push.key                  a secret; the daemon takes it with --key push.key
  comet token --key push.key --sub 'chat/*'       may subscribe to chat/*, for an hour
  comet token --key push.key --subject alice --sub 'chat/**' --pub chat/7 --ttl 12h
  curl -H "Authorization: Bearer $(comet token --key push.key --pub news)" -d hello http://127.0.0.1:7080/topics/news
  comet token --show - < token                    what it allows, and until when"""

SECRET_BYTES = 32
"""Random bytes of a secret; they are written in base64url, so that every language reads them as text."""

ID_BYTES = 8


def main(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` say; returns 1 only for a token that is shown and does not count."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.key = options.key or os.environ.get("COMET_KEY", "").split()
    if options.new_key is not None:
        return _make_key(options.new_key)
    if options.show is not None:
        return _show(options)
    if not (options.sub or options.pub or options.consumer or options.admin):
        parser.error("say what it allows: --sub, --pub, --consumer or --admin")
    print(_signed(_claims(options, time.time()), _signing_key(parser, options.key)))
    return 0


# -- a secret ---------------------------------------------------------------------------------------------------------


def _make_key(path: str) -> int:
    try:
        # Only its owner can read it, from the first moment on; and a key that is in use is not overwritten.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
    except FileExistsError:
        raise SystemExit(f"comet token: {path} is there already; remove it first, or name another file") from None
    except OSError as error:
        raise SystemExit(f"comet token: cannot write {path}: {reason(error)}") from None
    print(f"{path} has a new secret; start the daemon with --key {path}")
    return 0


# -- a token ----------------------------------------------------------------------------------------------------------


def _signing_key(parser: Parser, paths: Sequence[str]) -> Key:
    """The first key that can sign."""
    if not paths:
        parser.error("name the file of a key with --key, or in COMET_KEY; make one with comet token --new-key FILE")
    for path in paths:
        key = _read(path, signing=True)
        if key is not None and key.private is not None:
            return key
    raise SystemExit(f"comet token: {paths[0]} has no private key, and a token is signed with that")


def _claims(options: argparse.Namespace, now: float) -> dict[str, object]:
    """The claims of a token, without those that are empty. It has an id, so that it can be revoked."""
    allowed = {
        "publish": options.pub,
        "subscribe": options.sub,
        "consumers": options.consumer,
        "admin": options.admin,
    }
    claims = {
        "sub": options.subject,
        "jti": options.id or secrets.token_hex(ID_BYTES),
        "iss": options.issuer,
        "aud": options.audience,
        "iat": int(now),
        "exp": None if options.ttl == math.inf else math.ceil(now + options.ttl),
        "comet": {name: value for name, value in allowed.items() if value},
    }
    return {name: value for name, value in claims.items() if value not in (None, "")}


def _signed(claims: dict[str, object], key: Key) -> str:
    """The token that says ``claims``, which a daemon takes."""
    token = jwt.encode(claims, key.private, algorithm=key.algorithm)
    try:
        grant_of(parts_of(token).payload, Terms(str(claims.get("aud", ""))), time.time())
    except CometError as error:
        raise SystemExit(f"comet token: {printable(error.detail)}") from None
    return token


# -- what a token allows ----------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace) -> int:
    token = sys.stdin.read() if options.show == "-" else options.show
    now = time.time()
    try:
        signed = parts_of(token.strip())
        claims = claims_of(signed.payload)
    except CometError as error:
        raise SystemExit(f"comet token: {printable(error.detail)}") from None
    verdict = _verdict(signed, claims, options, now)
    for name, value in (*_rows(claims, now), ("signed", signed.algorithm), ("counts", verdict)):
        print(f"{name:<10} {printable(value)}")
    return 1 if verdict.startswith("no:") else 0


def _rows(claims: Claims, now: float) -> Iterator[tuple[str, str]]:
    """What is said of a token: the name of each claim, and its value."""
    yield "subject", claims.sub or "nobody in particular"
    rows = (("id", claims.jti), ("issuer", claims.iss), ("audience", ", ".join(_audiences(claims))))
    yield from ((name, value) for name, value in rows if value)
    if claims.iat:
        yield "issued", _moment(claims.iat, now)
    if claims.nbf:
        yield "not before", _moment(claims.nbf, now)
    yield "expires", "never" if claims.exp == math.inf else _moment(claims.exp, now)
    allowed = claims.comet
    yield "subscribe", " ".join(allowed.subscribe) or "nothing"
    yield "publish", " ".join(allowed.publish) or "nothing"
    if allowed.consumers:
        yield "consumers", " ".join(allowed.consumers)
    yield "admin", "yes" if allowed.admin else "no"


def _moment(when: float, now: float) -> str:
    distance = f"in {age(when - now)}" if when > now else f"{age(now - when)} ago"
    try:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(when))}, {distance}"
    except (ValueError, OverflowError, OSError):
        return distance  # beyond all calendars


def _verdict(signed: Signed, claims: Claims, options: argparse.Namespace, now: float) -> str:
    """Whether a daemon that has the keys takes the token, and why not."""
    keys = [key for key in map(_read, options.key) if key is not None]
    if not keys:
        return "unknown: name the file of a key with --key"
    if not any(key.algorithm == signed.algorithm and key.verifies(signed.message, signed.signature) for key in keys):
        return "no: it is signed with another key"
    try:
        grant_of(signed.payload, Terms(options.audience or "".join(_audiences(claims)[:1]), options.issuer), now)
    except CometError as error:
        return f"no: {error.detail}"
    return "yes"


def _audiences(claims: Claims) -> list[str]:
    return [claims.aud] if isinstance(claims.aud, str) else claims.aud


def _read(path: str, *, signing: bool = False) -> Key | None:
    """The key in a file, or None for a URL, which only the daemon asks."""
    if path.startswith(("http://", "https://")):
        return None
    try:
        return read_signing_key(path) if signing else read_key(path)
    except BadKeyFile as error:
        raise SystemExit(f"comet token: {path} cannot be used: {error}") from None


# -- arguments --------------------------------------------------------------------------------------------------------


def _pattern(text: str) -> str:
    try:
        return Pattern.parse(text).text
    except BadPattern as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _ttl(text: str) -> float:
    try:
        seconds: float = math.inf if text == "none" else SECONDS.parse(text)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a time such as 15m or 24h, or none")
    return seconds


def _parser() -> Parser:
    environ = os.environ
    parser = Parser("comet token", description=DESCRIPTION, epilog=EXAMPLES)
    allowed = parser.add_argument_group("what it allows")
    for flag, what in (("--sub", "subscribe to this"), ("--pub", "publish on this")):
        allowed.add_argument(
            flag, action="append", default=[], type=_pattern, metavar="PATTERN", help=f"{what}; may be repeated"
        )
    allowed.add_argument(
        "--consumer", action="append", default=[], metavar="NAME", help="use this consumer, or any if it is *"
    )
    allowed.add_argument("--admin", action="store_true", help="see the console and the statistics, and revoke tokens")
    claims = parser.add_argument_group("whose it is, and for how long")
    claims.add_argument("--subject", default="", metavar="NAME", help="who its holder is (sub)")
    claims.add_argument("--ttl", type=_ttl, default=3600.0, metavar="TIME", help="how long it counts, or none [1h]")
    claims.add_argument("--id", default="", metavar="ID", help="what it is called, to revoke it (jti) [random]")
    claims.add_argument(
        "--audience", default=environ.get("COMET_AUDIENCE", ""), metavar="NAME", help="whom it is for (aud)"
    )
    claims.add_argument("--issuer", default=environ.get("COMET_ISSUER", ""), metavar="NAME", help="who signs it (iss)")
    parser.add_argument(
        "--key",
        action="append",
        metavar="FILE",
        help="the secret (HS256), or the private key in PEM (RS256, ES256, EdDSA), to sign with [COMET_KEY]",
    )
    parser.add_argument("--show", metavar="TOKEN", help="say what a token allows, and whether a key fits; - for stdin")
    parser.add_argument("--new-key", metavar="FILE", help="make a file with a new secret")
    return parser
