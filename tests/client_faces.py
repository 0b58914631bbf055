"""A network in memory between the client and a daemon's HTTP face: it delivers as many bytes as a test wants, and is
cut where a test wants."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import PotentialDataLoss, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH

from comet.client import Client, Gap, Message, Subscription
from comet.config import Config
from tests.web_faces import Answer, Face, Wire


class Held:
    """A response that goes on, and the transport that its reader sees."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self.wire = wire
        self.unread = b""
        self.paused = False
        self.over = False
        self.protocol: Any = None
        self._clock = clock
        self._closing = False

    # -- what the reader calls ---------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Deliver again."""
        self.paused = False

    def loseConnection(self) -> None:
        """Close from the client's side; as with a socket, that is told in a later turn."""
        self._closing = True
        self._clock.callLater(0, self.cut)

    # -- what a test calls -------------------------------------------------------------------------------------------

    def deliver(self, count: int | None = None) -> int:
        """Bring the reader up to ``count`` bytes, and the end if the daemon has ended it; returns how many."""
        self.unread += self.wire.take()
        if self.over or self._closing or self.paused or self.protocol is None:
            return 0
        data = self.unread if count is None else self.unread[:count]
        self.unread = self.unread[len(data) :]
        if data:
            self.protocol.dataReceived(data)
        if self.wire.disconnecting and not self.unread:
            self.cut()
        return len(data)

    def cut(self) -> None:
        """Lose the connection: what was not delivered never is."""
        if not self.over and self.protocol is not None:
            self.over = True
            self.wire.leave()
            self.protocol.connectionLost(Failure(PotentialDataLoss()))


class Response:
    """What an agent gives, as far as the client looks at it."""

    length = UNKNOWN_LENGTH
    previousResponse = None

    def __init__(self, answer: Answer, held: Held | None) -> None:
        self.code = answer.status
        self.headers = Headers({name: [value] for name, value in answer.headers.items()})
        self._body = answer.body
        self._held = held

    def deliverBody(self, protocol: Any) -> None:
        """Give the body that has come, or will come, to ``protocol``."""
        if self._held is not None:
            self._held.protocol = protocol
            protocol.makeConnection(self._held)
            self._held.deliver()
            self._held.resumeProducing()
            return
        protocol.makeConnection(Held(Wire(), Clock()))  # type: ignore[no-untyped-call]
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


REAL = "real"


class Network:
    """An agent (IAgent): requests reach ``face``, or what stands in for it.

    ``acts`` come first, one a request: an error that the request ends with, an answer, None for no answer at all, or
    :data:`REAL` for what the face answers.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.clock = Clock()
        """The client's."""
        self.face = Face(config or Config())
        self.down = False
        self.lazy = False
        self.acts: list[Exception | Answer | str | None] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.held: list[Held] = []
        self.cancelled = 0

    def client(self, **options: Any) -> Client:
        """A client on this network."""
        return Client("http://localhost/", agent=self, reactor=self.clock, **options)

    def request(self, method: bytes, uri: bytes, headers: Any = None, producer: Any = None) -> Deferred[Response]:
        """Make a request."""
        body = b"" if producer is None else _collected(producer)
        parts = urlsplit(uri.decode())
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        fields = {name.decode().lower(): values[0].decode() for name, values in headers.getAllRawHeaders()}
        self.asked.append((method.decode(), target, fields, body))
        act = self.acts.pop(0) if self.acts else REAL
        if not isinstance(act, str):
            return self._act(act)
        if self.down:
            return fail(ConnectError(string="nobody is there"))
        return succeed(self._answered(method.decode(), target, fields, body))

    def _act(self, act: Exception | Answer | None) -> Deferred[Response]:
        if act is None:
            return Deferred(self._cancel)
        return fail(act) if isinstance(act, Exception) else succeed(Response(act, None))

    def _cancel(self, _: Deferred[Response]) -> None:
        self.cancelled += 1

    def _answered(self, method: str, target: str, fields: dict[str, str], body: bytes) -> Response:
        if method != "GET":
            further = {name.replace("-", "_"): value for name, value in fields.items() if name != "content-length"}
            return Response(self.face.ask(method, target, body, **further), None)
        wire = self.face.connect()
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields.items())]
        wire.send("\r\n".join([*lines, "", ""]).encode())
        answer = Answer.parse(wire.take())
        if answer.status != 200:
            return Response(answer, None)
        held = Held(wire, self.clock)
        held.unread = answer.body
        # A test that delivers piece by piece has the beginning delivered so too.
        held.paused = self.lazy
        self.held.append(held)
        return Response(answer, held)

    def close(self, client: Client) -> None:
        """Close a client."""
        closing = client.close()
        self.settle()
        result_of(closing)
        assert not self.clock.getDelayedCalls()

    def publish(self, topic: str, *texts: str) -> None:
        """Publish, and deliver to whoever is held."""
        for text in texts:
            self.face.publish(topic, text)
        self.settle()

    def settle(self) -> None:
        """Deliver all there is, and let everybody do what is put off."""
        while sum(held.deliver() for held in self.held) or self._due():
            self.face.clock.advance(0)
            self.clock.advance(0)

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, and what there is be delivered meanwhile."""
        until = self.clock.seconds() + seconds
        while (left := until - self.clock.seconds()) > 0:
            self.face.clock.advance(min(step, left))
            self.clock.advance(min(step, left))
            self.settle()

    def _due(self) -> bool:
        clocks = (self.clock, self.face.clock)
        return any(call.getTime() <= clock.seconds() for clock in clocks for call in clock.getDelayedCalls())


def _collected(producer: Any) -> bytes:
    """The body of a request."""

    consumer = io.BytesIO()
    assert producer.startProducing(consumer).called
    assert len(consumer.getvalue()) == producer.length
    return consumer.getvalue()


class Collected:
    """Everything that a subscription gives, as it comes, and how it ended."""

    def __init__(self, subscription: Subscription) -> None:
        self.items: list[Message | Gap] = []
        self.error: BaseException | None = None
        self.ended = False
        self.done = Deferred.fromCoroutine(self._collect(subscription)).addErrback(self._failed)

    async def _collect(self, subscription: Subscription) -> None:
        async for item in subscription:
            self.items.append(item)
        self.ended = True

    def _failed(self, failure: Failure) -> None:
        self.error = failure.value
        failure.cleanFailure()

    @property
    def data(self) -> list[Any]:
        """The data of the messages that have come."""
        return [item.data for item in self.items if isinstance(item, Message)]

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that have come."""
        return [item for item in self.items if isinstance(item, Gap)]


def result_of(deferred: Deferred[Any]) -> Any:
    """What ``deferred`` has fired with; raises what it has failed with."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it has not fired"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
