"""The store that forgets: messages live as long as the process, in the log's own memory."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from comet.message import Message


class MemoryStore:
    """Keeps nothing beside the log. Its epoch is drawn at each start, so that an older position is told as a gap."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)

    def start(self) -> Deferred[Sequence[Message]]:
        return succeed(())

    def append(self, messages: Sequence[Message]) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)

    def stop(self) -> Deferred[None]:
        return succeed(None)
