"""The keys that an issuer publishes at a URL: a JWKS (RFC 7517, section 5).

They are fetched when the daemon starts and every ``key-refresh`` from then on, and at once when a token names a key
that is not among them, for that is how an issuer takes a new one into use; the token waits for it. The traps: anybody
can name a key that nobody has, so that is done once in ten seconds at most; an issuer that is down, or answers
nonsense, must not lock out those whose keys are known, so these are kept; and a secret in a public place is none, so a
key of type ``oct`` does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.access.keyfiles import SIGNATURES, BadKeyFile, Key, key_of
from comet.access.tokens import Signed
from comet.errors import AuthorizationFailed, shown
from comet.exchange.values import Asked, Bounds, NoReply, Reply
from comet.interfaces import Call

TIMEOUT = 5.0
"""Seconds that one fetch may take."""

AGAIN = 10.0
"""Seconds between two fetches that tokens ask for, and between the tries of one that fails."""

MOST_KEYS = 64
"""Keys that one URL may have: a token that names none is checked with each of them."""

MOST_WAITING = 1000
"""Tokens that may wait for keys."""

_HEADERS = {b"accept": b"application/jwk-set+json, application/json"}
_PUBLIC = frozenset({"RSA", "EC", "OKP"})

Request = Callable[[Asked, Bounds], Deferred[Reply]]
"""Makes a request; see :meth:`comet.exchange.requester.Requester.request`."""

_log = Logger()


class Unusable(Exception):
    """What is at the URL is no JWKS, or a key in it cannot be used. Its text is one line for people."""


class Issuer:
    """Has the keys that are at ``url``; ``changed`` is called when they are others. ``reactor`` keeps the time; it
    connects, too, if no ``request`` is given."""

    refresh = 600.0

    def __init__(self, url: str, reactor: Any, changed: Callable[[], None], request: Request | None = None) -> None:
        self.keys: tuple[Key, ...] = ()
        self.trouble = "they have not been fetched yet"
        """Why they could not be fetched the last time; empty if they could."""
        self._url = url
        self._reactor = reactor
        self._changed = changed
        self._request = request
        self._body: bytes | None = None
        self._running = False
        self._began = float("-inf")
        self._fetching: Deferred[None] | None = None
        self._next: Call | None = None
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin to fetch them."""
        if not self._running:
            self._running = True
            self._fetch()

    def stop(self) -> None:
        """Fetch no more. Who waits is told so."""
        self._running = False
        self._set_next(None)
        if self._fetching is not None:
            self._fetching.cancel()

    def configure(self, refresh: float) -> None:
        """Fetch the keys every ``refresh`` seconds from now on."""
        self.refresh = refresh
        if self._next is not None and not self.trouble:
            self._set_next(refresh)

    def may_have(self, signed: Signed) -> bool:
        """Whether it may have a key for ``signed`` that is not here yet."""
        listed = signed.key is not None and any(key.id == signed.key for key in self.keys)
        return signed.algorithm in SIGNATURES and not listed

    def looked(self, signed: Signed) -> Deferred[None] | None:
        """Have the keys fetched for ``signed``, of which none that is here is. Fires once that is over, well or not;
        None if it need not be waited for. Raises :exc:`~comet.errors.AuthorizationFailed` if too many wait."""
        if not self._running or not self.may_have(signed):
            return None
        if self._fetching is None:
            if self._reactor.seconds() - self._began < AGAIN:
                return None
            self._fetch()
        if self._fetching is None:  # it was over at once
            return succeed(None)
        if len(self._waiting) >= MOST_WAITING:
            raise AuthorizationFailed("too many tokens wait for the keys of their issuer; try again")
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    # -- one fetch ----------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        self._set_next(None)
        self._began = self._reactor.seconds()
        fetching = Deferred.fromCoroutine(self._fetched())
        self._fetching = fetching
        fetching.addBoth(self._over)

    async def _fetched(self) -> None:
        reply = await self._requested(Asked(self._url, _HEADERS), Bounds(TIMEOUT, "the time for fetching keys"))
        if 300 <= reply.status < 400:
            raise Unusable(f"it answers {reply.status}, and redirects are not followed; set key to the right URL")
        if reply.status != 200:
            raise Unusable(f"it answers {reply.status}")
        if reply.body is None:
            raise Unusable("its answer is too long")
        if reply.body != self._body:
            self._take(reply.body)

    def _requested(self, asked: Asked, bounds: Bounds) -> Deferred[Reply]:
        if self._request is None:
            from comet.exchange.requester import Requester  # noqa: PLC0415 (18 MB that few daemons need)

            self._request = Requester(self._reactor).request
        return self._request(asked, bounds)

    def _take(self, body: bytes) -> None:
        keys, left_out = keys_in(body)
        self._body, self.keys = body, keys
        self._changed()
        for reason in left_out:
            _log.warn("{url}: a key does not count: {reason}", url=self._shown(), reason=reason)
        _log.info("{url}: keys for tokens: {count}", url=self._shown(), count=len(keys))

    def _over(self, result: Failure | None) -> None:
        self._fetching = None
        if isinstance(result, Failure):
            self._failed(result)
        else:
            self.trouble = ""
        if self._running:
            self._set_next(min(AGAIN, self.refresh) if self.trouble else self.refresh)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _failed(self, failure: Failure) -> None:
        text = failure.getErrorMessage()
        if not self._running and failure.check(CancelledError, NoReply):
            pass  # it was told to stop
        elif not failure.check(NoReply, Unusable):
            _log.failure("fetching keys from {url} failed", failure, url=self._shown())
        elif text != self.trouble:  # once for as long as it lasts
            kept = "those from before count on" if self.keys else "tokens that need them are refused"
            _log.error("{url}: no keys, {kept}: {text}", url=self._shown(), kept=kept, text=text)
        self.trouble = text or "it was stopped"

    def _set_next(self, delay: float | None) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = None if delay is None else self._reactor.callLater(delay, self._due)

    def _due(self) -> None:
        self._next = None
        self._fetch()

    def _shown(self) -> str:
        """The URL, without what may be a secret in it."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# -- the document -----------------------------------------------------------------------------------------------------


class Published(msgspec.Struct, omit_defaults=True):
    """What of a key is looked at (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2)."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None
    d: msgspec.Raw = msgspec.Raw()


class Document(msgspec.Struct):
    """A JWKS. What one key says amiss must not keep the others from counting."""

    keys: list[msgspec.Raw]


def keys_in(body: bytes) -> tuple[tuple[Key, ...], list[str]]:
    """Return the keys in ``body``, and why others do not count. Raises :exc:`Unusable` if it is no JWKS."""
    try:
        found = msgspec.json.decode(body, type=Document).keys
    except (ValueError, RecursionError):
        raise Unusable('what is there is no JWKS: {"keys": […]}') from None
    if len(found) > MOST_KEYS:
        raise Unusable(f"it has {len(found)} keys, and {MOST_KEYS} are the most")
    keys, left_out = [], []
    for raw in found:
        try:
            keys.append(_key(raw))
        except (Unusable, BadKeyFile) as error:
            left_out.append(str(error))
    return tuple(keys), left_out


def _key(raw: msgspec.Raw) -> Key:
    try:
        published = msgspec.json.decode(raw, type=Published)
    except (ValueError, RecursionError):
        raise Unusable("it is no JWK") from None
    if published.kty not in _PUBLIC:
        raise Unusable(f"its type is {shown(published.kty, 16)}, and only public keys may be published")
    if published.d:
        raise Unusable("it is a private key, and the whole world has it now; make another")
    if published.use not in (None, "sig") or (published.key_ops is not None and "verify" not in published.key_ops):
        raise Unusable("it is not for signatures")
    key = key_of(_material(published), published.kid)
    if published.alg not in (None, key.algorithm):
        raise Unusable(f"it is for {shown(published.alg, 16)}, and {key.algorithm} is what is supported of its type")
    return key


def _material(published: Published) -> object:
    members = {name: value for name, value in msgspec.structs.asdict(published).items() if isinstance(value, str)}
    members.pop("alg", None)  # it follows from the key
    try:
        return PyJWK(members).key
    except (PyJWTError, ValueError, UnsupportedAlgorithm):
        raise Unusable("it is broken, or of a kind that is not supported; take RSA, EC P-256 or Ed25519") from None
