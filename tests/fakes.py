"""What stands at the router's borders in tests: writers that take what they are told to, a store that holds back or
fails, a clock that can be stepped turn by turn, and a subscriber that reads its transport's bytes back."""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from comet.access.access import Access
from comet.access.revoked import Revocations
from comet.audience import Interest, Key, Subscription
from comet.config import Config
from comet.errors import StoreFailed
from comet.kept import Entry, Kept, Past, Piece, Record
from comet.log import Since
from comet.message import Draft, Message, Position
from comet.metrics import Metrics
from comet.router import Router
from comet.topics import Pattern, parse_patterns
from comet.transports import Wishes, named
from tests.framing_readers import READERS, Object, Reader

EPOCH = "5f0c1a2b"
START = 1_790_000_000.0
"""The wall clock's time when a test begins."""


class SteppingClock(Clock):
    """A clock that can also run one reactor turn at a time."""

    def step(self) -> int:
        """Run what is due now, but not what that brings about; returns how much there was."""
        due = sorted((call for call in self.calls if call.getTime() <= self.seconds()), key=lambda call: call.getTime())
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return len(due)


class FakeWriter:
    """Has room for ``room`` bytes and keeps what is more, until it is drained."""

    descriptor = -1

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.wire = bytearray()
        self.kept = bytearray()
        self.blocks: list[bytes] = []
        self.ended: str = ""
        self.owes_drained = False

    def write(self, data: bytes, sent: int = 0) -> bool:
        assert not self.ended, f"written to after it was {self.ended}"
        self.blocks.append(data)
        self.kept += data[sent:]
        self._push()
        self.owes_drained |= bool(self.kept)
        return not self.kept

    def wait(self) -> None:
        assert not self.ended
        assert not self.kept
        self.owes_drained = True

    def finish(self) -> None:
        assert not self.ended, f"finished after it was {self.ended}"
        self.ended = "finished"

    def abort(self) -> None:
        assert self.ended != "aborted", "aborted twice"
        self.ended = "aborted"

    def peer(self) -> str:
        return "192.0.2.1"

    def drain(self, room: float = math.inf) -> bool:
        """Have room for ``room`` more bytes; whether the router is to be told that nothing is kept any longer."""
        self.room = room
        self._push()
        told = self.owes_drained and not self.kept and not self.ended
        if told:
            self.owes_drained = False
        return told

    def arrived(self) -> bytes:
        """What the client has, as far as it was not asked for before."""
        data = bytes(self.wire)
        self.wire.clear()
        return data

    def close(self) -> None:
        """Let go of what the writer holds."""

    def _push(self) -> None:
        if self.ended == "aborted":
            return
        taken = int(min(self.room, len(self.kept)))
        self.wire += self.kept[:taken]
        del self.kept[:taken]
        self.room -= taken


class SocketWriter(FakeWriter):
    """The same on a socket whose send buffer is small, and whose other end reads only when told to."""

    def __init__(self, send_buffer: int = 4096) -> None:
        super().__init__()
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.descriptor = self._near.fileno()

    def drain(self, room: float = math.inf) -> bool:
        """Have the client read, until nothing is kept or it has read ``room`` bytes."""
        self.read(room)
        while self.kept and room == math.inf and not self.ended:
            self._push()
            self.read()
        return super().drain()

    def read(self, room: float = math.inf) -> None:
        """Have the client read all there is, or ``room`` bytes."""
        while room > 0:
            try:
                data = self._far.recv(int(min(room, 1 << 20)))
            except BlockingIOError:
                return
            if not data:
                return
            self.wire += data
            room -= len(data)

    def arrived(self) -> bytes:
        self.read()
        while self.kept and self.ended == "finished":
            self._push()
            self.read()
        return super().arrived()

    def fill(self) -> None:
        """Fill the send buffer with bytes that :meth:`unfill` takes out again."""
        try:
            while True:
                self._near.send(b"\0")
        except BlockingIOError:
            pass

    def unfill(self) -> None:
        """Have the client read what :meth:`fill` wrote, which must be all there is."""
        self.read()
        assert not self.wire.strip(b"\0")
        self.wire.clear()

    def break_(self) -> None:
        """Have the client go away; the near end does not know yet."""
        self._far.close()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def _push(self) -> None:
        if self.ended == "aborted":
            return
        while self.kept:
            try:
                sent = self._near.send(self.kept)
            except (BlockingIOError, BrokenPipeError):
                return
            del self.kept[:sent]


class FakeArchive:
    """Keeps everything in a list, and answers in the next turn. While ``holds`` its answers wait for :meth:`release`;
    while ``fails`` it cannot read."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.messages: list[Message] = []
        self.trimmed = 0
        self.holds = False
        self.fails = False
        self._held: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def trim(self, count: int) -> None:
        """Lose the oldest ``count`` messages."""
        if gone := self.messages[:count]:
            self.trimmed = gone[-1].offset
            del self.messages[:count]

    def release(self) -> None:
        """Answer what waits."""
        while self._held:
            deferred, work = self._held.popleft()
            self._answer(deferred, work)

    def read(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        return self._soon(lambda: self._piece(self._matching(patterns, after, until), until, limit))

    def newest(self, patterns: Sequence[Pattern], after: int, until: int, limit: int) -> Deferred[Piece]:
        def work() -> Piece:
            newest = {message.topic: message for message in self.messages}
            found = [each for each in self._matching(patterns, after, until) if newest[each.topic] is each]
            return self._piece(found, until, limit)

        return self._soon(work)

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> Deferred[int]:
        def work() -> int:
            found = self._matching(patterns, 0, until)[-count:] if count else []
            return found[0].offset - 1 if found else until

        return self._soon(work)

    def count(self, topic: str) -> Deferred[int]:
        return self._soon(lambda: sum(message.topic == topic for message in self.messages))

    def _matching(self, patterns: Sequence[Pattern], after: int, until: int) -> list[Message]:
        return [
            message
            for message in self.messages
            if after < message.offset <= until and any(pattern.matches(message.topic) for pattern in patterns)
        ]

    def _piece(self, found: list[Message], until: int, limit: int) -> Piece:
        if len(found) > limit:
            return Piece(found[:limit], found[limit - 1].offset, self.trimmed)
        return Piece(found, until, self.trimmed)

    def _soon(self, work: Callable[[], Any]) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        if self.holds:
            self._held.append((deferred, work))
        else:
            self.clock.callLater(0, self._answer, deferred, work)
        return deferred

    def _answer(self, deferred: Deferred[Any], work: Callable[[], Any]) -> None:
        if self.fails:
            deferred.errback(StoreFailed("the disk cannot be read"))
        else:
            deferred.callback(work())


class FakeStore:
    """Keeps nothing, unless it has an archive. While ``holds`` its answers wait for :meth:`release`; while ``fails`` it
    refuses."""

    def __init__(self, kept: Sequence[Message] = (), archive: FakeArchive | None = None) -> None:
        self.archive = archive
        self.holds = False
        self.fails = False
        self.stopped = False
        self._kept = kept
        self._held: deque[tuple[Deferred[None], bool]] = deque()

    @property
    def trouble(self) -> str:
        return "the disk is full" if self.fails else ""

    def start(self, *, succeeding: bool = False) -> Deferred[Kept]:
        newest = self._kept[-1] if self._kept else Message("", b"", "", 0.0, 0)
        forgotten = self._kept[0].offset - 1 if self._kept else 0
        past = Past(EPOCH, newest.offset, newest.offset + 1, newest.time, forgotten, {})
        return succeed(Kept(past, self._kept))

    def put(self, record: Record) -> Deferred[None]:
        return self.append((Message("", b"", "", 0.0, 0),))

    def remove(self, kind: str, name: str) -> Deferred[None]:
        return self.append((Message("", b"", "", 0.0, 0),))

    def append(self, messages: Sequence[Message], keys: Sequence[Entry] = ()) -> Deferred[None]:
        if self.holds or self._held:
            answer: Deferred[None] = Deferred()
            self._held.append((answer, self.fails and bool(messages)))
            return answer.addCallback(self._keep, messages)
        if self.fails and messages:
            return fail(StoreFailed("the disk is full"))
        return succeed(None).addCallback(self._keep, messages)

    def _keep(self, _: None, messages: Sequence[Message]) -> None:
        if self.archive is not None:
            self.archive.messages += [message for message in messages if message.topic]

    def configure(self, config: Config) -> None:
        self.configured = config

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)

    def release(self, count: int | None = None) -> None:
        """Answer the oldest ``count`` of the appends that wait, or all of them."""
        for _ in range(len(self._held) if count is None else min(count, len(self._held))):
            answer, fails = self._held.popleft()
            if fails:
                answer.errback(StoreFailed("the disk is full"))
            else:
                answer.callback(None)


class House:
    """A started router with all that it stands on, in memory."""

    def __init__(self, kept: Sequence[Message] = (), archive: FakeArchive | None = None, **settings: Any) -> None:
        self.clock = SteppingClock()
        self.clock.advance(1_000)
        if archive is not None:
            archive.clock = self.clock
        self.store = FakeStore(kept, archive)
        self.metrics = Metrics()
        self.router = Router(
            Config(**settings), self.store, self.metrics, self.clock, lambda: START + self.clock.seconds() - 1_000
        )
        self.router.start()

    def publish(self, *drafts: tuple[str, str] | Draft) -> list[int]:
        """Publish, and run the turn that follows; returns the offsets."""
        got = self.publish_only(*drafts)
        self.turn()
        return got

    def publish_only(self, *drafts: tuple[str, str] | Draft) -> list[int]:
        """Publish without a turn of the reactor."""
        got: list[Any] = []
        self.router.publish([_draft(draft) for draft in drafts]).addBoth(got.append)
        assert got, "the store has not answered"
        if not isinstance(got[0], Sequence):
            got[0].raiseException()
        return list(got[0])

    def turn(self) -> None:
        """Run turns of the reactor until nothing is due."""
        until(lambda: not self.clock.step(), lambda: None, 1_000)

    def wait(self, seconds: float) -> None:
        """Let time pass, a quarter of a second at a time."""
        for _ in range(round(seconds * 4)):
            self.clock.rightNow += 0.25
            self.turn()

    def position(self, offset: int) -> Position:
        """The position of ``offset``."""
        return self.router.log.position(offset)

    def left_behind(self) -> dict[str, Any]:
        """What there still is that only subscribers need. Empty once all have gone and the last turn is over."""
        router = self.router
        index = router._turns.audiences._index
        found = {
            "streams": router.streams,
            "audiences": router._turns.audiences._by_key,
            "exact patterns": index._exact,
            "wildcard patterns": index._root.below,
            "remembered topics": index._remembered,
            "marked rows": router._turns._marked,
            "readers": router._turns._readers,
            "stuck": router._waits._stuck,
            "waits": router._waits._polls,
            "pages": router._turns.pages._made,
            "pages on their way": router.history._waiting,
            "pages from disk": router.history._fetched | router.history._earlier,
            "calls": [call for call in self.clock.getDelayedCalls() if call is not router._sweep._looking.call],
        }
        return {name: value for name, value in found.items() if value}


def _draft(draft: tuple[str, str] | Draft) -> Draft:
    return draft if isinstance(draft, Draft) else Draft(draft[0], draft[1].encode())


class Subscriber:
    """A client: one subscription, its writer, and a reader of its transport."""

    def __init__(
        self,
        house: House,
        *topics: str,
        transport: str = "stream",
        since: Since = "now",
        writer: FakeWriter | None = None,
        **wishes: Any,
    ) -> None:
        row = named(transport)
        self.router = house.router
        self.writer = FakeWriter() if writer is None else writer
        framing = row.framing(Wishes())
        conflate, pace = wishes.pop("conflate", row.conflated), wishes.pop("pace", 0.0)
        key = Key(parse_patterns(topics), framing, transport, row.delivery, conflate, pace)
        self.reader: Reader = READERS[transport](framing.content_type)
        self.objects: list[Object] = []
        self.subscription: Subscription = house.router.subscribe(Interest(key, since, **wishes), self.writer)

    def read(self) -> list[Object]:
        """Everything that the client has understood so far."""
        self.objects += self.reader.feed(self.writer.arrived())
        return self.objects

    def messages(self) -> list[str]:
        """The data of every message so far."""
        return [_data(found) for found in self.read() if _is_message(found)]

    def controls(self, *kinds: str) -> list[Object]:
        """The controls so far, of those kinds."""
        return [found for found in self.read() if found.get("comet") in kinds]

    def drain(self, room: float = math.inf) -> None:
        """Have the client take what was kept for it, or ``room`` bytes of it."""
        if self.writer.drain(room):
            self.router.drained(self.subscription)

    def change(self, *topics: str, since: Since = "now") -> None:
        """Change the topics of the stream."""
        self.router.change(self.subscription, parse_patterns(topics), since)

    def leave(self) -> None:
        """Go away."""
        self.router.gone(self.subscription)
        self.writer.close()

    @property
    def live(self) -> bool:
        """Whether the subscription has read all there is."""
        return self.subscription.row is not None


def _is_message(found: Object) -> bool:
    return "id" in found or "payload" in found


def _data(found: Object) -> str:
    if "payload" in found:
        payload = found["payload"]
        assert isinstance(payload, bytes)
        return payload.decode()
    return str(found["data"])


def offset_of(position: str) -> int:
    """The offset in a position of the test's epoch."""
    found = Position.parse(position)
    assert found.epoch == EPOCH
    return found.offset


def offsets(found: Iterable[Object]) -> list[int]:
    """The offsets of the messages among what a subscriber has read."""
    return [offset_of(each["id"]) for each in found if "id" in each]


def until(condition: Callable[[], bool], act: Callable[[], object], most: int = 10_000) -> None:
    """Act until the condition holds; fail if that takes more than ``most`` times."""
    for _ in range(most):
        if condition():
            return
        act()
    raise AssertionError("it never came true")


def access_of(router: Router, clock: Any) -> Access:
    """What says who may do what, by the settings of ``router``."""
    return Access(router.config, clock, router.metrics, Revocations(router.records, router.time), router.time)
