"""The body of a held response: its bytes to lines, for as long as the subscriber keeps up.

Two traps. A connection that has died without a word is silent, as a quiet one is; but the daemon is never silent for
longer than it says when the stream opens. And one that is paused hears nothing either: neither silence nor the end of
a paused connection means anything, until it is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import PotentialDataLoss, ResponseDone

from comet.client.reading import Garbled, Line, Reader
from comet.client.requests import reason as reason_of

FAREWELL = 1.0
"""Seconds that a peer may take to close a connection after us."""


class Body(Protocol):
    """Reads one response. ``take`` is given each line; ``has_room`` says whether more should be read; ``patience`` is
    how many seconds of silence are borne."""

    transport: Any

    def __init__(
        self, reader: Reader, take: Callable[[Line], None], has_room: Callable[[], bool], reactor: Any, patience: float
    ) -> None:
        self.ended: Deferred[str] = Deferred()
        """Fires with why, once the connection is gone."""
        self.patience = patience
        self._reader = reader
        self._take = take
        self._has_room = has_room
        self._reactor = reactor
        self._watch: Any = None
        self._paused = False
        self._why = ""
        self._over = False

    def connectionMade(self) -> None:
        self._watch = self._reactor.callLater(self.patience, self._silent)

    def dataReceived(self, data: bytes) -> None:
        if self._why:
            return
        try:
            for line in self._reader.feed(data):
                self._take(line)
                if self._why:
                    return
        except Garbled as error:
            self.close(str(error))
            return
        if self._paused or not self._has_room():
            self._pause()
        else:
            self._watch.reset(self.patience)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._stop_watching()
        ended = reason.check(ResponseDone, PotentialDataLoss) is not None
        if not self.ended.called:
            self.ended.callback(self._why or ("the connection was closed" if ended else reason_of(reason.value)))

    def proceed(self) -> None:
        """There is room again."""
        if self._paused and not self._why:
            self._paused = False
            self._watch = self._reactor.callLater(self.patience, self._silent)
            self.transport.resumeProducing()

    def close(self, why: str) -> None:
        """Let go of the connection at once."""
        if self._over or self._why:
            return
        self._why = why
        self._stop_watching()
        self._watch = self._reactor.callLater(FAREWELL, self._abandon)
        # A TLS connection that is paused would not see its peer's farewell, and wait for it.
        self.transport.resumeProducing()
        self.transport.loseConnection()

    def _pause(self) -> None:
        # Said again for each piece: the response resumes once it has given away what came before it was read.
        self.transport.pauseProducing()
        if not self._paused:
            self._paused = True
            self._stop_watching()

    def _abandon(self) -> None:
        """A peer that has died over TLS does not answer the farewell; the system finds that out some day."""
        self._watch = None
        self.ended.callback(self._why)

    def _silent(self) -> None:
        self._watch = None
        self.close(f"nothing came for {self.patience:g} seconds, which is longer than the daemon is ever silent")

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
