"""Who may do what: tokens, the application, and nobody in particular, put together."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from comet.access.grant import EVERYTHING, NOTHING, Grant
from comet.config import Config
from comet.topics import Pattern


class Access:
    """What the faces ask before they do anything for anybody."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._reactor = reactor
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._config = config
        allowed: dict[str, list[Pattern]] = {"publish": [], "subscribe": []}
        for text in config.anonymous:
            verb, _, pattern = text.partition(":")
            allowed[verb].append(Pattern.parse(pattern))
        self._anonymous = Grant(publish=tuple(allowed["publish"]), subscribe=tuple(allowed["subscribe"]))

    def unnamed(self, local: bool) -> Grant:
        """What somebody without a token may do; ``local`` if that is a program on this machine."""
        return EVERYTHING if local and self._config.local == "all" else self._anonymous

    def of_token(self, token: str) -> Grant | Deferred[Grant]:
        """What the holder of ``token`` may do, at once or later. Raises, or fails with,
        :exc:`~comet.errors.BadToken`, :exc:`~comet.errors.TokenExpired` or
        :exc:`~comet.errors.AuthorizationFailed`."""
        return NOTHING
