"""The predecessor's side: it gives its log and its sockets to a successor, and only then stops.

While it sends its log it goes on serving; for the last of it publishers wait and nobody is accepted, which takes
milliseconds (connections wait in the kernel meanwhile). Whatever goes wrong before the last word, it goes on serving.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import islice
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from comet.entrance import Publish
from comet.errors import Draining
from comet.handover.frames import (
    VERSION,
    Batch,
    Frame,
    FrameReader,
    Hello,
    Known,
    Late,
    NotAFrame,
    Ready,
    Stored,
    Will,
    Yours,
    encoded,
)
from comet.interfaces import Call, Clock
from comet.message import Draft, Message
from comet.router import Router

BATCH = 1_000
BATCH_BYTES = 1024 * 1024
"""What goes out in one turn of the reactor."""

KEYS = 10_000
RECORDS = 1_000
"""Idempotency keys and records of a frame."""

PATIENCE = 10.0
"""Seconds that a successor has for each step: to say hello, to take a batch; to be ready, while publishers wait."""

_log = Logger()


class State(Enum):
    """How far it is."""

    LISTENING = "nobody has said hello"
    SENDING = "the log is on its way"
    STILL = "publishers wait for the successor to be ready"
    GIVEN = "the successor serves"


@implementer(IPullProducer)
class Giving(Protocol):
    """A connection to one who says that it is the successor."""

    transport: Any

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._reader = FrameReader()
        self._state = State.LISTENING
        self._sent = 0
        self._deadline: Call | None = None
        self._forwarded: dict[int, Deferred[Sequence[int]]] = {}
        self._number = 0

    # -- what Twisted calls -----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        if not is_trusted(self.transport.socket):
            _log.warn("a process of another user wanted to take this daemon's place, and was refused")
            self.transport.abortConnection()
        else:
            self._expect_a_step()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except NotAFrame:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._forget_deadline()
        forwarded, self._forwarded = self._forwarded, {}
        for answer in forwarded.values():
            answer.errback(_not_taken())
        if self._state in (State.SENDING, State.STILL):
            _log.warn("the successor is gone before it could take over; this daemon goes on")
            self._estate.keep(self._state is State.STILL)
        self._state = State.LISTENING

    def resumeProducing(self) -> None:
        """Send the next batch; before the last of them have everybody wait."""
        batch = self._estate.batch(self._sent)
        self._expect_a_step()
        if batch:
            self._sent = batch[-1].offset
            self.transport.write(encoded(Batch(batch)))
        elif self._state is State.SENDING:
            self._state = State.STILL
            self.transport.unregisterProducer()
            self._estate.stand_still().addCallbacks(self._send_will, self._failed)

    def stopProducing(self) -> None:
        """The connection is gone: ``connectionLost`` follows."""

    # -- the conversation -------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Hello) and frame.version == VERSION and self._estate.claim(self):
            self._state = State.SENDING
            self.transport.registerProducer(self, False)
        elif isinstance(frame, Ready) and self._state is State.STILL:
            self._state = State.GIVEN
            self._forget_deadline()
            self.transport.write(encoded(Yours()))
            self._estate.give(self.forward)
        elif isinstance(frame, Stored) and frame.number in self._forwarded:
            answer = self._forwarded.pop(frame.number)
            answer.callback(frame.offsets) if frame.offsets else answer.errback(_not_taken())
        else:
            self.transport.abortConnection()

    def forward(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        """Have the successor publish ``drafts``. Fails with :exc:`~comet.errors.Draining` if it does not."""
        if not self.connected or not drafts:
            return succeed(()) if self.connected else fail(_not_taken())
        self._number += 1
        answer = self._forwarded[self._number] = Deferred()
        self.transport.write(encoded(Late(self._number, list(drafts))))
        return answer

    def _send_will(self, _: None) -> None:
        if self._state is not State.STILL:
            return
        while batch := self._estate.batch(self._sent):
            self._sent = batch[-1].offset
            self.transport.write(encoded(Batch(batch)))
        for known in self._estate.known():
            self.transport.write(encoded(known))
        for descriptor in self._estate.descriptors():
            self.transport.sendFileDescriptor(descriptor)
        self.transport.write(encoded(self._estate.will()))

    def _failed(self, failure: Failure) -> None:
        _log.failure("handing over failed", failure)
        self.transport.abortConnection()

    def _expect_a_step(self) -> None:
        self._forget_deadline()
        self._deadline = self._estate.clock.callLater(PATIENCE, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.abortConnection()


class Listening(NamedTuple):
    """A port that listens, under the setting and the text of its endpoint."""

    setting: str
    text: str
    port: Any


class Estate(Factory[Giving]):
    """What there is to give: a running daemon's ``router`` and its ``ports``. ``given`` is called once a successor
    serves."""

    noisy = False

    def __init__(self, router: Router, clock: Clock, given: Callable[[], None]) -> None:
        self._router = router
        self._given = given
        self._heir: Giving | None = None
        self.clock = clock
        self.ports: list[Listening] = []

    def buildProtocol(self, addr: object) -> Giving:  # noqa: ARG002
        """Return the protocol of one connection."""
        protocol = Giving(self)
        protocol.factory = self
        return protocol

    def claim(self, heir: Giving) -> bool:
        """Promise everything to ``heir``, unless it is promised to another."""
        if self._heir is not None or self._router.draining:
            return False
        self._heir = heir
        return True

    def batch(self, after: int) -> list[Message]:
        """The next messages of the log after ``after``; none if the successor finds them in the store."""
        if self._router.is_durable:
            return []
        size = 0
        batch = self._router.log.after(after, BATCH)
        for number, message in enumerate(batch, 1):
            size += len(message.payload)
            if size > BATCH_BYTES:
                return batch[:number]
        return batch

    def stand_still(self) -> Deferred[None]:
        """Accept nobody and let publishers wait. Fires once the log stands still."""
        for each in self.ports:
            each.port.stopReading()
        return self._router.hold()

    def known(self) -> Iterator[Known]:
        """The idempotency keys and the records, some at a time: there may be a million."""
        if self._router.is_durable:
            return
        entries, records = self._router.keys.entries(), iter(self._router.records.all())
        while some := Known(list(islice(entries, KEYS)), list(islice(records, RECORDS))):
            if not some.keys and not some.records:
                return
            yield some

    def descriptors(self) -> list[int]:
        """The listening sockets."""
        return [each.port.fileno() for each in self.ports]

    def will(self) -> Will:
        """The rest, once the log stands still."""
        faces = [(each.setting, each.text) for each in self.ports]
        return Will(self._router.log.past(), self._router.store_name, faces)

    def keep(self, stands_still: bool) -> None:
        """Take everything back: the heir is gone."""
        self._heir = None
        if stands_still:
            for each in self.ports:
                each.port.startReading()
            self._router.release()

    def give(self, publish: Publish) -> None:
        """Everything is the heir's; what publishers still bring here is given to ``publish``."""
        self._router.give_way(publish)
        self._given()


def _not_taken() -> Draining:
    return Draining("another daemon takes this one's place; try again")


def is_trusted(socket: Any) -> bool:
    """Whether the process at the other end is of the same user as this one, or of root."""
    user = struct.unpack("3i", socket.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i")))[1]
    return user in (0, os.geteuid())
