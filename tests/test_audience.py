"""Rows of an audience, its news, and the loop that sends to all of a row."""

from __future__ import annotations

import errno
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

import comet.audience
from comet.audience import Audience, Interest, Key, Subscription, newest_per_topic, send_all
from comet.delivery import STREAMING
from comet.framing.lines import Lines
from comet.message import Message
from comet.metrics import Tally
from comet.topics import parse_patterns
from tests.fakes import EPOCH, FakeWriter, SocketWriter

KEY = Key(parse_patterns(["news"]), Lines(), "stream", STREAMING)


class Numbered(FakeWriter):
    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor


def member(audience: Audience, descriptor: int) -> Subscription:
    return Subscription(audience, Numbered(descriptor), Interest(audience.key), str(descriptor))


def audience() -> Audience:
    return Audience(KEY, Tally(), 0.0)


def message(offset: int, topic: str = "news", payload: bytes = b"x") -> Message:
    return Message(topic, payload, "", 0.0, offset)


def hear(audience: Audience, *messages: Message) -> None:
    for each in messages:
        audience.news.append(each)
        audience.news_bytes += len(each.payload)
        audience.heard += 1


@given(st.lists(st.integers(0, 20)))
def test_descriptors_stand_beside_their_members(steps: list[int]) -> None:
    """However members come and go, each descriptor is its member's."""
    group = audience()
    row = group.row_for(direct=True)
    there: list[Subscription] = []
    for number, step in enumerate(steps):
        if step < 8 and there:
            row.remove(there.pop(step % len(there)))
            if not there:
                row = group.row_for(direct=True)
        else:
            there.append(member(group, number))
            row.add(there[-1])
        assert row.descriptors is not None
        assert list(row.descriptors) == [each.writer.descriptor for each in row.members]
        assert [each.index for each in row.members] == list(range(len(row.members)))
        assert {each.stream for each in row.members} == {each.stream for each in there}
        assert all(each.row is row for each in there)


def test_row_has_a_bounded_number_of_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is cut into rows; a plain socket and a TLS connection never share one."""
    monkeypatch.setattr(comet.audience, "ROW", 3)
    group = audience()
    for number in range(7):
        group.row_for(direct=True).add(member(group, number))
    group.row_for(direct=False).add(member(group, -1))
    assert [len(row.members) for row in group.rows] == [3, 3, 1, 1]
    assert [row.descriptors is None for row in group.rows] == [False, False, False, True]


def test_row_with_news_takes_no_new_member() -> None:
    """Who comes between a publish and its flush is not given what was published before."""
    group = audience()
    first = group.row_for(direct=True)
    first.add(member(group, 1))
    hear(group, message(1))
    assert group.row_for(direct=True) is not first


def test_empty_row_is_dropped_with_its_flush() -> None:
    """A row that empties is forgotten, and with the last one the news."""
    group = audience()
    row = group.row_for(direct=True)
    row.add(member(group, 1))
    hear(group, message(1))
    row.queued, group.queued = True, 1
    row.clear()
    assert (group.rows, group.queued, group.news, group.news_bytes) == ([], 0, [], 0)


def test_block_is_made_once() -> None:
    """All rows that are at the same place are given the same bytes object."""
    group = audience()
    hear(group, message(3), message(5))
    block = group.block(0, EPOCH, 9)
    assert group.block(0, EPOCH, 9) is block
    assert (block.messages, block.offset, block.full, block.stop) == (2, 9, False, 2)
    hear(group, message(10))
    assert group.block(0, EPOCH, 10).messages == 3
    assert group.block(2, EPOCH, 10).messages == 1


def test_block_holds_no_more_than_a_page() -> None:
    """News that are more than a block holds come in several, each with the place it reaches."""
    group = audience()
    hear(group, *(message(offset, payload=b"x" * 40_000) for offset in range(1, 6)))
    start, reached = 0, []
    while start < group.heard:
        block = group.block(start, EPOCH, 9)
        reached.append(block.offset)
        start = block.stop
    assert reached == [2, 4, 9]


def test_row_knows_how_far_it_has_come() -> None:
    """A row that has not had the news has everything in front of them, whatever its last flush was."""
    group = audience()
    row = group.row_for(direct=True)
    row.add(member(group, 1))
    row.position = 3
    assert row.reached() == 3
    hear(group, message(100), message(105))
    assert row.reached() == 99
    row.sent += 1
    assert row.reached() == 104


@given(st.lists(st.sampled_from("abc")))
def test_newest_per_topic_is_in_order(topics: list[str]) -> None:
    """Conflation keeps the newest message of each topic, and the order."""
    messages = [message(offset, topic) for offset, topic in enumerate(topics, 1)]
    kept = newest_per_topic(messages)
    assert kept == [each for each in messages if not any(m.topic == each.topic for m in messages[each.offset :])]


def test_send_all_tells_who_did_not_take_everything() -> None:
    """Full, short, broken and closed sockets are told by their places; the others have the bytes."""
    writers = [SocketWriter() for _ in range(6)]
    try:
        writers[1].fill()
        writers[3].break_()
        descriptors = array("i", [writer.descriptor for writer in writers])
        assert send_all(descriptors, [b"hello"] * len(descriptors)) == [(1, -errno.EAGAIN), (3, -errno.EPIPE)]
        assert [bytes(writers[index].arrived()) for index in (0, 2, 4, 5)] == [b"hello"] * 4
        large = b"x" * 1_000_000
        short = dict(send_all(array("i", [writers[0].descriptor]), [large]))
        assert 0 < short[0] < len(large)
        assert len(writers[0].arrived()) == short[0]
    finally:
        for writer in writers:
            writer.close()
