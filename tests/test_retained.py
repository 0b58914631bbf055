"""Where retained messages stand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from comet.message import Message
from comet.retained import Timeline, TopicTree
from comet.topics import Pattern


def message(offset: int, topic: str = "a") -> Message:
    return Message(topic, b"", "", 0.0, offset)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 300)),
        st.tuples(st.just("remove"), st.integers(0, 10_000)),
        st.tuples(st.just("remove oldest"), st.integers(1, 30)),
    ),
    max_size=60,
)


@given(steps, st.integers(0, 3_000))
@settings(max_examples=100, deadline=None)
def test_timeline_is_an_ordered_list(steps: list[tuple[str, int]], after: int) -> None:
    """Whatever is added at the end and removed anywhere, reading gives what is there, in order, both ways."""
    timeline = Timeline()
    timeline.SPAN_BITS = 3
    there: list[Message] = []
    last = 0
    for step, number in steps:
        if step == "append":
            for _ in range(min(number, 20)):
                last += 1 + number % 7
                there.append(message(last))
                timeline.append(there[-1])
        elif step == "remove" and there:
            timeline.remove(there.pop(number % len(there)))
        elif step == "remove oldest":
            for gone in there[:number]:
                timeline.remove(gone)
            del there[:number]
        assert timeline.oldest() == (there[0] if there else None)
    assert list(timeline.after(0)) == there
    assert list(timeline.after(after)) == [each for each in there if each.offset > after]
    assert list(timeline.backwards()) == there[::-1]
    for each in there:
        timeline.remove(each)
    assert (timeline._spans, timeline._numbers, timeline._built) == ({}, [], {})


def test_timeline_with_holes_keeps_little() -> None:
    """One quiet topic that pins each stretch of a busy log does not keep the memory of what has gone."""
    timeline = Timeline()
    everything = [message(offset) for offset in range(1, 25_601)]
    for each in everything:
        timeline.append(each)
    full = sum(span.__sizeof__() for span in timeline._spans.values())
    for each in everything:
        if each.offset % 256:
            timeline.remove(each)
    assert sum(span.__sizeof__() for span in timeline._spans.values()) < full / 20
    assert [each.offset for each in timeline.after(0)] == list(range(256, 25_601, 256))


def test_topic_gives_its_memory_back() -> None:
    """A topic from which messages come and go holds no places for those that have gone."""
    topic = TopicTree().add("a")
    for offset in range(1, 10_001):
        topic.append(message(offset))
        if offset > 10:
            assert topic.pop().offset == offset - 10
    assert len(topic) == 10
    assert len(topic._messages) <= 20
    assert [each.offset for each in topic.last(3)] == [9_998, 9_999, 10_000]
    assert [each.offset for each in topic.after(9_997, 2)] == [9_998, 9_999]
    assert [each.offset for each in topic.after(0, 1)] == [9_991]


names = st.lists(st.sampled_from(("a", "b", "$s")), min_size=1, max_size=3).map("/".join)
patterns = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        "a/b/a",
        "$s/a",
        "*",
        "**",
        "a/*",
        "*/b",
        "*/*",
        "a/**",
        "*/**",
        "$s/*",
        "$s/**",
        "a/*/b",
        "a/b/**",
    ]
).map(Pattern.parse)


@given(st.lists(st.tuples(names, st.booleans()), max_size=40), patterns, st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_tree_knows_what_was_lost(steps: list[tuple[str, bool]], pattern: Pattern, after: int) -> None:
    """A loss is never missed; nothing is said to be lost that is not, but for topics that are gone altogether."""
    tree = TopicTree()
    lost: dict[str, int] = {}
    gone = 0
    for offset, (name, adds) in enumerate(steps, 1):
        topic = tree.by_name.get(name)
        if adds:
            (topic or tree.add(name)).append(message(offset, name))
        elif topic is not None:
            lost[name] = topic.pop().offset
            if not len(topic):
                tree.forget(topic)
                gone = max(gone, lost[name])
    told = tree.lost(pattern, after)
    real = max((offset for name, offset in lost.items() if pattern.matches(name)), default=0)
    assert told >= max(real, after)
    assert told <= max(real, after, gone)
    found = [topic.name for topic in tree.matching(pattern)]
    assert sorted(found) == sorted(name for name in tree.by_name if pattern.matches(name))
    for topic in list(tree.by_name.values()):
        while len(topic):
            topic.pop()
        tree.forget(topic)
    assert (tree.by_name, tree.root.below) == ({}, {})


def test_loss_of_an_exact_topic_that_still_exists_is_exact() -> None:
    """That other topics come and go is no loss to a topic which was there before them."""
    tree = TopicTree()
    mine = tree.add("mine")
    mine.append(message(1, "mine"))
    other = tree.add("other")
    other.append(message(2, "other"))
    other.pop()
    tree.forget(other)
    assert tree.lost(Pattern.parse("mine"), 0) == 0


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=9).map("/".join), unique=True, max_size=12))
def test_deep_places_are_counted(names: list[str]) -> None:
    """Of the topics that are there each place below the fourth segment counts once, and no longer than it is there."""
    tree = TopicTree()
    for count, name in enumerate(names, 1):
        tree.add(name).append(message(count, name))
        prefixes = {tuple(each.split("/")[:depth]) for each in names[:count] for depth in range(5, 10)}
        assert tree.deep == len({prefix for prefix in prefixes if len(prefix) > 4})
    for name in names:
        topic = tree.by_name[name]
        topic.pop()
        tree.forget(topic)
    assert tree.deep == 0
