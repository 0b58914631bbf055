"""Reads what the TCP port writes, as a Redis client does."""

from __future__ import annotations

from typing import Any


class Push(list[Any]):
    """What is no reply, in RESP3."""


class Refusal(str):
    """An error."""

    __slots__ = ()


def values(data: bytes) -> list[Any]:
    """Return what ``data`` says; it ends where a value ends."""
    found: list[Any] = []
    at = 0
    while at < len(data):
        value, at = _value(data, at)
        found.append(value)
    return found


def _value(data: bytes, at: int) -> tuple[Any, int]:
    end = data.index(b"\r\n", at)
    kind, rest, after = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"+":
        return rest.decode(), after
    if kind == b"-":
        return Refusal(rest.decode()), after
    if kind == b":":
        return int(rest), after
    if kind == b"_" or rest == b"-1":
        return None, after
    size = int(rest)
    if kind == b"$":
        assert data[after + size : after + size + 2] == b"\r\n", "cut off within a text"
        return data[after : after + size], after + size + 2
    assert kind in b"*>%", f"{data[at : at + 20]!r} begins no value"
    items: list[Any] = Push() if kind == b">" else []
    for _ in range(size * (2 if kind == b"%" else 1)):
        item, after = _value(data, after)
        items.append(item)
    return items, after
