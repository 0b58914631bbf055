"""THE table of transports: a name, how messages become bytes, and how a subscription is spent on its writer.

A new transport is a module in ``framing/``, a row here, and a row in the framing contract test.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from comet.delivery import ONE_SHOT, STREAMING, Delivery
from comet.errors import BadParameter, UnknownTransport, shown
from comet.framing.iframe import Iframe
from comet.framing.lines import Lines
from comet.framing.mixed import Mixed
from comet.framing.multipart import Multipart
from comet.framing.poll import Poll
from comet.framing.sse import FORMATS, Sse
from comet.framing.text import Text
from comet.interfaces import Framing

BOUNDARY = secrets.token_hex(16)
"""What separates parts, drawn once per process: no payload can hold it by chance, and all streams share their bytes."""


RESP = "resp"
"""What the subscriptions of the TCP port are counted as. It has no row: no HTTP request can ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a request may say about its framing. ``padding`` is None for the transport's own; ``retry`` is in ms."""

    format: str = "json"
    padding: int | None = None
    callback: str = "comet"
    origin: str = ""
    retry: int = 2000


class Transport(NamedTuple):
    """A row of the table. ``accepts`` are the media types of an ``Accept`` header that mean it; ``conflated`` says
    that only the newest message per topic is wanted unless the request says otherwise."""

    name: str
    delivery: Delivery
    framing: Callable[[Wishes], Framing]
    accepts: tuple[str, ...] = ()
    conflated: bool = False
    formats: tuple[str, ...] = ("json",)


def _padded(wishes: Wishes) -> dict[str, Any]:
    return {} if wishes.padding is None else {"padding": wishes.padding}


TRANSPORTS = (
    Transport("poll", ONE_SHOT, lambda _: Poll()),
    Transport("stream", STREAMING, lambda wishes: Lines(**_padded(wishes)), ("application/x-ndjson",)),
    Transport(
        "sse",
        STREAMING,
        lambda wishes: Sse(format=wishes.format, retry=wishes.retry, **_padded(wishes)),
        ("text/event-stream",),
        formats=tuple(FORMATS),
    ),
    Transport(
        "iframe",
        STREAMING,
        lambda wishes: Iframe(callback=wishes.callback, origin=wishes.origin, **_padded(wishes)),
        ("text/html",),
    ),
    Transport(
        "multipart",
        STREAMING,
        lambda wishes: Multipart(boundary=BOUNDARY, **_padded(wishes)),
        ("multipart/x-mixed-replace", "image/*"),
        conflated=True,
        formats=("raw",),
    ),
    Transport("mixed", STREAMING, lambda _: Mixed(BOUNDARY), ("multipart/mixed",), formats=("raw",)),
    Transport("websocket", STREAMING, lambda _: Text()),
)

_UNWANTED = re.compile(r";\s*q=0(\.0{0,3})?\s*(;|$)", re.IGNORECASE)  # RFC 9110, section 12.4.2

BY_NAME = {transport.name: transport for transport in TRANSPORTS}


def named(name: str) -> Transport:
    """Return the transport of that name, or raise :exc:`~comet.errors.UnknownTransport`."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownTransport(f"there is no transport {shown(name)}; there are {', '.join(BY_NAME)}") from None


def accepted(accept: str) -> Transport:
    """Return the transport that an ``Accept`` header means: the first media type that the table knows, else poll."""
    for media_range in accept.split(","):
        if _UNWANTED.search(media_range):
            continue
        media_type = media_range.split(";")[0].strip().lower()
        for transport in TRANSPORTS:
            if media_type in transport.accepts or (media_type.startswith("image/") and "image/*" in transport.accepts):
                return transport
    return BY_NAME["poll"]


def check_format(transport: Transport, format_: str) -> str:
    """Return ``format_`` if the transport knows it, or raise :exc:`~comet.errors.BadParameter`."""
    if format_ not in transport.formats:
        known = " or ".join(transport.formats)
        raise BadParameter(f"format={shown(format_)}: the transport {transport.name} has {known}")
    return format_
