"""Who may do what: tokens, the application, and nobody in particular, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from comet.access.asking import Application
from comet.access.grant import EVERYTHING, Grant
from comet.access.keys import Keyring
from comet.access.revoked import Revocations
from comet.config import Config
from comet.metrics import Metrics
from comet.topics import Pattern


class Access:
    """What the faces ask before they do anything for anybody. ``now`` is the wall clock."""

    def __init__(
        self, config: Config, reactor: Any, metrics: Metrics, revocations: Revocations, now: Callable[[], float]
    ) -> None:
        self.revocations = revocations
        self._now = now
        self._keyring = Keyring(config, reactor)
        self._application = Application(config, reactor, metrics)
        self._go_by(config)

    def start(self) -> None:
        """Go on with the revocations that are kept, and begin to fetch the keys that are at a URL."""
        self.revocations.start()
        self._keyring.start()

    def stop(self) -> None:
        """Fetch no more."""
        self._keyring.stop()

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._keyring.configure(config)
        self._application.configure(config)
        self._go_by(config)

    def _go_by(self, config: Config) -> None:
        self._asks = bool(config.authorize_url)
        self._local = EVERYTHING if config.local == "all" else None
        allowed: dict[str, list[Pattern]] = {"publish": [], "subscribe": []}
        for text in config.anonymous:
            verb, _, pattern = text.partition(":")
            allowed[verb].append(Pattern.parse(pattern))
        publish, subscribe = (tuple(allowed[verb]) for verb in ("publish", "subscribe"))
        self._anonymous = Grant(publish=publish, subscribe=subscribe, is_anonymous=True)

    def unnamed(self, local: bool) -> Grant:
        """What somebody without a token may do; ``local`` if that is a program on this machine."""
        return self._local if local and self._local is not None else self._anonymous

    def of_token(self, token: str) -> Grant | Deferred[Grant]:
        """What the holder of ``token`` may do, at once or later. Raises, or fails with,
        :exc:`~comet.errors.BadToken`, :exc:`~comet.errors.TokenExpired` or
        :exc:`~comet.errors.AuthorizationFailed`."""
        return self._checked(self._keyring.grant(token, self._now()))

    def of_stranger(self, headers: Mapping[bytes, bytes], address: str) -> Grant | Deferred[Grant]:
        """What a client at ``address`` without a token may do that sends ``headers``, by their lower-case names: what
        the application says, if it is to be asked; it may fail as ``of_token``, or with
        :exc:`~comet.errors.Unauthorized` or :exc:`~comet.errors.Forbidden`."""
        if not self._asks:
            return self._anonymous
        return self._checked(self._application.grant(headers, self._now(), address))

    def revoked(self) -> None:
        """Something was revoked: what the application has said of it before is forgotten."""
        self._application.forget(self.revocations.covers)

    def _checked(self, granted: Grant | Deferred[Grant]) -> Grant | Deferred[Grant]:
        if isinstance(granted, Grant):
            return self._unrevoked(granted)
        return granted.addCallback(self._unrevoked)

    def _unrevoked(self, grant: Grant) -> Grant:
        self.revocations.check(grant)
        return grant
