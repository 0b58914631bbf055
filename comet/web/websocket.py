"""WebSocket (RFC 6455): what a client may say on its stream, on wsproto's frames. The handshake is in ``handshake``.

What the daemon writes is the framing ``text``, as on any stream. A client sends text messages, each a JSON object::

    {"subscribe":["auction/7"],"since":"-10"}            answered by {"comet":"topics",…}
    {"unsubscribe":["auction/6"]}                        the same
    {"publish":"auction/7","data":{"bid":120},"ref":1}   answered by {"comet":"ok","ref":1,"id":"5f0c1a2b-1042"}
    {"ack":"5f0c1a2b-1042","ref":2}                      of a consumer: answered by {"comet":"ok","ref":2,"id":…}
    {"token":"eyJhbGciOi…","ref":3}                      a new token for the stream: answered by {"comet":"ok","ref":3}

What is refused is answered by ``{"comet":"error","ref":1,"code":"bad_topic","detail":"…"}`` and the stream goes on;
only what breaks the protocol ends it.

The traps: a client that sends and does not read would fill the memory with answers, so nothing of it is read while
something waits to be sent to it, or while many of its publishes are on their way to the store; its frames are taken a
few per turn of the reactor, because 64 KiB can hold ten thousand; and a socket that is closed while the client still
sends resets the connection, which loses the close frame that says why.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder, Encoder
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from comet.errors import BadJSON, BadRequest, CometError, Internal, TooManyBodies
from comet.framing.text import text_frame
from comet.message import Position
from comet.web.batch import Content, decode, draft_of
from comet.web.streams import Change, apply_change, renew
from comet.web.writer import BufferedWriter, DirectWriter

FRAMES = 64
"""Frames of one client that are taken in one turn of the reactor."""

OUTSTANDING = 32
"""Publishes of one client that may be on their way to the store."""

LINGER = 5.0
"""Seconds that a client has to take the close frame and to leave."""

LONGEST_REF = 128

_encode = Encoder().encode


Acknowledge = Callable[[Position], Deferred[None]]
"""Takes the position that the client of a consumer is done with."""


class Addressed(Struct, kw_only=True):
    """What is looked at first: whether the client publishes or acknowledges, and how it wants the answer addressed."""

    publish: Raw | UnsetType = UNSET
    ack: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    ref: str | int | UnsetType = UNSET


class Publish(Content, kw_only=True):
    """A message to publish."""

    publish: str
    ref: str | int | UnsetType = UNSET


class ChangeTopics(Change, kw_only=True):
    """A change of the stream's topics."""

    ref: str | int | UnsetType = UNSET


_addressed = Decoder(Addressed)
_publish = Decoder(Publish)
_change = Decoder(ChangeTopics)


class State(Enum):
    """Whether frames are taken."""

    READING = "reading"
    WAITING = "waiting"
    CLOSED = "closed"


class Session:
    """What one client says, and the answers. The parser is made when the first bytes come: most clients only listen."""

    __slots__ = ("_acknowledge", "_frames", "_message", "_outstanding", "_ping", "_site", "_state", "_writer")
    _log = Logger()

    def __init__(self, writer: DirectWriter | BufferedWriter, site: Any, acknowledge: Acknowledge | None) -> None:
        self._acknowledge = acknowledge
        self._writer = writer
        self._site = site
        self._frames: FrameProtocol | None = None
        self._message: bytearray | None = None
        self._outstanding = 0
        self._ping: bytes | None = None
        self._state = State.READING

    def received(self, data: bytes) -> None:
        """Take ``data``, which the client has sent; nothing if it has gone."""
        if not data:
            self._forget()
            return
        subscription = self._writer.subscription
        if self._state is State.CLOSED or subscription is None or subscription.audience is None:
            return
        if self._frames is None:
            self._frames = FrameProtocol(client=False, extensions=[])
        self._frames.receive_bytes(data)
        if self._state is State.READING:
            self._read()

    def overdue(self) -> None:
        """The client was given its time, for a message or to leave."""
        if self._state is not State.CLOSED:
            self._close(CloseReason.POLICY_VIOLATION, "a message did not arrive in time (body-timeout)")
        elif self._writer.received is not None:  # else it has left
            self._writer.abort()

    # -- reading, and when to pause it ------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take the frames that are here, until something has to be waited for."""
        assert self._frames is not None
        taken = 0
        try:
            for frame in self._frames.received_frames():
                self._take(frame)
                taken += 1
                if self._state is State.CLOSED:
                    return
                if taken == FRAMES or self._must_wait():
                    self._pong()
                    self._wait()
                    return
        except ParseFailed as error:
            self._close(error.code, str(error))
        else:
            self._pong()

    def _must_wait(self) -> bool:
        subscription = self._writer.subscription
        assert subscription is not None
        return self._outstanding >= OUTSTANDING or self._writer.router.is_stuck(subscription)

    def _wait(self) -> None:
        self._state = State.WAITING
        self._writer.transport.pauseProducing()
        self._writer.when_drained = self._go_on
        if not self._must_wait():
            self._site.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        subscription = self._writer.subscription
        assert subscription is not None
        if self._state is State.WAITING and subscription.audience is not None and not self._must_wait():
            self._state = State.READING
            self._writer.when_drained = None
            self._writer.transport.resumeProducing()
            self._read()

    # -- frames -----------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            assert isinstance(frame.payload, str)
            self._collect(frame.payload.encode(), frame.message_finished)
        elif frame.opcode is Opcode.PING:
            assert isinstance(frame.payload, bytes)
            self._ping = frame.payload
        elif frame.opcode is Opcode.BINARY:
            self._close(CloseReason.UNSUPPORTED_DATA, "messages are JSON in text frames; bytes travel as data64")
        elif frame.opcode is Opcode.CLOSE:
            assert isinstance(frame.payload, tuple)
            self._close(frame.payload[0], "")

    def _pong(self) -> None:
        """Answer the newest of the pings that have come together, which is enough (RFC 6455, section 5.5.3): a client
        that sends thousands does not have thousands sent."""
        if self._ping is not None:
            self._answer(b"\x8a%c%b" % (len(self._ping), self._ping))
            self._ping = None

    def _collect(self, piece: bytes, finished: bool) -> None:
        """Add ``piece`` to the message that is under way, and obey it once it is whole."""
        largest = 2 * self._writer.router.config.max_payload + 65_536  # base64 or escapes, patterns, white space
        message = self._message or bytearray()
        if len(message) + len(piece) > largest:
            self._close(CloseReason.MESSAGE_TOO_BIG, f"a message has at most {largest} bytes")
            return
        if finished:
            self._forget()
        message += piece
        if finished:
            self._obey(bytes(message))
        else:
            self._keep(message, len(piece))

    def _keep(self, message: bytearray, count: int) -> None:
        """Keep what is there of a message, of which ``count`` bytes are new: it has the time and the room of a body."""
        if self._message is None:
            self._site.expect(self, self._site.config.body_timeout)
        self._message = message
        try:
            self._site.limits.bodies.take(count, len(message))
        except TooManyBodies as error:
            self._close(CloseReason.TRY_AGAIN_LATER, error.detail)

    def _forget(self) -> None:
        """What there is of a message is not kept any longer."""
        if self._message is not None:
            self._site.limits.bodies.give_back(len(self._message))
            self._site.expect_nothing(self)
            self._message = None

    def _obey(self, message: bytes) -> None:
        ref: str | int | UnsetType = UNSET
        try:
            addressed = decode(_addressed, message)
            ref = _checked_ref(addressed.ref)
            self._count()
            if addressed.token is not UNSET:
                self._renew(addressed.token, ref)
            elif addressed.ack is not UNSET:
                self._ack(addressed.ack, ref)
            elif addressed.publish is UNSET:
                assert self._writer.subscription is not None
                apply_change(self._writer.router, self._writer.subscription, decode(_change, message))
            else:
                self._publish(decode(_publish, message), ref)
        except CometError as error:
            self._refuse(error, ref)

    def _count(self) -> None:
        assert self._writer.subscription is not None
        self._writer.router.limits.request(self._writer.subscription.who)

    def _publish(self, message: Publish, ref: str | int | UnsetType) -> None:
        router, subscription = self._writer.router, self._writer.subscription
        assert subscription is not None
        draft = draft_of(message.publish, message, router.config.max_payload)
        subscription.grant.check_publish(draft.topic)
        router.limits.publish(subscription.who, 1)
        published = router.publish([draft])
        self._await(published.addCallback(lambda offsets: Position(router.epoch, offsets[0])), ref)

    def _ack(self, text: str, ref: str | int | UnsetType) -> None:
        if self._acknowledge is None:
            raise BadRequest("only a consumer acknowledges: connect to /consumers/<name>")
        position = Position.parse(text)
        self._await(self._acknowledge(position).addCallback(lambda _: position), ref)

    def _renew(self, token: str, ref: str | int | UnsetType) -> None:
        assert self._writer.subscription is not None
        renewed = renew(self._site.gate.access, self._writer.router, self._writer.subscription, token)
        self._await(renewed.addCallback(lambda _: UNSET), ref)

    def _await(self, done: Deferred[Any], ref: str | int | UnsetType) -> None:
        self._outstanding += 1
        done.addBoth(self._done, ref)
        done.addErrback(lambda failure: self._log.failure("answering a client failed", failure=failure))

    def _done(self, result: Position | UnsetType | Failure, ref: str | int | UnsetType) -> None:
        self._outstanding -= 1
        if not isinstance(result, Failure):
            self._say({"comet": "ok", "ref": ref, "id": result if result is UNSET else str(result)})
        elif isinstance(result.value, CometError):
            self._refuse(result.value, ref)
        else:
            self._log.failure("what a client asked for failed", failure=result)
            self._refuse(Internal("the daemon made a mistake; its log says more"), ref)
        self._go_on()

    # -- answers ----------------------------------------------------------------------------------------------------

    def _refuse(self, error: CometError, ref: str | int | UnsetType) -> None:
        self._site.access.refused(error, "a message on a WebSocket", self._writer.peer())
        self._say({"comet": "error", "ref": ref, "code": error.code, "detail": error.detail})

    def _say(self, control: dict[str, object]) -> None:
        self._answer(text_frame(_encode({name: value for name, value in control.items() if value is not UNSET})))

    def _answer(self, frame: bytes) -> None:
        assert self._writer.subscription is not None
        self._writer.router.answer(self._writer.subscription, frame)

    def _close(self, code: int, reason: str) -> None:
        """End the stream from either side: say ``code``, and have the client leave in a while."""
        self._state = State.CLOSED
        self._frames = None
        self._forget()
        writer = self._writer
        writer.farewell = b""
        writer.when_drained = None
        sent = writer.write(_close_frame(code, reason))
        assert writer.subscription is not None
        writer.router.gone(writer.subscription)
        self._site.expect(self, LINGER)
        if sent and writer.descriptor >= 0:
            writer.transport.resumeProducing()
            writer.transport.loseWriteConnection()
        else:
            writer.finish()


@lru_cache(maxsize=16)  # the farewell of each connection is the same
def _close_frame(code: int, reason: str) -> bytes:
    return bytes(FrameProtocol(client=False, extensions=[]).close(code, reason))


def _checked_ref(ref: str | int | UnsetType) -> str | int | UnsetType:
    if len(str(ref)) > LONGEST_REF:
        raise BadJSON(f"a ref has at most {LONGEST_REF} characters")
    return ref
