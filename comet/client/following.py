"""Following a stream over as many connections as it takes.

One coroutine opens a stream, waits for its end, pauses, and opens the next from the cursor. What comes is kept until it
is asked for; when too much is kept the connection is not read, so that the daemon, which has the log, waits. It is the
daemon's ``bye`` that says when to come back, otherwise full jitter. Nothing here knows who iterates
(``subscription.py``): so what nobody holds any longer can be closed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed  # noqa: A004
from twisted.logger import Logger

from comet.client.backoff import STABLE, Backoff
from comet.client.body import Body
from comet.client.cursor import Cursor, Lane, Stage, is_behind
from comet.client.errors import REPLACED, ClientError, Closed, Refused, Unreachable, refused
from comet.client.reading import Line, Transport
from comet.client.requests import Requests
from comet.client.values import Gap, Message, State
from comet.errors import CometError, UnknownStream

ROOM = 262_144
"""Bytes that may wait for the subscriber; then the connection is not read."""

SILENCES = 2.2
"""How many times the daemon's longest silence is borne."""

_log = Logger()

Told = Callable[[State, str], None]

T = TypeVar("T")


class Wish(NamedTuple):
    """How a subscription is to be served. ``pace`` and ``patience`` are in seconds; ``consumer`` is the name of the one
    that it reads for, if there is one."""

    transport: Transport
    conflate: bool = False
    pace: float = 0.0
    patience: float | None = 30.0
    on_state: Told | None = None
    consumer: str = ""


class Kept(NamedTuple):
    """What waits for the subscriber: ``size`` bytes of it, and where the subscriber stands once it has it."""

    item: Message | Gap
    size: int
    position: str


class Following:
    """One subscription's connections. :meth:`start` begins; everything else may be called at any time."""

    def __init__(self, requests: Requests, cursor: Cursor, wish: Wish) -> None:
        self.state = State.CONNECTING
        self.cursor = cursor
        self.reached = cursor.position
        """Where to resume after what the subscriber was given."""
        self._requests = requests
        self._reactor = requests.reactor
        self._wish = wish
        self._kept: deque[Kept] = deque()
        self._size = 0
        self._waiting: Deferred[Message | Gap] | None = None
        self._opening: list[Deferred[None]] = []
        self._error: BaseException | None = None
        self._running: Deferred[None] | None = None
        self._attempt: Deferred[Any] | None = None
        self._body: Body | None = None
        self._stream = ""
        self._had = ""
        self._asked: set[str] = set()
        self._opened_at: float | None = None
        self._farewell: float | None = None
        self._ever_opened = False

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the first stream."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._give_up)

    def close(self) -> Deferred[None]:
        """Let go of the connection at once; fires when it is gone. What waits for the subscriber is forgotten."""
        if self.state is not State.CLOSED:
            self._kept.clear()
            self._close(Closed("the subscription was closed"))
        gone: Deferred[None] = Deferred()
        if self._running is None or self._running.called:
            return succeed(None)
        self._running.addBoth(lambda _: gone.callback(None))
        return gone

    def _give_up(self, failure: Any) -> None:
        if not failure.check(ClientError, CancelledError):
            _log.failure("following a stream failed", failure)
        self._close(failure.value)

    def _close(self, error: BaseException) -> None:
        if self.state is State.CLOSED:
            return
        self._error = None if isinstance(error, Closed) else error
        self._tell(State.CLOSED, str(error))
        if self._body is not None:
            self._body.close("closed")
        elif self._attempt is not None:
            self._attempt.cancel()
        opening, self._opening = self._opening, []
        for each in opening:
            each.errback(error)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(self._end())

    # -- the subscriber's side -------------------------------------------------------------------------------------

    def next(self) -> Deferred[Message | Gap]:
        """Fires with what comes next; fails with StopAsyncIteration at the end, before that once with what went
        wrong. Cancelling it closes."""
        if self._waiting is not None:
            raise RuntimeError("a subscription is read by one reader, one item after the other")
        if self._kept:
            kept = self._kept.popleft()
            self.reached = kept.position
            self._size -= kept.size
            if self._body is not None and self._size <= ROOM // 2:
                self._body.proceed()
            return succeed(kept.item)
        if self.state is State.CLOSED:
            return fail(self._end())
        self._waiting = Deferred(self._cancelled)
        return self._waiting

    def _cancelled(self, _: Deferred[Message | Gap]) -> None:
        self._waiting = None
        self.close()

    def _end(self) -> BaseException:
        error, self._error = self._error, None
        return error or StopAsyncIteration()

    def opened(self) -> Deferred[None]:
        """Fires while a stream is open; fails with what went wrong if that cannot be."""
        if self.state is State.OPEN:
            return succeed(None)
        if self.state is State.CLOSED:
            return fail(self._error or Closed("the subscription was closed"))
        opening: Deferred[None] = Deferred(self._opening.remove)
        self._opening.append(opening)
        return opening

    def has_room(self) -> bool:
        """Whether more should be read."""
        return self._size < ROOM

    # -- the daemon's side -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff(random.random)
        until = self._requests.deadline(self._wish.patience)
        while not self._is_closed():
            why, pause, error = await self._hold(backoff)
            if not self._ever_opened and self._reactor.seconds() + pause > until:
                raise error or Unreachable(f"{self._requests.url} has not opened a stream: {why}")
            self._tell(State.WAITING, f"{why}; trying again in {pause:.1f} seconds")
            if not self._is_closed():
                await self._until(self._requests.pause(pause))
            self._tell(State.CONNECTING, "")

    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    async def _until(self, attempt: Deferred[T]) -> T:
        """Wait for what closing cancels. (The coroutine itself must not be cancelled: it may be what calls
        ``on_state``, which closes.)"""
        self._attempt = attempt
        try:
            return await attempt
        finally:
            self._attempt = None

    async def _hold(self, backoff: Backoff) -> tuple[str, float, ClientError | None]:
        """Hold one stream to its end; returns why it ended, how long to wait, and what kept it from opening."""
        try:
            opening = self._requests.open(self._target(), self._wish.transport.content_type)
            response = await self._until(Deferred.fromCoroutine(opening))
        except Unreachable as error:
            return str(error), backoff.pause(), error
        except Refused as error:
            if not error.passing and error.status < 500:
                raise
            return error.detail, backoff.pause() + (error.retry_after or 0.0), error
        self._farewell = self._opened_at = None
        reader = self._wish.transport.reader()
        body = self._body = Body(reader, self._take, self.has_room, self._reactor, self._requests.timeout)
        response.deliverBody(body)
        why = await body.ended
        self._body, self._stream = None, ""
        if self._opened_at is not None and self._reactor.seconds() - self._opened_at >= STABLE:
            backoff.reset()
        return why, backoff.pause() if self._farewell is None else self._farewell, None

    def _target(self) -> str:
        lane = self.cursor.opening()
        self._asked = set(lane.texts())
        query = [("topic", text) for text in lane.texts()]
        query += [("transport", self._wish.transport.name), ("since", lane.since)]
        if self._wish.conflate:
            query.append(("conflate", "1"))
        if self._wish.pace:
            query.append(("pace", str(round(self._wish.pace * 1000))))
        return f"{self._path()}?{urlencode(query)}"

    def _path(self) -> str:
        consumer = self._wish.consumer
        return f"consumers/{quote(consumer, safe='')}" if consumer else "topics"

    def _comes_again(self, line: Line) -> bool:
        """Whether a consumer has this message, and has not acknowledged it yet."""
        if not self._wish.consumer or line.comet:
            return False
        again = bool(self._had) and not is_behind(line.id, self._had)
        self._had = self._had if again else line.id
        return again

    def _take(self, line: Line) -> None:
        if self._comes_again(line):
            return
        item = self.cursor.take(line)
        if line.comet == "open":
            self._open(line)
        elif line.comet == "bye":
            self._farewell = line.retry / 1000
            assert self._body is not None
            self._body.close(f"the daemon ended the stream: {line.reason}")
            if line.reason == REPLACED:  # each would end the other for ever
                self._close(Refused(REPLACED, HTTPStatus.CONFLICT, "another reader has come for this consumer"))
        if item is not None:
            self._give(item, line.size)
        elif not self._kept:
            self.reached = self.cursor.position
        else:
            self._kept[-1] = self._kept[-1]._replace(position=self.cursor.position)

    def _give(self, item: Message | Gap, size: int) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._size += size
            self._kept.append(Kept(item, size, self.cursor.position))
        else:
            self.reached = self.cursor.position
            waiting.callback(item)

    def _open(self, line: Line) -> None:
        assert self._body is not None
        self._stream = line.stream
        self._ever_opened = True
        self._opened_at = self._reactor.seconds()
        self._body.patience = line.silence * SILENCES
        self._tell(State.OPEN, "")
        Deferred.fromCoroutine(self._ask_further(line.stream)).addErrback(self._not_asked)
        opening, self._opening = self._opening, []
        for each in opening:
            each.callback(None)

    async def _ask_further(self, stream: str) -> None:
        """Ask for what a stream cannot be opened with, and for an end of what is not wanted any longer."""
        gone = sorted(self._asked.difference(self.cursor.patterns()))
        if gone:
            await self._ask(stream, [], gone, "now")
        for lane in self.cursor.further():
            await self._ask(stream, lane.texts(), [], lane.since)

    def _not_asked(self, failure: Any) -> None:
        if failure.check(Unreachable):
            self._reconnect()
        else:
            self._give_up(failure)

    def _reconnect(self) -> None:
        if self._body is not None:
            self._body.close("the topics have changed")

    def _tell(self, state: State, detail: str) -> None:
        if self.state in (state, State.CLOSED):
            return
        self.state = state
        if self._wish.on_state is not None:
            try:
                self._wish.on_state(state, detail)
            except Exception:  # what it does wrong must not end the subscription
                _log.failure("on_state failed")

    # -- acknowledging ---------------------------------------------------------------------------------------------

    async def ack(self, position: str) -> None:
        """Have the daemon keep that the consumer is done up to ``position``."""
        body, headers = msgspec.json.encode({"id": position}), {"Content-Type": "application/json"}
        await self._requests.insist(f"{self._path()}/ack", body, headers, self._wish.patience)

    # -- changing its topics ---------------------------------------------------------------------------------------

    async def change(self, subscribe: Sequence[str], unsubscribe: Sequence[str], since: str) -> None:
        """Change the topics of the open stream; where it is lost meanwhile, those of the next."""
        gone = set(unsubscribe).difference(subscribe)
        lane = self._proposed(subscribe, since)
        try:
            await self._until_open()
            stream = self._stream
            if not await self._ask(stream, subscribe, sorted(gone), since):
                stream = ""
        except (ClientError, CancelledError):
            if lane.stage is not Stage.CARRIED:
                self.cursor.withdraw(lane)
                raise
            stream = self._stream
        self.cursor.accept(lane)
        self.cursor.drop(gone)
        if stream != self._stream:
            self._reconnect()

    def _proposed(self, patterns: Sequence[str], since: str) -> Lane:
        try:
            return self.cursor.propose(patterns, since)
        except CometError as error:
            raise refused(error) from None

    async def _until_open(self) -> None:
        opened = self.opened()
        if self._wish.patience is not None:
            opened.addTimeout(self._wish.patience, self._reactor)
        try:
            await opened
        except TimeoutError:
            raise Unreachable(f"{self._requests.url} has not opened a stream whose topics could be changed") from None

    async def _ask(self, stream: str, subscribe: Sequence[str], unsubscribe: Sequence[str], since: str) -> bool:
        """Ask the daemon to change the topics of ``stream``; returns whether there is such a stream."""
        change = {"subscribe": subscribe, "unsubscribe": unsubscribe, "since": since}
        headers = {"Content-Type": "application/json"}
        try:
            await self._requests.insist(f"streams/{stream}", msgspec.json.encode(change), headers, self._wish.patience)
        except Refused as refusal:
            if refusal.code != UnknownStream.code:
                raise
            return False
        return True
