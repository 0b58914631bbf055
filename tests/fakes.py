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

from comet.audience import Interest, Key, Subscription
from comet.config import Config
from comet.errors import StoreFailed
from comet.log import Since
from comet.message import Draft, Message, Position
from comet.metrics import Metrics
from comet.router import Router
from comet.topics import parse_patterns
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


class FakeStore:
    """Keeps nothing. While ``holds`` its answers wait for :meth:`release`; while ``fails`` it refuses."""

    def __init__(self, kept: Sequence[Message] = ()) -> None:
        self.epoch = EPOCH
        self.holds = False
        self.fails = False
        self.stopped = False
        self._kept = kept
        self._held: deque[tuple[Deferred[None], bool]] = deque()

    def start(self) -> Deferred[Sequence[Message]]:
        return succeed(self._kept)

    def append(self, messages: Sequence[Message]) -> Deferred[None]:
        if self.holds or self._held:
            answer: Deferred[None] = Deferred()
            self._held.append((answer, self.fails and bool(messages)))
            return answer
        return fail(StoreFailed("the disk is full")) if self.fails and messages else succeed(None)

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

    def __init__(self, kept: Sequence[Message] = (), **settings: Any) -> None:
        self.clock = SteppingClock()
        self.clock.advance(1_000)
        self.store = FakeStore(kept)
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
            "calls": [call for call in self.clock.getDelayedCalls() if call is not router._sweeping.call],
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
