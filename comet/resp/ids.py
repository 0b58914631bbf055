"""What the commands that read are asked: topics, ids, ``COUNT`` and ``BLOCK``::

    id       = position                                  ; 5f0c1a2b-1042, as XADD and each entry say it
             / "$" / "+" / "0" / "0-0"                   ; XREAD: from now on, the newest one, from the beginning
    bound    = ["("] position / "-" / "0" / "0-0" / "+"  ; XRANGE: "(" leaves that one out
    options  = *( "COUNT" number / "BLOCK" milliseconds / flag )
    streams  = "STREAMS" n * topic  n * id

To clients an id is an opaque text. The trap: an id of another life of the log. What follows it cannot be known, so it
is not an error but a gap, which the reader is told of; only as the end of a range it makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from comet.drafts import topic_of
from comet.errors import BadSince, BadTopic, TooManyPatterns, WrongArguments, shown
from comet.log import Log, Since
from comet.message import Position
from comet.topics import Pattern

MOST = 10_000
"""Entries of one topic that one command can ask for."""

_BEGINNING = ("-", "0", "0-0")
_LARGEST = 10**15


class Options(NamedTuple):
    """What stands before ``STREAMS``: how many entries of each topic are wanted (0 if that is not said), how many
    seconds to wait for one (None for not at all, 0 for ever), the flags; and what stands behind."""

    limit: int
    wait: float | None
    flags: frozenset[bytes]
    rest: Sequence[bytes]


def text_of(raw: bytes) -> str:
    """Return what ``raw`` says, as it may be shown."""
    return raw.decode(errors="backslashreplace")


def topic(raw: bytes) -> Pattern:
    """Return a topic that is to be read; the daemon's own may be. Raises :exc:`~comet.errors.BadTopic`."""
    text = topic_of(raw)
    if "*" in text:
        raise BadTopic(f"{shown(text)} is not a topic: it has a '*'; to listen to a pattern there is PSUBSCRIBE")
    return Pattern.parse(text)


def number(raw: bytes, name: str) -> int:
    """Return the number that stands behind ``name``. Raises :exc:`~comet.errors.WrongArguments`."""
    if not raw.isdigit() or len(raw) > 15:
        raise WrongArguments(f"{name} {shown(text_of(raw))}: a number is wanted, from 0 to {_LARGEST - 1}")
    return int(raw)


def options(words: Sequence[bytes], *flags: bytes) -> Options:
    """Read ``words`` as far as ``STREAMS``. Raises :exc:`~comet.errors.WrongArguments`."""
    values: dict[bytes, int] = {}
    seen: set[bytes] = set()
    index = 0
    while index < len(words):
        word = words[index].upper()
        if word == b"STREAMS":
            block = values.get(b"BLOCK")
            wait = None if block is None else block / 1000
            return Options(values.get(b"COUNT", 0), wait, frozenset(seen), words[index + 1 :])
        if word in flags:
            seen.add(word)
            index += 1
            continue
        if word not in (b"COUNT", b"BLOCK") or index + 1 == len(words):
            known = ", ".join(("COUNT n", "BLOCK ms", *(flag.decode() for flag in flags)))
            raise WrongArguments(f"{shown(text_of(words[index]))} where {known} or STREAMS was expected")
        values[word] = number(words[index + 1], word.decode())
        index += 2
    raise WrongArguments("STREAMS is missing: it is followed by the topics, then by as many ids")


def streams(rest: Sequence[bytes], most: int) -> tuple[list[Pattern], Sequence[bytes]]:
    """Split what stands behind ``STREAMS`` into topics, at most ``most``, and ids. Raises
    :exc:`~comet.errors.WrongArguments`, :exc:`~comet.errors.BadTopic` or :exc:`~comet.errors.TooManyPatterns`."""
    if not rest or len(rest) % 2:
        raise WrongArguments(f"STREAMS: topics and then as many ids are wanted, but there are {len(rest)} of both")
    middle = len(rest) // 2
    if middle > most:
        raise TooManyPatterns(f"{middle} topics in one command; at most {most} are allowed (max-patterns)")
    topics = [topic(raw) for raw in rest[:middle]]
    if len(set(topics)) != len(topics):
        raise WrongArguments("STREAMS: a topic is there twice")
    return topics, rest[middle:]


def since(raw: bytes, log: Log) -> Since:
    """Return behind which place an id says to begin. Raises :exc:`~comet.errors.BadSince`."""
    text = text_of(raw)
    if text == "$":
        return log.position(log.end)
    if text in _BEGINNING:
        return "first"
    if text == "+":
        return 1
    return _position(text, "$ (from now on), 0 (from the beginning), + (the newest)")


def after(raw: bytes, log: Log) -> Since:
    """Return behind which place a range begins. Raises :exc:`~comet.errors.BadSince`."""
    exclusive, text = _bound(raw)
    if text in _BEGINNING:
        return "first"
    if text == "+":
        return log.position(log.end)
    position = _position(text, "-, +")
    if exclusive or position.epoch != log.epoch:
        return position
    return log.position(max(0, position.offset - 1))


def until(raw: bytes, log: Log) -> int:
    """Return the offset with which a range ends. Raises :exc:`~comet.errors.BadSince`."""
    exclusive, text = _bound(raw)
    if text in _BEGINNING:
        return 0
    if text == "+":
        return log.end
    position = _position(text, "-, +")
    if position.epoch != log.epoch:
        raise BadSince(f"{shown(text)} is of another life of the log, so nothing ends there; + is the end")
    return min(log.end, position.offset - exclusive)


def _bound(raw: bytes) -> tuple[bool, str]:
    text = text_of(raw)
    return text.startswith("("), text.removeprefix("(")


def _position(text: str, others: str) -> Position:
    try:
        return Position.parse(text)
    except BadSince:
        raise BadSince(f"{shown(text)} is no id: wanted is {others}, or one like 5f0c1a2b-1042") from None
