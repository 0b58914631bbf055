"""Whatever happens, a consumer is given all that it has not acknowledged, in order, or told that some is gone."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.errors import CometError
from comet.message import Page, Position
from comet.quiet import Quiet
from comet.topics import parse_patterns
from tests.fakes import EPOCH, House

TOPICS = st.sampled_from(["a/1", "a/2", "b"])
PATTERNS = parse_patterns(["a/*"])
RETAINED = 3


class Life(RuleBasedStateMachine):
    """A daemon whose store may fail, and which may be killed; a consumer; and what it must be given."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(retain_messages=RETAINED)
        self.wanted: list[int] = []
        self.retained: dict[str, list[int]] = {}
        self.acked = 0
        self.heard: list[tuple[int, bool]] = []
        self.begin()
        self.consumers.create("c", PATTERNS, "now")
        for topic in ("a/1", "b", "a/2"):
            self.publish(topic, 2)

    def begin(self) -> None:
        """Take up what is kept."""
        self.consumers = Consumers(self.house.router)
        self.consumers.start()
        self.house.router.each_second[:] = [Quiet(self.house.router, self.consumers).each_second]

    @property
    def consumer(self) -> Consumer:
        return self.consumers.found("c")

    @rule(topic=TOPICS, count=st.integers(1, 3))
    def publish_some(self, topic: str, count: int) -> None:
        self.publish(topic, count)

    def publish(self, topic: str, count: int) -> None:
        for offset in self.house.publish(*[(topic, "x")] * count):
            self.retained[topic] = [*self.retained.get(topic, []), offset][-RETAINED:]
            if topic != "b":
                self.wanted.append(offset)

    @rule(share=st.floats(0, 1), fails=st.booleans())
    def acknowledge(self, share: float, fails: bool) -> None:
        """Up to some place, new or old; the store may fail."""
        offset = round(share * self.house.router.log.end)
        self.house.store.fails = fails
        outcome: list[Any] = []
        self.consumer.ack(Position(EPOCH, offset)).addBoth(outcome.append)
        self.house.store.fails = False
        if outcome == [None]:
            self.acked = max(self.acked, offset)
        else:
            assert outcome[0].check(CometError)

    @rule(fails=st.booleans())
    def acknowledge_slowly(self, fails: bool) -> None:
        """Many, while the store takes its time."""
        end, place = self.house.router.log.end, self.consumer.acked.offset
        self.house.store.holds, self.house.store.fails = True, fails
        for offset in range(max(0, place - 1), end + 1):
            self.consumer.ack(Position(EPOCH, offset)).addCallbacks(
                lambda _, offset=offset: self.hear(offset), lambda failure: failure.trap(CometError)
            )
        self.house.store.fails = False
        while self.house.store._held:
            self.house.store.release(1)
        self.house.store.holds = False
        self.house.store.release()

    def hear(self, offset: int) -> None:
        self.acked = max(self.acked, offset)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.house.wait(seconds)

    @rule()
    def kill(self) -> None:
        """What the next daemon knows is what was kept."""
        self.begin()

    @precondition(lambda self: self.wanted)
    @rule(which=st.randoms(use_true_random=False))
    def acknowledge_one_by_one(self, which: Any) -> None:
        """Some of what is given, in any order: the place does not go over a hole."""
        consumer = self.consumer
        consumer.begin_again()
        offsets = [message.offset for message in consumer.deliver(self.page())]
        done = which.sample(offsets, which.randint(0, len(offsets)))
        consumer.ack_each(done)
        hole = next((offset for offset in offsets if offset not in done), self.house.router.log.end + 1)
        if done:  # what is gone was told along with what is there
            self.acked = max(self.acked, hole - 1)

    def page(self) -> Page:
        found: list[Page] = []
        self.consumer.read(self.consumer.acked, 500, 0.0, "test").addCallback(found.append)
        self.house.turn()
        return found[0]

    @invariant()
    def gives_everything(self) -> None:
        page = self.page()
        owed = [offset for offset in self.wanted if offset > self.acked]
        there = sorted(offset for topic, offsets in self.retained.items() if topic != "b" for offset in offsets)
        assert [message.offset for message in page.messages] == [offset for offset in owed if offset in there]
        assert (page.gap is not None) is (not set(owed) <= set(there))
        assert self.consumer.described()["gap"] is (page.gap is not None)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
