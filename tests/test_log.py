"""The log, held against a model: a list and a filter."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from comet import log as log_module
from comet.errors import BadSince
from comet.kept import Past
from comet.log import MESSAGE_BYTES, PAGE_BYTES, SCAN, Log, Replay, Retention, Since, Start, parse_since
from comet.message import Draft, Gap, Message, Position
from comet.topics import Pattern, parse_patterns

EPOCH = "5f0c1a2b"

topics = st.sampled_from(["a", "b", "a/b", "a/c", "x/a/b", "x/b", "$s/a", "$s"])
wishes = st.one_of(
    st.lists(topics, min_size=1, max_size=3),
    st.lists(
        st.sampled_from(["a", "a/*", "*", "**", "*/b", "x/**", "$s/*", "$s/**", "b", "*/*/b"]), min_size=1, max_size=3
    ),
).map(parse_patterns)


def matching(patterns: tuple[Pattern, ...], messages: list[Message]) -> list[Message]:
    return [message for message in messages if any(pattern.matches(message.topic) for pattern in patterns)]


class LogMachine(RuleBasedStateMachine):
    """Publishing and the passing of time against a list of all messages and of those that should be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.kept: list[Message] = []
        self.gone: list[Message] = []
        self.begun: dict[str, int] = {}
        self.forgotten = 0
        self.given: list[Message] = []

    @initialize(most=st.integers(1, 5), size=st.sampled_from([MESSAGE_BYTES, 10 * MESSAGE_BYTES, 10**9]))
    def begin(self, most: int, size: int) -> None:
        self.retention = Retention(most, 60.0, size)
        self.log = Log(EPOCH, self.retention)

    @rule(
        drafts=st.lists(st.tuples(topics, st.binary(max_size=3)), max_size=8),
        back=st.sampled_from([0.0, 0.0, 500.0]),
    )
    def publish(self, drafts: list[tuple[str, bytes]], back: float) -> None:
        messages = self.log.number([Draft(*draft) for draft in drafts], self.now - back)
        assert [(message.topic, message.payload) for message in messages] == drafts
        self.log.extend(messages)
        for message in messages:
            if not any(each.topic == message.topic for each in self.kept):
                self.begun[message.topic] = self.forgotten
            self.kept.append(message)
            same = [each for each in self.kept if each.topic == message.topic]
            self._lose(same[: -self.retention.messages])
        while sum(len(message.payload) + MESSAGE_BYTES for message in self.kept) > self.retention.bytes:
            self._lose(self.kept[:1])

    @rule(count=st.integers(1, 3))
    def fail_to_store(self, count: int) -> None:
        self.log.number([Draft("a", b"")] * count, self.now)

    @rule(seconds=st.sampled_from([0.0, 1.0, 30.0, 59.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.log.expire(self.now)
        self._lose([message for message in self.kept if message.time <= self.now - 60.0])

    @rule()
    def give(self) -> None:
        """A successor is given what there is now; the rest it gets when it takes over."""
        self.given = self.log.after(0, 1000)

    @rule()
    def take_over(self) -> None:
        last = self.given[-1].offset if self.given else 0
        successor = Log("0" * 8, self.retention)
        successor.resume(self.log.past(), [*self.given, *self.log.after(last, 1000)])
        assert (successor.epoch, successor.end, successor.next_offset) == (EPOCH, self.log.end, self.log.next_offset)
        self.given = []
        self.log = successor

    def _lose(self, messages: list[Message]) -> None:
        for message in list(messages):
            self.kept.remove(message)
            self.gone.append(message)
            if not any(each.topic == message.topic for each in self.kept):
                self.forgotten = max(self.forgotten, message.offset)

    @rule(patterns=wishes, after=st.integers(0, 60), limit=st.integers(1, 7))
    def read(self, patterns: tuple[Pattern, ...], after: int, limit: int) -> None:
        wanted = [message for message in matching(patterns, self.kept) if message.offset > after]
        found, reached = self.log.read(patterns, after, limit)
        assert found == wanted[:limit]
        assert reached == (self.log.end if found == wanted else found[-1].offset)

    @rule(patterns=wishes, after=st.integers(0, 60), until=st.integers(0, 60), limit=st.integers(1, 7))
    def snapshot(self, patterns: tuple[Pattern, ...], after: int, until: int, limit: int) -> None:
        until = min(until, self.log.end)
        newest = {message.topic: message for message in self.kept}
        wanted = sorted((m for m in newest.values() if after < m.offset <= until), key=lambda m: m.offset)
        wanted = matching(patterns, wanted)
        found, reached = self.log.snapshot(Replay(patterns, after, until, newest=True), limit)
        assert found == wanted[:limit]
        assert reached == (until if found == wanted else found[-1].offset)

    @rule(patterns=wishes, after=st.integers(0, 60))
    def lost(self, patterns: tuple[Pattern, ...], after: int) -> None:
        told = self.log.lost(patterns, after)
        real = max((message.offset for message in matching(patterns, self.gone)), default=0)
        assert told >= max(real, after)
        if all(pattern.exact and self.log.topic(pattern.text) for pattern in patterns):
            # Only what had been forgotten when a topic began may be taken for its own.
            assert told <= max(real, after, *(self.begun[pattern.text] for pattern in patterns))
        else:
            assert told <= max(real, after, self.forgotten)

    @rule(patterns=wishes, count=st.integers(0, 9))
    def newest(self, patterns: tuple[Pattern, ...], count: int) -> None:
        start = self.log.start(count, patterns)
        wanted = matching(patterns, self.kept)
        wanted = wanted[max(0, len(wanted) - count) :]
        assert self.log.read(patterns, start.after, 1000)[0] == wanted
        told = max(start.told, start.after)
        assert self.log.lost(patterns, told) == told
        assert not start.snapshot
        assert start.gap is None

    @rule(patterns=wishes)
    def first(self, patterns: tuple[Pattern, ...]) -> None:
        start = self.log.start("first", patterns)
        assert self.log.read(patterns, start.after, 1000)[0] == matching(patterns, self.kept)
        assert self.log.lost(patterns, max(start.after, start.told)) == max(start.after, start.told)
        assert start.gap is None

    @rule(patterns=wishes, offset=st.integers(0, 80))
    def position(self, patterns: tuple[Pattern, ...], offset: int) -> None:
        start = self.log.start(Position(EPOCH, offset), patterns)
        if offset <= self.log.end:
            assert start == Start(offset)
        else:
            assert start.after == self.log.end
            assert start.gap == Gap(Position(EPOCH, offset), Position(EPOCH, self.log.end))

    @rule(patterns=wishes)
    def position_of_another_epoch(self, patterns: tuple[Pattern, ...]) -> None:
        start = self.log.start(Position("0" * 8, 7), patterns)
        assert start.gap is not None
        assert start.gap.since == Position("0" * 8, 7)
        assert self.log.read(patterns, start.after, 1000)[0] == matching(patterns, self.kept)
        assert self.log.lost(patterns, start.told) == start.told == start.gap.until.offset

    @rule(patterns=wishes)
    def now_and_last(self, patterns: tuple[Pattern, ...]) -> None:
        assert self.log.start("now", patterns) == Start(self.log.end)
        start = self.log.start("last", patterns)
        assert (start.after, start.gap, start.snapshot) == (self.log.end, None, True)

    @precondition(lambda self: hasattr(self, "log"))
    @invariant()
    def figures_agree(self) -> None:
        assert self.log.count == len(self.kept)
        assert self.log.bytes == sum(len(message.payload) + MESSAGE_BYTES for message in self.kept)
        assert self.log.bytes <= self.retention.bytes
        names = {message.topic for message in self.kept}
        assert {topic.name for topic in self.log.topics()} == names
        for name in names:
            topic = self.log.topic(name)
            assert topic is not None
            assert topic.last(100) == [message for message in self.kept if message.topic == name]
        assert all(before.time <= after.time for before, after in pairwise(self.kept))

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.expire(self.now + 1e6)
            assert (self.log.count, self.log.bytes, self.log._topics.by_name, self.log._topics.root.below) == (
                0,
                0,
                {},
                {},
            )
            assert (self.log._timeline._spans, self.log._timeline._numbers) == ({}, [])


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def filled(*names: str, retention: Retention | None = None, payload: bytes = b"x") -> Log:
    log = Log(EPOCH, retention or Retention())
    log.extend(log.number([Draft(name, payload) for name in names], 1000.0))
    return log


def test_page_ends_when_it_is_large() -> None:
    """A reader holds up no more of the memory than a page, however large its messages and its limit are."""
    log = filled(*["a"] * 100, payload=b"x" * 10_000)
    for patterns in (parse_patterns(["a"]), parse_patterns(["*"])):
        page, reached = log.read(patterns, 0, 1000)
        assert PAGE_BYTES <= sum(len(message.payload) for message in page) < PAGE_BYTES + 10_000
        assert reached == page[-1].offset
        snapshot, _ = log.snapshot(Replay(patterns, 0, log.end, newest=True), 1000)
        assert [message.offset for message in snapshot] == [100]


def test_message_larger_than_a_page_is_a_page() -> None:
    """A message that is larger than a page comes by itself."""
    log = filled("a", "a", payload=b"x" * (PAGE_BYTES * 2))
    page, reached = log.read(parse_patterns(["a"]), 0, 10)
    assert ([message.offset for message in page], reached) == ([1], 1)


def test_wildcard_reads_look_at_a_bounded_stretch() -> None:
    """A reader whose pattern matches next to nothing does not make one page walk the whole log."""
    log = filled(*["a"] * SCAN, "b/1", *["a"] * SCAN, retention=Retention(messages=10**6))
    patterns = parse_patterns(["b/*"])
    assert log.read(patterns, 0, 10) == ([], SCAN)
    page, reached = log.read(patterns, SCAN, 10)
    assert ([message.topic for message in page], reached) == (["b/1"], 2 * SCAN)
    assert log.read(patterns, 2 * SCAN, 10) == ([], log.end)
    assert log.snapshot(Replay(patterns, 0, log.end, newest=True), 10) == ([], SCAN)


def test_newest_of_a_quiet_topic_are_found_far_back() -> None:
    """``since=-N`` finds a quiet topic's messages even behind a great many others."""
    log = filled("b/1", "b/2", *["a"] * (log_module.LOOK_BACK + 5), retention=Retention(messages=10**6))
    assert log.start(1, parse_patterns(["b/*"])).after == 1
    assert log.start(5, parse_patterns(["b/*"])).after == 0


def test_expiry_is_bounded() -> None:
    """When a great deal is too old, a part goes now and the rest later."""
    log = filled(*["a"] * (log_module.EXPIRE_AT_ONCE + 5), retention=Retention(messages=10**6, seconds=10.0))
    log.expire(2000.0)
    assert log.count == 5
    log.expire(2000.0)
    assert log.count == 0


def test_message_that_is_too_large_to_keep_is_a_loss() -> None:
    """A message that alone exceeds what may be kept is gone at once, and a reader is told."""
    log = filled("a", "b", retention=Retention(bytes=100 + MESSAGE_BYTES), payload=b"x" * 60)
    log.extend(log.number([Draft("a", b"x" * 200)], 1000.0))
    assert (log.count, log.end) == (0, 3)
    assert log.lost(parse_patterns(["a"]), 0) == 3


def test_expired_topic_that_comes_back_remembers_a_loss() -> None:
    """A reader that missed messages of a topic which was forgotten is told, even if the topic has new ones."""
    log = filled("a", retention=Retention(seconds=10.0))
    log.expire(2000.0)
    log.extend(log.number([Draft("a", b"new")], 2000.0))
    assert log.lost(parse_patterns(["a"]), 0) == 1
    assert log.lost(parse_patterns(["a"]), 1) == 1


def test_restored_messages_keep_their_offsets() -> None:
    """A log that takes in what a store has kept goes on numbering behind it, and in its time."""
    log = Log(EPOCH, Retention())
    log.restore(Past(EPOCH, 9, 10, 901.0, 6, {}), [Message("a", b"x", "", 900.0, 7), Message("b", b"y", "", 901.0, 9)])
    assert (log.end, log.next_offset, log.count) == (9, 10, 2)
    assert log.number([Draft("a", b"")], 500.0)[0].time == 901.0


@pytest.mark.parametrize("wish", ["a", "b", "new", "*", "**", "b/**"])
def test_what_was_before_the_restored_may_be_lost(wish: str) -> None:
    """A reader from before what a store has kept is told of a gap, a later one is not."""
    log = Log(EPOCH, Retention())
    log.restore(Past(EPOCH, 7, 8, 900.0, 6, {}), [Message("a", b"x", "", 900.0, 7)])
    log.extend(log.number([Draft("b", b"")], 1000.0))
    assert log.lost(parse_patterns([wish]), 3) == 6
    assert log.lost(parse_patterns([wish]), 6) == 6


def test_store_that_has_kept_everything_leaves_no_gap() -> None:
    """A store that still has the first message has lost none."""
    log = Log(EPOCH, Retention())
    log.restore(Past(EPOCH, 1, 2, 900.0, 0, {}), [Message("a", b"x", "", 900.0, 1)])
    assert log.lost(parse_patterns(["**"]), 0) == 0


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("now", "now"),
        ("first", "first"),
        ("last", "last"),
        ("-0", 0),
        ("-25", 25),
        ("-9999999", 9_999_999),
        ("5f0c1a2b-0", Position("5f0c1a2b", 0)),
        ("5f0c1a2b-1042", Position("5f0c1a2b", 1042)),
    ],
)
def test_since_is_read(text: str, since: Since) -> None:
    """Every form of ``since`` is understood."""
    assert parse_since(text) == since


@pytest.mark.parametrize(
    "text", ["", "NOW", "-", "--5", "5", "-5.0", "-٣", "-²", "-99999999", "- 5", "now ", "0", "\n-5"]
)
def test_bad_since_is_refused(text: str) -> None:
    """Anything else is refused, with what is right in the answer."""
    with pytest.raises(BadSince, match="-N"):
        parse_since(text)


@given(st.text(max_size=12))
def test_since_is_safe(text: str) -> None:
    """Whatever ``since`` is, it is understood or refused."""
    try:
        assert isinstance(parse_since(text), str | int | Position)
    except BadSince as refusal:
        refusal.detail.encode()
