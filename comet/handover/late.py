"""What publishers still bring to the predecessor, after the successor serves: the successor publishes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.errors import CometError
from comet.handover.frames import FrameReader, Late, NotAFrame, Stored, encoded
from comet.router import Router

_log = Logger()


class Latecomers(Protocol):
    """The connection to the predecessor, which ends it when it goes."""

    transport: Any

    def __init__(self, router: Router) -> None:
        self._router = router
        self._reader = FrameReader()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                if not isinstance(frame, Late):
                    raise NotAFrame
                publishing = self._router.publish(frame.drafts)
                publishing.addErrback(_nothing)
                publishing.addCallback(self._answer, frame.number)
        except NotAFrame:
            self.transport.abortConnection()

    def _answer(self, offsets: Sequence[int], number: int) -> None:
        if self.connected:
            self.transport.write(encoded(Stored(number, list(offsets))))


class LatecomersFactory(Factory[Latecomers]):
    """Makes the protocol of that one connection."""

    noisy = False

    def __init__(self, router: Router) -> None:
        self._router = router

    def buildProtocol(self, addr: object) -> Latecomers:  # noqa: ARG002
        """Return the protocol."""
        return Latecomers(self._router)


def _nothing(failure: Failure) -> Sequence[int]:
    if not failure.check(CometError):
        _log.failure("publishing what a predecessor was given failed", failure)
    return ()
