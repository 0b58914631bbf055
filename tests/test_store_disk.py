"""The file against a model: whatever is written, trimmed and read by turns, and however often it is opened anew."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import comet.store.disk
import comet.store.reading
from comet.kept import Entry
from comet.message import Message
from comet.store.disk import Disk, Group
from comet.store.reading import Reading
from comet.topics import parse_patterns

TOPICS = ("a", "b", "a/b", "a/c", "$stats/daemon")
wishes = st.lists(st.sampled_from(["a", "b", "a/b", "a/*", "**"]), min_size=1, max_size=2, unique=True)


class DiskMachine(RuleBasedStateMachine):
    """The rules of what can happen to the file."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        for module, name, value in (
            (comet.store.disk, "TAIL_ROWS", 4),
            (comet.store.disk, "TAIL_MESSAGES", 9),
            (comet.store.disk, "TAIL_BYTES", 900),
            (comet.store.disk, "STEP", 2),
            (comet.store.reading, "PAGE_BYTES", 120),
            (comet.store.reading, "REMEMBERED", 2),
            (comet.store.reading, "LOOKED_AT", 2),
        ):
            self.patched.setattr(module, name, value)
        self.directory = Path(tempfile.mkdtemp())
        self.model: list[Message] = []
        self.records: dict[tuple[str, str], bytes] = {}
        self.keys: list[Entry] = []
        self.end = 0
        self.time = 1_000.0
        self.disk = self._opened()
        self.epoch = self.disk.epoch
        self.reading = Reading(self.disk.path)

    def teardown(self) -> None:
        self.reading.close()
        self.disk.close()
        shutil.rmtree(self.directory)
        self.patched.undo()

    def _opened(self) -> Disk:
        disk = Disk(self.directory / "comet.db", fsync=False)
        kept, renewed = disk.open(retain_bytes=10**9, keys_since=0.0)
        assert not renewed
        assert (kept.past.end, kept.past.next_offset, kept.past.forgotten) == (
            self.end,
            self.end + 1,
            self.model[0].offset - 1 if self.model else self.end,
        ) or kept.past.forgotten <= (self.model[0].offset - 1 if self.model else self.end)
        assert list(kept.messages) == self.model
        assert {(each.kind, each.name): each.body for each in kept.records} == self.records
        assert list(kept.keys) == self.keys
        return disk

    @rule(
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=6),
        size=st.sampled_from([0, 0, 40, 400]),
        keyed=st.booleans(),
        holes=st.integers(0, 2),
    )
    def append(self, topics: Sequence[str], size: int, keyed: bool, holes: int) -> None:
        self.time += 1
        first = self.end + 1 + holes
        messages = [
            Message(topic, b"%d%b" % (offset, b"." * size), "", self.time, offset)
            for offset, topic in enumerate(topics, first)
        ]
        keys = [Entry(topics[0], f"key {first}", first, self.time)] if keyed else []
        self.disk.commit(Group(messages, keys))
        self.end = messages[-1].offset
        self.keys += keys
        self.model += [message for message in messages if message.topic[0] != "$"]

    @rule(name=st.sampled_from("xyz"), body=st.sampled_from([b"", b"1", b"2", None]))
    def put(self, name: str, body: bytes | None) -> None:
        self.disk.commit(Group(records=[("consumer", name, body)]))
        if body is None:
            self.records.pop(("consumer", name), None)
        else:
            self.records["consumer", name] = body

    @rule()
    def open_again(self) -> None:
        self.disk.close()
        self.disk = self._opened()
        assert self.disk.epoch == self.epoch

    @rule()
    def be_killed(self) -> None:
        self.disk._connection.close()
        self.disk = self._opened()
        assert self.disk.epoch == self.epoch

    @rule(age=st.integers(0, 10), most=st.sampled_from([0, 500, 10**9]))
    def trim(self, age: int, most: int) -> None:
        before = self.disk.trimmed
        while self.disk.trim(self.time - age, most, 0.0):
            pass
        assert self.disk.trimmed >= before
        self.model = [message for message in self.model if message.offset > self.disk.trimmed]

    @rule(patterns=wishes, after=st.integers(0, 80), until=st.integers(0, 80), limit=st.integers(1, 5))
    def read(self, patterns: list[str], after: int, until: int, limit: int) -> None:
        until = min(until, self.end)
        after = min(after, until)
        wanted = self._wanted(patterns, after, until)
        found: list[Message] = []
        while after < until:
            piece = self.reading.read(parse_patterns(patterns), after, until, limit)
            assert len(piece.messages) <= limit
            assert piece.trimmed == self.disk.trimmed
            assert after < piece.reached <= until
            assert all(after < message.offset <= piece.reached for message in piece.messages)
            found += piece.messages
            after = piece.reached
        assert found == wanted

    @rule(patterns=wishes, after=st.integers(0, 80), until=st.integers(0, 80), limit=st.integers(1, 5))
    def newest(self, patterns: list[str], after: int, until: int, limit: int) -> None:
        until = min(until, self.end)
        after = min(after, until)
        newest = {message.topic: message for message in self.model}
        wanted = [each for each in self._wanted(patterns, after, until) if newest[each.topic] == each]
        found: list[Message] = []
        while after < until:
            piece = self.reading.newest(parse_patterns(patterns), after, until, limit)
            assert len(piece.messages) <= limit
            assert after < piece.reached <= until
            found += piece.messages
            after = piece.reached
        assert found == wanted

    @rule(patterns=wishes, until=st.integers(0, 80), count=st.integers(0, 30))
    def before_newest(self, patterns: list[str], until: int, count: int) -> None:
        until = min(until, self.end)
        found = self._wanted(patterns, 0, until)[-count:] if count else []
        wanted = found[0].offset - 1 if found else until
        assert self.reading.before_newest(parse_patterns(patterns), until, count) == wanted

    @invariant()
    def counts(self) -> None:
        for topic in TOPICS:
            assert self.reading.count(topic) == sum(message.topic == topic for message in self.model)

    def _wanted(self, patterns: list[str], after: int, until: int) -> list[Message]:
        parsed = parse_patterns(patterns)
        return [
            message
            for message in self.model
            if after < message.offset <= until and any(pattern.matches(message.topic) for pattern in parsed)
        ]


TestDisk = DiskMachine.TestCase
TestDisk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
