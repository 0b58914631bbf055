"""Patterns as SQL: SQLite finds the topics that the patterns match."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from comet.store.wanted import of_ids, wanted
from comet.topics import Pattern

segments = st.sampled_from(["a", "b", "A", "[a]", "?", "a?", "[", "]", "^", "ü", "0", ".", "%", "_", "a\u00e4b"])
topics = st.lists(segments, min_size=1, max_size=5).map("/".join)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    """A pattern with stars or without."""
    parts = draw(st.lists(segments | st.just("*"), max_size=4))
    return Pattern.parse("/".join([*parts, draw(segments | st.sampled_from(["*", "**"]))]))


@given(st.lists(patterns(), min_size=1, max_size=3), st.lists(topics, unique=True, max_size=20))
def test_condition_is_what_the_patterns_mean(sought: list[Pattern], names: list[str]) -> None:
    """A strict condition selects the topics that match, any other one those and perhaps some more."""
    want = wanted(sought)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO topics (name) VALUES (?)", [(name,) for name in names])
        rows = connection.execute(f"SELECT name FROM topics WHERE {want.condition}", want.values).fetchall()
    found = {name for (name,) in rows}
    matching = {name for name in names if any(pattern.matches(name) for pattern in sought)}
    assert found == matching if want.strict else found >= matching


def test_ids() -> None:
    """Topics can be selected by what they are called in the file, too."""
    want = of_ids([1, 3])
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO topics (name) VALUES (?)", [("a",), ("b",), ("c",)])
        rows = connection.execute(f"SELECT name FROM topics WHERE {want.condition}", want.values).fetchall()
    assert rows == [("a",), ("c",)]
