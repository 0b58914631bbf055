"""Blocks: what goes in comes out, and what is damaged does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from comet.message import Message
from comet.store import blocks
from comet.store.blocks import Block, Damaged, by_topic, cut, loose

topics = st.sampled_from(["a", "b/c", "ü", "x" * 200])
payloads = st.binary(max_size=50)


@st.composite
def logs(draw: st.DrawFn) -> list[Message]:
    """Some messages by rising offset."""
    offset = draw(st.integers(0, 10**15))
    found = []
    for number, (topic, payload) in enumerate(draw(st.lists(st.tuples(topics, payloads), min_size=1, max_size=30))):
        offset += draw(st.integers(1, 3))
        found.append(Message(topic, payload, "text/plain" if number % 2 else "", 1000.5 + number, offset))
    return found


@given(logs())
def test_blocks_give_back_what_they_got(messages: list[Message]) -> None:
    """A block of either kind has its messages in order, and says of them what is true."""
    after = messages[0].offset - 1
    whole, _ = by_topic(after, messages)
    for block in (loose(after, messages), whole):
        assert block.messages() == messages
        assert (block.first, block.last, block.count) == (after + 1, messages[-1].offset, len(messages))
        assert block.time == messages[-1].time


@given(logs())
def test_runs_are_found_alone(messages: list[Message]) -> None:
    """Each topic's messages are where the places say."""
    block, runs = by_topic(0, messages)
    assert {run.topic for run in runs} == {message.topic for message in messages}
    for topic, number, start, size in runs:
        found = block.run(start, size)
        assert found == [message for message in messages if message.topic == topic]
        assert len(found) == number


def test_damage_is_noticed() -> None:
    """Whichever bit of a block is another one, and whichever value of its row: nobody is given it."""
    messages = [Message("a", b"payload", "", 1.0, offset) for offset in range(1, 4)]
    block = loose(0, messages)
    rows = list(_changed(block))
    for number in range(len(block.body) * 8):
        body = bytearray(block.body)
        body[number // 8] ^= 1 << number % 8
        rows.append(replace(block, body=bytes(body)))
    for row in rows:
        with pytest.raises(Damaged, match="damaged"):
            row.messages()


def _changed(block: Block) -> Iterator[Block]:
    for name in ("last", "after", "time", "count", "checksum"):
        for changed in (getattr(block, name) + 1, "text", None):
            yield replace(block, **{name: changed})


@pytest.mark.parametrize("place", [(0, 1), (3, 10_000), (10_000, 5)])
def test_wrong_places_are_noticed(place: tuple[int, int]) -> None:
    """A run that is not where it should be is damage, and no other mistake."""
    block, _ = by_topic(0, [Message("a", b"payload", "", 1.0, 1)])
    with pytest.raises(Damaged):
        block.run(*place)


@given(st.lists(st.integers(0, 60), max_size=40))
def test_pieces_are_as_large_as_may_be(sizes: list[int]) -> None:
    """What is cut is all there, in order; no piece is too large unless it is one message, and none could have been
    joined with the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MOST_MESSAGES", 5)
        patch.setattr(blocks, "MOST_BYTES", 100)
        patch.setattr(blocks, "ROW_BYTES", 10)
        messages = [Message("a", b"x" * size, "", 1.0, offset) for offset, size in enumerate(sizes, 1)]
        pieces = list(cut(messages))
    assert [message for piece in pieces for message in piece] == messages
    for piece in pieces:
        assert len(piece) == 1 or (len(piece) <= 5 and _size(piece) <= 100)
    for piece, following in pairwise(pieces):
        assert len(piece) == 5 or _size([*piece, following[0]]) > 100


def _size(messages: list[Message]) -> int:
    return sum(10 + len(message.payload) for message in messages)
