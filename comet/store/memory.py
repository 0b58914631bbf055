"""The store that forgets: messages live as long as the process, in the log's own memory."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from comet.config import Config
from comet.kept import Entry, Kept, Past, Record
from comet.message import Message


class MemoryStore:
    """Keeps nothing beside the log. Its epoch is drawn at each start, so that an older position is told as a gap."""

    archive = None
    trouble = ""

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:  # noqa: ARG002
        return succeed(Kept(Past(secrets.token_hex(4), 0, 1, 0.0, 0, {})))

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)

    def put(self, record: Record) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)

    def remove(self, kind: str, name: str) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)

    def configure(self, config: Config) -> None:
        """Nothing here goes by settings."""

    def stop(self) -> Deferred[None]:
        return succeed(None)
