"""Whatever happens, a subscriber sees an ordered, complete sequence without duplicates, or a gap that says what is
missing; and when all have gone, nothing is left of them.

The machine publishes, subscribes, changes topics, stalls, drains and breaks clients, holds the store back and lets time
pass, with every bound of the router lowered until it is met all the time. What each client should have is worked out
from the list of all messages, and from what the client was told in-band.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import comet.audience
import comet.log
import comet.turns
from comet.errors import StoreFailed
from comet.log import MESSAGE_BYTES, Since
from comet.message import Draft, Message, Position
from comet.topics import Pattern, parse_patterns
from tests.fakes import EPOCH, FakeArchive, FakeWriter, House, SocketWriter, Subscriber
from tests.framing_readers import Object

TOPICS = ("a", "b", "a/b", "a/c")
topics = st.sampled_from(TOPICS)
wishes = st.lists(st.sampled_from([*TOPICS, "a/*", "**"]), min_size=1, max_size=2, unique=True)
sinces = st.one_of(
    st.sampled_from(["now", "now", "first", "last"]),
    st.integers(0, 6),
    st.integers(0, 60).map(lambda offset: Position(EPOCH, offset)),
    st.just(Position("0" * 8, 5)),
)


@dataclass
class Replay:
    """History that a client asked for beside its sequence, when that was ``at``; of a ``soft`` one it gets what nothing
    newer follows."""

    patterns: Sequence[Pattern]
    required: set[int]
    soft: bool
    at: int
    received: set[int] = field(default_factory=set)


class Watched:
    """A client, what it has understood, and what it must have understood by now."""

    def __init__(self, machine: RouterMachine, patterns: tuple[Pattern, ...], since: Since, conflate: bool) -> None:
        self.machine = machine
        self.conflate = conflate
        start, self.excused, self.soft = machine.where(patterns, since)
        self.soft_for: Sequence[Pattern] = patterns
        self.segments: list[tuple[int, tuple[Pattern, ...]]] = [(start, patterns)]
        self.at = start
        self.received: set[int] = set()
        self.gaps: list[tuple[int, int]] = []
        self.changes: list[Replay] = []
        self.replays: list[Replay] = []
        self.checked = 0

    def understand(self, objects: list[Object]) -> None:
        """Hold everything that is new among ``objects`` against the rules."""
        for found in objects[self.checked :]:
            self.checked += 1
            if found.get("comet") == "gap":
                self._gap(found)
            elif found.get("comet") == "topics":
                self._topics(found)
            elif found.get("comet") in ("beat", "bye"):
                if "position" in found:
                    self.check_all(self.machine.offset(found["position"]))
            elif "next" in found:
                self._next(self.machine.offset(found["next"]))
            elif "id" in found:
                self._message(found)

    def _next(self, position: int) -> None:
        """A poll's answer ends at ``position``; the next one goes on from there, even in the midst of a snapshot."""
        if position < self.at and self.soft:
            self.segments = [(position, self.segments[0][1])]
            self.soft = {offset for offset in self.soft if offset <= position}
            self.at = position
        assert position >= self.at
        self.check_all(position)
        self.at = position

    def _message(self, found: Object) -> None:
        offset = self.machine.offset(found["id"])
        message = self.machine.history[offset]
        assert (found["topic"], found["data"]) == (message.topic, message.payload.decode())
        if offset > self.at and _wanted(message, self.segments[-1][1]):
            self.at = offset
            self.received.add(offset)
            return
        if offset in self.soft and offset not in self.received:
            self.received.add(offset)
            return
        for replay in self.replays:
            if offset in replay.required and offset not in replay.received:
                replay.received.add(offset)
                return
        raise AssertionError(f"{offset} came out of order, twice, or unasked; the client was at {self.at}")

    def _gap(self, found: Object) -> None:
        since, until = Position.parse(found["since"]), self.machine.offset(found["until"])
        if since.epoch != EPOCH or since.offset > until:
            self.gaps.append((-1, until if since.epoch != EPOCH else -1))
            return
        gone = [offset for offset in self.machine.history if since.offset < offset <= until]
        assert any(offset not in self.machine.retained() for offset in gone), f"nothing is missing in {found}"
        self.gaps.append((since.offset, until))

    def _topics(self, found: Object) -> None:
        replay = self.changes.pop(0)
        position = replay.at
        # Without a position nobody can resume there, past what is still to be replayed.
        assert "position" not in found or self.machine.offset(found["position"]) == position
        self.check_up_to(position)
        patterns = parse_patterns(found["topics"])
        self.segments.append((position, patterns))
        self.at = max(self.at, position)
        # What is unsubscribed from is not replayed any longer.
        self.soft_for = [pattern for pattern in self.soft_for if pattern in patterns]
        self.soft = {offset for offset in self.soft if _wanted(self.machine.history[offset], self.soft_for)}
        for earlier in self.replays:
            earlier.patterns = [pattern for pattern in earlier.patterns if pattern in patterns]
            earlier.required = {o for o in earlier.required if _wanted(self.machine.history[o], earlier.patterns)}
        replay.required = {offset for offset in replay.required if offset <= position}
        self.replays.append(replay)

    def begin_with_replay(self, end: int) -> None:
        """What it asked for is on disk, where its sequence does not begin: it gets that beside it, when it comes."""
        [(start, patterns)] = self.segments
        history = self.machine.history.values()
        wanted = {each.offset for each in history if each.offset > start and _wanted(each, patterns)}
        self.replays.append(Replay(patterns, wanted - self.excused, self.conflate, end))
        self.segments = [(end, patterns)]
        self.at = end

    def excuse(self, lost: set[int]) -> None:
        """What is ``lost`` was gone before it could be asked for."""
        self.excused |= lost
        for replay in (*self.changes, *self.replays):
            replay.required -= lost

    def check_up_to(self, position: int) -> None:
        """Everything of the sequence up to ``position`` was received, or said to be missing."""
        for message in self._required(position):
            assert self._has(message), f"{message.offset} is missing, and no gap says so"

    def check_all(self, position: int) -> None:
        """As ``check_up_to``, and the snapshot and the replays are over."""
        self.check_up_to(position)
        for offset in self.soft:
            assert self._has(self.machine.history[offset]), f"{offset} of a snapshot is missing"
        for replay in self.replays:
            for offset in replay.required - replay.received:
                message = self.machine.history[offset]
                assert self._in_gap(offset) or (replay.soft and self._is_superseded(message)), (
                    f"{offset} of a replay is missing, and no gap says so"
                )

    def _required(self, position: int) -> Iterator[Message]:
        ends = [start for start, _ in self.segments[1:]] + [position]
        for (start, patterns), end in zip(self.segments, ends, strict=True):
            for message in self.machine.history.values():
                if start < message.offset <= min(end, position) and _wanted(message, patterns):
                    yield message

    def _has(self, message: Message) -> bool:
        offset = message.offset
        if offset in self.received or offset in self.excused or self._in_gap(offset):
            return True
        return (self.conflate or offset in self.soft) and self._is_superseded(message)

    def _in_gap(self, offset: int) -> bool:
        return any(since < offset <= until for since, until in self.gaps)

    def _is_superseded(self, message: Message) -> bool:
        """Whether a newer one of the topic came or was said to be missing, is still to come (and then checked), or
        came when the topic was not wanted any longer."""
        if not self.conflate and message.offset not in self.machine.retained():
            return True  # a snapshot has what is retained
        received = self.received.union(*(replay.received for replay in self.replays))
        wanted_until = min((start for start, _ in self.segments if start >= message.offset), default=self.at)
        newer = (each for each in self.machine.history.values() if each.offset > message.offset)
        return any(
            each.topic == message.topic
            and (each.offset > min(self.at, wanted_until) or each.offset in received or self._in_gap(each.offset))
            for each in newer
        )


@dataclass
class Client:
    """A client of the machine. A poller asks again when it has its answer."""

    watched: Watched
    subscriber: Subscriber
    wish: dict[str, Any]
    polls: bool


class RouterMachine(RuleBasedStateMachine):
    """The rules of what can happen."""

    def __init__(self, archive: FakeArchive | None = None) -> None:
        super().__init__()
        self.archive = archive
        self.patched = pytest.MonkeyPatch()
        for module, name, value in (
            (comet.audience, "ROW", 2),
            (comet.audience, "PAGE_BYTES", 30),
            (comet.turns, "SENDS", 3),
            (comet.turns, "PAGES", 2),
            (comet.turns, "NEWS", 6),
            (comet.log, "PAGE_BYTES", 40),
            (comet.log, "SCAN", 4),
            (comet.log, "LOOK_BACK", 6),
        ):
            self.patched.setattr(module, name, value)
        self.house = House(
            archive=self.archive,
            retain_messages=6,
            retain_seconds=30.0,
            retain_bytes=25 * MESSAGE_BYTES,
            silence=5.0,
            stall=20.0,
        )
        self.history: dict[int, Message] = {}
        self.clients: list[Client] = []
        self.published = 0

    # -- what the model knows

    def offset(self, position: str) -> int:
        found = Position.parse(position)
        assert found.epoch == EPOCH
        assert found.offset <= self.house.router.log.end
        return found.offset

    def retained(self) -> set[int]:
        return {message.offset for message in self.house.router.log._timeline.after(0)}

    def where(self, patterns: Sequence[Pattern], since: Since) -> tuple[int, set[int], set[int]]:
        """Where a sequence starts, which offsets behind that need not come, and which come if nothing newer does."""
        end = self.house.router.log.end
        wanted = [offset for offset, message in self.history.items() if _wanted(message, patterns)]
        retained = [offset for offset in wanted if offset in self.retained()]
        if since == "now":
            return end, set(), set()
        if since == "last":
            newest = {self.history[offset].topic: offset for offset in retained}
            return end, set(), set(newest.values())
        if since == "first":
            return 0, set(wanted) - set(retained), set()
        if isinstance(since, int):
            return 0, set(wanted) - set(retained[max(0, len(retained) - since) :]), set()
        assert isinstance(since, Position)
        if since.epoch != EPOCH:
            return 0, set(), set()
        return min(since.offset, end), set(), set()

    # -- publishers

    @rule(topics=st.lists(topics, min_size=1, max_size=6), padding=st.sampled_from([0, 0, 0, 20, 300, 5000]))
    def publish(self, topics: list[str], padding: int) -> None:
        drafts = []
        for topic in topics:
            self.published += 1
            drafts.append(Draft(topic, b"%d%b" % (self.published, b"." * padding)))
        self.house.router.publish(drafts).addCallbacks(
            self._accepted, lambda failure: failure.trap(StoreFailed) and None, callbackArgs=(drafts,)
        )

    def _accepted(self, offsets: Sequence[int], drafts: Sequence[Draft]) -> None:
        for draft, offset in zip(drafts, offsets, strict=True):
            assert offset not in self.history
            self.history[offset] = Message(draft.topic, draft.payload, "", 0.0, offset)

    @rule(holds=st.booleans(), fails=st.sampled_from([False, False, True]))
    def store_changes_its_mind(self, holds: bool, fails: bool) -> None:
        self.house.store.holds, self.house.store.fails = holds, fails

    @rule(count=st.integers(1, 3))
    def store_answers(self, count: int) -> None:
        self.house.store.release(count)

    # -- time

    @rule()
    def turn(self) -> None:
        self.house.turn()

    @rule()
    def step(self) -> None:
        self.house.clock.step()

    @rule(seconds=st.sampled_from([0.25, 1, 6, 25, 40]))
    def wait(self, seconds: float) -> None:
        self.house.wait(seconds)
        self.look()

    @rule(seconds=st.sampled_from([0.25, 0.5, 3]))
    def be_late(self, seconds: float) -> None:
        self.house.clock.advance(seconds)

    # -- subscribers

    @rule(
        patterns=wishes,
        since=sinces,
        writer=st.sampled_from(["roomy", "roomy", "narrow", "socket", "socket"]),
        conflate=st.booleans(),
        pace=st.sampled_from([0.0, 0.0, 1.0]),
        limit=st.integers(1, 4),
    )
    def subscribe(
        self, patterns: list[str], since: Since, writer: str, conflate: bool, pace: float, limit: int
    ) -> None:
        watched = Watched(self, parse_patterns(patterns), since, conflate)
        wish: dict[str, Any] = {"since": since, "limit": limit, "conflate": conflate, "pace": pace}
        subscriber = Subscriber(self.house, *patterns, writer=_writer(writer), **wish)
        if _looks_back(subscriber):
            watched.begin_with_replay(self.house.router.log.end)
        self.clients.append(Client(watched, subscriber, wish, polls=False))

    @rule(
        patterns=wishes,
        since=sinces,
        conflate=st.booleans(),
        pace=st.sampled_from([0.0, 0.0, 1.0]),
        limit=st.integers(1, 4),
        wait=st.sampled_from([0.0, 0.5, 3.0]),
    )
    def poll(self, patterns: list[str], since: Since, conflate: bool, pace: float, limit: int, wait: float) -> None:
        watched = Watched(self, parse_patterns(patterns), since, conflate)
        wish: dict[str, Any] = {"limit": limit, "conflate": conflate, "pace": pace, "wait": wait}
        subscriber = Subscriber(self.house, *patterns, transport="poll", since=since, **wish)
        self.clients.append(Client(watched, subscriber, wish, polls=True))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), patterns=wishes, keep=st.booleans(), since=sinces)
    def change(self, data: st.DataObject, patterns: list[str], keep: bool, since: Since) -> None:
        client = self._one(data, (client for client in self.clients if not client.polls))
        if client is None or client.subscriber.subscription.audience is None:
            return
        old = client.subscriber.subscription.audience.key.patterns
        new = parse_patterns([*patterns, *(pattern.text for pattern in old if keep)])
        added = tuple(pattern for pattern in new if pattern not in old)
        required, soft = set[int](), False
        if added:
            start, excused, newest = self.where(added, since)
            wanted = {offset for offset, message in self.history.items() if _wanted(message, added)}
            required = newest or {offset for offset in wanted - excused if offset > start}
            soft = bool(newest)
        at = self.house.router.position_of(client.subscriber.subscription)
        client.watched.changes.append(Replay(added, required, soft, at))
        client.subscriber.change(*(pattern.text for pattern in new), since=since)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), room=st.sampled_from([1, 50, 400, math.inf]))
    def drain(self, data: st.DataObject, room: float) -> None:
        client = self._one(data, self.clients)
        if client is not None:
            client.subscriber.drain(room)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), how=st.sampled_from(["leaves", "breaks", "is ended"]))
    def go(self, data: st.DataObject, how: str) -> None:
        client = self._one(data, self.clients)
        if client is None or client.subscriber.subscription.audience is None:
            return
        writer = client.subscriber.writer
        if how == "breaks" and isinstance(writer, SocketWriter):
            writer.break_()
            self.clients.remove(client)
            self.broken = [*getattr(self, "broken", []), client]
        elif how == "is ended" and not client.polls:
            self.house.router.end(client.subscriber.subscription, "ended")
            self.look()
        else:
            client.subscriber.leave()
            self.clients.remove(client)

    @rule()
    def look(self) -> None:
        for client in list(self.clients):
            self._look_at(client)

    def _look_at(self, client: Client) -> None:
        client.watched.understand(client.subscriber.read())
        if client.subscriber.writer.ended == "finished" and client.polls:
            client.subscriber.drain()
            client.watched.understand(client.subscriber.read())
            self._poll_again(client)
        elif client.subscriber.writer.ended:
            client.subscriber.drain()
            if client.subscriber.writer.ended == "finished":
                client.watched.understand(client.subscriber.read())
            client.subscriber.writer.close()
            self.clients.remove(client)

    def _poll_again(self, client: Client) -> None:
        said = [found for found in client.subscriber.objects if "next" in found]
        assert len(said) == 1
        since = Position.parse(said[0]["next"])
        patterns = [pattern.text for pattern in client.watched.segments[0][1]]
        client.subscriber = Subscriber(self.house, *patterns, transport="poll", since=since, **client.wish)
        client.watched.checked = 0

    def _one(self, data: st.DataObject, clients: Iterable[Client]) -> Client | None:
        found = list(clients)
        return found[data.draw(st.integers(0, len(found) - 1))] if found else None

    # -- the end

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            for client in [*self.clients, *getattr(self, "broken", [])]:
                client.subscriber.writer.close()
            self.patched.undo()

    def _settle(self) -> None:
        self.house.store.holds = self.house.store.fails = False
        self.house.store.release()
        for _ in range(40):
            self.house.turn()
            for client in self.clients:
                client.subscriber.drain()
            self.look()
        self.house.wait(1.25)  # the slowest pace
        for _ in range(20):
            self.house.turn()
            for client in self.clients:
                client.subscriber.drain()
            self.look()
        end = self.house.router.log.end
        for client in self.clients:
            if not client.polls:
                assert client.subscriber.live
                assert not client.watched.changes, "a change was never said in-band"
                client.watched.check_all(end)
            elif client.wish["wait"]:
                client.watched.check_up_to(end)
        for client in [*self.clients, *getattr(self, "broken", [])]:
            client.subscriber.leave()
        self.house.turn()
        self.house.wait(4)
        assert self.house.left_behind() == {}
        assert [call.func for call in self.house.clock.getDelayedCalls()] == [self.house.router._sweep._looking]


def _writer(kind: str) -> FakeWriter:
    if kind == "socket":
        return SocketWriter()
    return FakeWriter(room=math.inf if kind == "roomy" else 150)


def _looks_back(subscriber: Subscriber) -> bool:
    """Whether it is not known yet where its newest so many messages begin."""
    return any(replay.last for replay in subscriber.subscription.replays)


def _wanted(message: Message, patterns: Iterable[Pattern]) -> bool:
    return any(pattern.matches(message.topic) for pattern in patterns)


class ArchiveMachine(RouterMachine):
    """The same with a store that has more than memory: what memory has lost comes from disk, when it pleases."""

    archive: FakeArchive

    def __init__(self) -> None:
        super().__init__(FakeArchive())

    def retained(self) -> set[int]:
        return {message.offset for message in self.archive.messages}

    @rule(count=st.integers(1, 12))
    def disk_is_trimmed(self, count: int) -> None:
        # Not beyond what memory has: the model knows one set of what is retained.
        in_memory = self.house.router.log.after(0, 1)
        whole = [message for message in self.archive.messages if in_memory and message.offset < in_memory[0].offset]
        lost = {message.offset for message in whole[:count]}
        self.archive.trim(len(lost))
        for client in self.clients:
            # The newest so many are those that there are when the disk is asked for them.
            if _looks_back(client.subscriber):
                client.watched.excuse(lost)

    @rule(holds=st.booleans())
    def disk_changes_its_mind(self, holds: bool) -> None:
        self.archive.holds = holds

    @rule()
    def disk_answers(self) -> None:
        self.archive.release()

    def _settle(self) -> None:
        self.archive.holds = False
        self.archive.release()
        super()._settle()


TestRouterModel = RouterMachine.TestCase
TestRouterModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestArchiveModel = ArchiveMachine.TestCase
TestArchiveModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
