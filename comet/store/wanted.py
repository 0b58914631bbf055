"""Patterns as a condition on the table of topics, so that SQLite finds them, and not this process's interpreter.

In GLOB a ``*`` stands for slashes too; but a name with as many slashes as the pattern leaves none to the stars. Only
with ``**`` at the end, which may have more, a name can be taken for another, if a segment follows a star:
``a/*/b/**`` finds ``a/x/y/b/z``. Such a condition is not ``strict``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from comet.message import Message
from comet.topics import Pattern


class Wanted(NamedTuple):
    """A condition on rows of ``topics``, with its parameters."""

    condition: str
    values: dict[str, object]
    strict: bool = True


def wanted(patterns: Sequence[Pattern]) -> Wanted:
    """Return what selects the topics of ``patterns``."""
    names = [pattern.text for pattern in patterns if pattern.exact]
    values: dict[str, object] = {"names": json.dumps(names)}
    conditions = ["name IN (SELECT value FROM json_each(:names))"] if names else []
    strict = True
    for number, pattern in enumerate(pattern for pattern in patterns if not pattern.exact):
        conditions.append(" AND ".join(_conditions(pattern, number, values)))
        strict &= _is_strict(pattern)
    return Wanted(" OR ".join(f"({condition})" for condition in conditions), values, strict)


def of_ids(ids: Sequence[int]) -> Wanted:
    """Return what selects the topics that have these ids."""
    return Wanted("id IN (SELECT value FROM json_each(:ids))", {"ids": json.dumps(ids)})


def matching(messages: Iterable[Message], patterns: Sequence[Pattern]) -> Iterator[Message]:
    """Yield those of ``messages`` that are of ``patterns``, looking at each topic once."""
    known: dict[str, bool] = {}
    for message in messages:
        topic = message.topic
        match = known.get(topic)
        if match is None:
            match = known[topic] = is_any(patterns, topic)
        if match:
            yield message


def is_any(patterns: Sequence[Pattern], topic: str) -> bool:
    """Whether one of ``patterns`` matches ``topic``."""
    return any(pattern.matches(topic) for pattern in patterns)


def _conditions(pattern: Pattern, number: int, values: dict[str, object]) -> Iterator[str]:
    segments = pattern.segments
    literal = segments[: next(place for place, segment in enumerate(segments) if segment[0] == "*")]
    if literal:
        prefix = "/".join(literal)
        values |= {f"from{number}": f"{prefix}/", f"to{number}": f"{prefix}0"}  # 0 is what comes after /
        yield f"name >= :from{number} AND name < :to{number}"
    values |= {f"glob{number}": _glob(pattern), f"slashes{number}": len(segments) - 1}
    yield f"name GLOB :glob{number}"
    comparison = ">=" if segments[-1] == "**" else "="
    yield f"length(name) - length(replace(name, '/', '')) {comparison} :slashes{number}"


def _glob(pattern: Pattern) -> str:
    text = pattern.text.replace("[", "[[]").replace("?", "[?]")
    return text.removesuffix("*") if pattern.segments[-1] == "**" else text


def _is_strict(pattern: Pattern) -> bool:
    between = pattern.segments[:-1]
    after_star = between[between.index("*") :] if "*" in between else ()
    return pattern.segments[-1] != "**" or all(segment == "*" for segment in after_star)
