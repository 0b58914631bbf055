"""Topics, patterns, and the index from a topic to those who want it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comet.errors import BadPattern, BadTopic, TooManyPatterns
from comet.topics import LONGEST, MOST_SEGMENTS, Pattern, PatternIndex, _Node, check_topic, parse_patterns, patterns_of

SEGMENTS = ("a", "b", "$s", "é", "**x", "*", "**")
topics = st.lists(st.sampled_from(("a", "b", "$s", "é")), min_size=1, max_size=4).map("/".join)
patterns = (
    st.tuples(
        st.lists(st.sampled_from(("a", "b", "$s", "é", "*")), max_size=3),
        st.sampled_from(("a", "b", "$s", "*", "**")),
    )
    .map(lambda parts: "/".join([*parts[0], parts[1]]))
    .map(Pattern.parse)
)


def naive_match(pattern: list[str], topic: list[str]) -> bool:
    """The definition, word for word."""
    if pattern[0] in ("*", "**") and topic[0].startswith("$"):
        return False
    if pattern == ["**"]:
        return len(topic) >= 1
    if not pattern or not topic:
        return pattern == topic
    rest = pattern[1:], topic[1:]
    if rest == ([], []):
        return pattern[0] in ("*", topic[0])
    return pattern[0] in ("*", topic[0]) and all(rest) and _rest_matches(*rest)


def _rest_matches(pattern: list[str], topic: list[str]) -> bool:
    if pattern == ["**"]:
        return True
    if pattern[0] not in ("*", topic[0]):
        return False
    if len(pattern) == 1 or len(topic) == 1:
        return len(pattern) == len(topic)
    return _rest_matches(pattern[1:], topic[1:])


@given(patterns, topics)
def test_pattern_matches_what_the_definition_says(pattern: Pattern, topic: str) -> None:
    """``*`` stands for one segment, a final ``**`` for one or more, and neither for a first one that starts with $."""
    assert pattern.matches(topic) == naive_match(pattern.text.split("/"), topic.split("/"))


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("a", "a", True),
        ("a", "a/b", False),
        ("a/*", "a", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("*/b", "a/b", True),
        ("**", "a", True),
        ("**", "a/$s", True),
        ("a/*", "a/$s", True),
        ("**", "$s/a", False),
        ("*/a", "$s/a", False),
        ("*", "$s", False),
        ("$s/*", "$s/a", True),
        ("$s/**", "$s/a/b", True),
    ],
)
def test_pattern_examples(pattern: str, topic: str, matches: bool) -> None:
    """The examples that a reader of the documentation would try."""
    assert Pattern.parse(pattern).matches(topic) is matches


BAD = ["", "/", "a/", "/a", "a//b", "a\nb", "a\0", "\x7f", "a\x85", "\ud800", "a" * (LONGEST + 1), "é" * 128]


@pytest.mark.parametrize("text", [*BAD, "a/*", "*", "**", "a*b", "$stats", "$", "$a/b"])
def test_what_nobody_can_publish_on(text: str) -> None:
    """A topic that is malformed, holds a wildcard or belongs to the daemon is refused, in words that can be shown."""
    with pytest.raises(BadTopic) as refusal:
        check_topic(text)
    refusal.value.detail.encode()


@pytest.mark.parametrize("text", [*BAD, "**/a", "a/**/b", "a*", "*a", "***", "a/b*", "**x"])
def test_what_nobody_can_subscribe_to(text: str) -> None:
    """A pattern that is malformed is refused, in words that can be shown."""
    with pytest.raises(BadPattern) as refusal:
        Pattern.parse(text)
    refusal.value.detail.encode()


@pytest.mark.parametrize(
    "text", ["a", "a b", " ", "a/b/c", "é" * 127, "a" * LONGEST, "a/$b", "..", "a?b#c%2F", "\u2028"]
)
def test_what_everybody_can_publish_on(text: str) -> None:
    """Anything else is a topic, and as a pattern matches just itself."""
    assert check_topic(text) == text
    assert Pattern.parse(text).matches(text)


def test_daemon_topics_can_be_subscribed_to() -> None:
    """What nobody may publish on, everybody may subscribe to."""
    assert Pattern.parse("$stats").exact
    assert not Pattern.parse("$stats/*").exact


def test_equal_wishes_are_equal() -> None:
    """The order and the number of times in which patterns are named make no difference."""
    assert parse_patterns(["b", "a", "b"]) == parse_patterns(["a", "b"])


def test_no_pattern_at_all_is_refused() -> None:
    """A subscription to nothing is a mistake."""
    with pytest.raises(BadPattern, match="at least one"):
        parse_patterns([])


class IndexMachine(RuleBasedStateMachine):
    """The index against a set of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.index: PatternIndex[int] = PatternIndex()
        self.index.REMEMBERED = 8
        self.pairs: set[tuple[Pattern, int]] = set()

    @rule(pattern=patterns, value=st.integers(0, 3))
    def add(self, pattern: Pattern, value: int) -> None:
        self.index.add(pattern, value)
        self.pairs.add((pattern, value))

    @rule(pattern=patterns, value=st.integers(0, 3))
    def remove_perhaps_what_is_not_there(self, pattern: Pattern, value: int) -> None:
        self.index.remove(pattern, value)
        self.pairs.discard((pattern, value))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.pairs:
            pattern, value = data.draw(st.sampled_from(sorted(self.pairs)))
            self.remove_perhaps_what_is_not_there(pattern, value)

    @rule(topic=topics)
    def match(self, topic: str) -> None:
        found = list(self.index.match(topic))
        assert len(found) == len(set(found))
        assert set(found) == {value for pattern, value in self.pairs if pattern.matches(topic)}

    @invariant()
    def nothing_is_left_of_nothing(self) -> None:
        assert len(self.index._remembered) <= 8
        if not self.pairs:
            assert (self.index._exact, self.index._root.below, self.index._remembered) == ({}, {}, {})

    def teardown(self) -> None:
        for pattern, value in sorted(self.pairs):
            self.remove_perhaps_what_is_not_there(pattern, value)
        self.nothing_is_left_of_nothing()


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


class CountingNodes(dict[str, "_Node[int]"]):
    """A node's children, which count how often they are asked for, and refuse to be walked."""

    asked = 0

    def __contains__(self, segment: object) -> bool:
        CountingNodes.asked += 1
        return super().__contains__(segment)

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError("all patterns are walked")

    def values(self) -> object:  # type: ignore[override]
        raise AssertionError("all patterns are walked")


def test_match_does_not_walk_the_patterns() -> None:
    """A publish costs the same with ten thousand patterns subscribed as with ten."""
    index: PatternIndex[int] = PatternIndex()
    for number in range(10_000):
        index.add(Pattern.parse(f"{number}/*"), number)
        index.add(Pattern.parse(f"room/{number}/**"), number)
        index.add(Pattern.parse(f"room/{number}"), number)
    for node in (index._root, index._root.below["room"]):
        node.below = CountingNodes(node.below)
    CountingNodes.asked = 0
    assert list(index.match("room/77/x")) == [77]
    assert CountingNodes.asked <= 6
    assert list(index.match("77/x")) == [77]


def test_match_is_remembered_until_patterns_change() -> None:
    """A topic that was published before is looked up once; a new subscriber is found all the same."""
    index: PatternIndex[int] = PatternIndex()
    index.add(Pattern.parse("a/*"), 1)
    assert index.match("a/b") is index.match("a/b")
    index.add(Pattern.parse("a/b"), 2)
    assert set(index.match("a/b")) == {1, 2}
    index.add(Pattern.parse("**"), 3)
    assert set(index.match("a/b")) == {1, 2, 3}
    index.remove(Pattern.parse("a/*"), 1)
    assert set(index.match("a/b")) == {2, 3}


def test_patterns_that_are_deep_together_are_refused() -> None:
    """Each segment of a pattern with wildcards is a place in the index; topics have none there, however deep."""
    deep = "/".join("a" * 99)
    fitting = [f"{number}/{deep[:-2]}/*" for number in range(MOST_SEGMENTS // 100)]
    assert len(patterns_of(fitting, 100)) == len(fitting)
    with pytest.raises(TooManyPatterns, match="1001 segments"):
        patterns_of([*fitting, "*"], 100)
    assert len(patterns_of([f"{number}/{deep}" for number in range(100)], 100)) == 100
