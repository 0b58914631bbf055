"""The file against a model: whatever is written, trimmed and read by turns, and however often it is opened anew."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import comet.store.blocks
import comet.store.disk
import comet.store.opening
import comet.store.reading
import comet.store.schema
import comet.store.trimming
from comet.kept import Entry
from comet.message import Message
from comet.store.disk import Disk, Group
from comet.store.opening import open_disk
from comet.store.reading import Reading
from comet.store.trimming import Limits, Trimming
from comet.topics import parse_patterns

SMALL = (
    (comet.store.disk, "TAIL_ROWS", 4),
    (comet.store.disk, "TAIL_MESSAGES", 9),
    (comet.store.disk, "TAIL_BYTES", 900),
    (comet.store.blocks, "MOST_MESSAGES", 12),
    (comet.store.blocks, "MOST_BYTES", 1_000),
    (comet.store.schema, "ERA", 4),
    (comet.store.trimming, "BLOCKS_AT_ONCE", 2),
    (comet.store.trimming, "MESSAGES_AT_ONCE", 24),
    (comet.store.reading, "PAGE_BYTES", 120),
    (comet.store.reading, "PLACES", 2),
    (comet.store.reading, "BLOCKS", 2),
    (comet.store.reading, "BLOCKS_OF_WILDCARDS", 1),
    (comet.store.reading, "REMEMBERED_BYTES", 8_000),
)
"""So that a few messages meet every limit."""

TOPICS = ("a", "b", "a/b", "a/c", "a/b/c", "a/x/b/y", "a/x/y/b/z", "[?]/b", "$stats/daemon")
PATTERNS = ("a", "b", "a/b", "nobody", "a/*", "**", "*/b", "a/**", "a/*/b/**", "[?]/*", "nobody/**")
wishes = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True)
offsets = st.integers(0, 80)
limits = st.integers(1, 5)


class DiskMachine(RuleBasedStateMachine):
    """The rules of what can happen to the file."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        for module, name, value in SMALL:
            self.patched.setattr(module, name, value)
        self.directory = Path(tempfile.mkdtemp())
        self.model: list[Message] = []
        self.records: dict[tuple[str, str], bytes] = {}
        self.keys: list[Entry] = []
        self.end = 0
        self.time = 1_000.0
        self.epoch = ""
        self.open()

    def teardown(self) -> None:
        self.reading.close()
        self.disk.close()
        shutil.rmtree(self.directory)
        self.patched.undo()

    def open(self) -> None:
        self.disk = Disk(self.directory / "comet.db", "commit")
        kept, renewed, damage = open_disk(self.disk, 10**9, 0.0, succeeding=False)
        assert (renewed, damage) == (False, "")
        assert (kept.past.end, kept.past.next_offset) == (self.end, self.end + 1)
        assert kept.past.forgotten == self.disk.trimmed
        assert self.epoch in ("", kept.past.epoch)
        self.epoch = kept.past.epoch
        assert list(kept.messages) == self.model
        assert {(each.kind, each.name): each.body for each in kept.records} == self.records
        assert list(kept.keys) == self.keys
        self.reading = Reading(self.disk)
        self.reading.connect(self.disk.path)

    @rule(
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=6),
        size=st.sampled_from([0, 0, 40, 400]),
        keyed=st.booleans(),
        holes=st.integers(0, 2),
        careful=st.booleans(),
    )
    def append(self, topics: Sequence[str], size: int, keyed: bool, holes: int, careful: bool) -> None:
        self.time += 1
        first = self.end + 1 + holes
        messages = [
            Message(topic, b"%d%b" % (offset, b"." * size), "", self.time, offset)
            for offset, topic in enumerate(topics, first)
        ]
        keys = [Entry(topics[0], f"key {first}", first, self.time)] if keyed else []
        self.disk.write(Group(messages, keys), careful=careful)
        self.end = messages[-1].offset
        self.keys += keys
        self.model += [message for message in messages if message.topic[0] != "$"]

    @rule(bodies=st.dictionaries(st.sampled_from("xyz"), st.sampled_from([b"", b"1", b"2", None]), min_size=1))
    def put(self, bodies: dict[str, bytes | None]) -> None:
        self.disk.write(Group(records={("consumer", name): body for name, body in bodies.items()}))
        for name, body in bodies.items():
            if body is None:
                self.records.pop(("consumer", name), None)
            else:
                self.records["consumer", name] = body

    @rule()
    def stop_and_start(self) -> None:
        self.reading.close()
        self.disk.close()
        self.open()

    @rule()
    def be_killed_and_start(self) -> None:
        self.reading.close()
        self.disk.connection.close()
        self.disk.lock.release()
        self.open()

    @rule()
    def fail(self) -> None:
        """A commit that cannot be made leaves everything as it was."""
        other = sqlite3.connect(self.disk.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.disk.connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError):
            self.disk.write(Group([Message("a", b"refused", "", self.time, self.end + 1)]))
        with pytest.raises(sqlite3.OperationalError):
            self.disk.write(Group([Message("a", b"." * 1000, "", self.time, self.end + 1)]))
        other.close()

    @rule()
    def merge(self) -> None:
        if self.disk.tail.messages:
            self.disk.merge()

    @rule(age=st.integers(0, 10), most=st.sampled_from([0, 10**9]))
    def trim(self, age: int, most: int) -> None:
        before = self.disk.trimmed
        trimming = Trimming(self.disk, Limits(age, most, 10**9))
        while trimming.step(self.time, idle=True):
            assert trimming.oldest <= self.time
        assert self.disk.trimmed >= before
        if most == 0:
            assert self.disk.trimmed == self.disk.tail.after
        self.model = [message for message in self.model if message.offset > self.disk.trimmed]
        assert not self.model or trimming.oldest >= self.time - age

    @rule(patterns=wishes, after=offsets, until=offsets, limit=limits)
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

    @rule(patterns=wishes, after=offsets, until=offsets, limit=limits)
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

    @rule(patterns=wishes, until=offsets, count=st.integers(0, 30))
    def before_newest(self, patterns: list[str], until: int, count: int) -> None:
        until = min(until, self.end)
        found = self._wanted(patterns, 0, until)[-count:] if count else []
        wanted = found[0].offset - 1 if found else until
        assert self.reading.before_newest(parse_patterns(patterns), until, count) == wanted

    @invariant()
    def counts(self) -> None:
        for topic in TOPICS:
            assert self.reading.count(topic) == sum(message.topic == topic for message in self.model)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        """Of what was trimmed neither places nor topics stay."""
        execute = self.disk.connection.execute
        assert execute("SELECT count(*) FROM places WHERE block NOT IN (SELECT last FROM blocks)").fetchone() == (0,)
        assert execute("SELECT count(*) FROM topics WHERE id NOT IN (SELECT topic FROM places)").fetchone() == (0,)

    def _wanted(self, patterns: list[str], after: int, until: int) -> list[Message]:
        parsed = parse_patterns(patterns)
        return [
            message
            for message in self.model
            if after < message.offset <= until and any(pattern.matches(message.topic) for pattern in parsed)
        ]


TestDisk = DiskMachine.TestCase
TestDisk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
