"""The keyring: whether a token is signed by a key that counts, and what its holder may do.

Keys are read from files, at each ``configure``, and fetched from URLs (``jwks.py``). A token is checked with those keys
that its header may mean: of its algorithm, and of its ``kid`` where both name one. A token that was verified is
remembered until it is over or any key has changed: verifying a signature takes a hundred times as long.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from comet.access.grant import Grant
from comet.access.jwks import Issuer, Request
from comet.access.keyfiles import BadKeyFile, Key, read_key
from comet.access.tokens import Signed, Terms, check_current, grant_of, parts_of
from comet.config import BadSetting, Config
from comet.errors import AuthorizationFailed, BadToken, CometError, shown

MOST_REMEMBERED = 10_000

_log = Logger()


class Keyring:
    """All keys that count. Raises :exc:`~comet.config.BadSetting` if a file has none; later that is only logged.
    ``reactor`` keeps the time; it connects, too, if no ``request`` is given."""

    def __init__(self, config: Config, reactor: Any, request: Request | None = None) -> None:
        self._reactor = reactor
        self._request = request
        self._running = False
        self._remembered: dict[bytes, Grant] = {}
        self._files: dict[str, Key] = {}
        self._issuers: dict[str, Issuer] = {}
        for path in filter(_is_path, config.key):
            try:
                self._files[path] = read_key(path)
            except BadKeyFile as error:
                raise BadSetting(f"key: {shown(path, 255)} cannot be used: {error}") from None
        self._go_by(config)

    def start(self) -> None:
        """Begin to fetch the keys that are at URLs."""
        self._running = True
        for issuer in self._issuers.values():
            issuer.start()

    def stop(self) -> None:
        """Fetch no more."""
        self._running = False
        for issuer in self._issuers.values():
            issuer.stop()

    def configure(self, config: Config) -> None:
        """Go by ``config`` from now on, and read all files anew: where one has no key now, the old one counts on."""
        files: dict[str, Key] = {}
        for path in filter(_is_path, config.key):
            try:
                files[path] = read_key(path)
            except BadKeyFile as error:
                kept = "its old key counts on" if path in self._files else "it counts for nothing"
                _log.error("key: {path} cannot be used, {kept}: {error}", path=shown(path, 255), kept=kept, error=error)
                if path in self._files:
                    files[path] = self._files[path]
        self._files = files
        self._go_by(config)

    def grant(self, token: str, now: float) -> Grant | Deferred[Grant]:
        """Return what the holder of ``token`` may do ``now``, in seconds since 1970; later, if keys must be fetched.

        Raises, or fails with, :exc:`~comet.errors.BadToken`, :exc:`~comet.errors.TokenExpired`, or
        :exc:`~comet.errors.AuthorizationFailed` if who has the key for it does not answer.
        """
        signed = parts_of(token)
        digest = sha256(token.encode("ascii")).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None:
            check_current(remembered, now)
            return remembered
        grant = self._verified(signed, digest, now)
        if grant is not None:
            return grant
        looks = [look for issuer in self._issuers.values() if (look := issuer.looked(signed)) is not None]
        if not looks:
            raise self._refusal(signed)
        return Deferred.fromCoroutine(self._verified_after(looks, signed, digest, now))

    async def _verified_after(self, looks: list[Deferred[None]], signed: Signed, digest: bytes, now: float) -> Grant:
        began = self._reactor.seconds()
        for look in looks:
            await look
            grant = self._verified(signed, digest, now + self._reactor.seconds() - began)
            if grant is not None:
                return grant
        raise self._refusal(signed)

    def _verified(self, signed: Signed, digest: bytes, now: float) -> Grant | None:
        """What a token grants, or None if none of the keys that it may mean has signed it. Raises as ``grant`` does."""
        if not any(key.verifies(signed.message, signed.signature) for key in self._keys if _fits(key, signed)):
            return None
        grant = grant_of(signed.payload, self._terms, now)
        if len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = grant
        return grant

    def _refusal(self, signed: Signed) -> CometError:
        if any(issuer.trouble and issuer.may_have(signed) for issuer in self._issuers.values()):
            return AuthorizationFailed("the keys of the token's issuer cannot be fetched now; try again later")
        if not any(key.algorithm == signed.algorithm for key in self._keys):
            return BadToken("the token is signed in a way (alg) that no key of this daemon is for")
        return BadToken("no key of this daemon has signed the token")

    def _go_by(self, config: Config) -> None:
        self._terms = Terms(config.audience, config.issuer)
        issuers: dict[str, Issuer] = {}
        for url in config.key:
            if not _is_path(url) and url not in issuers:
                known = self._issuers.pop(url) if url in self._issuers else None
                issuers[url] = known or Issuer(url, self._reactor, self._changed, self._request)
                issuers[url].configure(config.key_refresh)
        for gone in self._issuers.values():
            gone.stop()
        self._issuers = issuers
        self._changed()
        if self._running:
            self.start()

    def _changed(self) -> None:
        issued = (key for issuer in self._issuers.values() for key in issuer.keys)
        self._keys = (*self._files.values(), *issued)
        self._remembered.clear()


def _fits(key: Key, signed: Signed) -> bool:
    return key.algorithm == signed.algorithm and (key.id is None or signed.key is None or key.id == signed.key)


def _is_path(text: str) -> bool:
    return not text.startswith(("http://", "https://"))
