"""What is sent to somebody else's server, within which bounds, and what comes back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


def anywhere(host: str) -> None:
    """Every address may be connected to: it was the operator who chose it."""


class Bounds(NamedTuple):
    """How a request may be made: within ``timeout`` seconds, which the setting of that name says, and to addresses for
    which ``check`` does not raise :exc:`~comet.errors.AddressRefused`."""

    timeout: float
    setting: str
    check: Callable[[str], None] = anywhere


class Asked(NamedTuple):
    """What is sent: a GET, or a POST if there is a ``body``."""

    url: str
    headers: Mapping[bytes, bytes]
    body: bytes | None = None


class Reply(NamedTuple):
    """What a server answered. The names of ``headers`` are in lower case; ``body`` is None if there was more of it than
    is read."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class NoReply(Exception):
    """There is no answer, or only a part of one. Its text is one line for people."""
