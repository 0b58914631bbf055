"""From a request's query and headers to what it wants: pure, and strict, because a misspelt parameter that is ignored
loses messages silently.

``PARAMETERS`` is the table of what a query may say, for subscribing. Every value is checked here; nothing behind this
module looks at a query again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from comet.audience import Interest, Key
from comet.config import LARGEST_LIMIT, Config
from comet.errors import BadParameter, shown
from comet.framing.iframe import check_callback, check_origin
from comet.log import Since, parse_since
from comet.topics import patterns_of
from comet.transports import Transport, Wishes, accepted, check_format, named

LARGEST_PADDING = 65_536
LONGEST_PACE = 60_000
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_FLAGS = {"": True, "1": True, "true": True, "0": False, "false": False}


class Asked(NamedTuple):
    """The parts of a request that say what is wanted. ``patterns`` are those of the path."""

    patterns: Sequence[str]
    query: Mapping[str, Sequence[str]]
    accept: str = ""
    last_event_id: str = ""
    upgrade: bool = False


class Parameter(NamedTuple):
    """A row of the table: what ``help`` says it is; ``repeats`` if it may be there more than once."""

    name: str
    help: str
    repeats: bool = False


PARAMETERS = (
    Parameter("topic", "A topic or pattern, beside the one in the path.", repeats=True),
    Parameter("transport", "How messages come: one of the transports. Without it the Accept header says."),
    Parameter("since", "Where to start: now, first, last, -N, or a position."),
    Parameter("wait", "poll: seconds to hold the request until a message comes; 0 answers at once."),
    Parameter("limit", "The most messages in one answer or page."),
    Parameter("format", "json or raw: whether a message comes as an object or as its payload alone."),
    Parameter("conflate", "A flag: only the newest message of each topic matters."),
    Parameter("pace", "The least time between two writes, in milliseconds."),
    Parameter("padding", "Bytes of leading padding, for what buffers the beginning of a response."),
    Parameter("callback", "iframe: the function of the parent page that is given the messages."),
    Parameter("origin", "iframe: the origin of the parent page, if it is another; it must be allowed."),
    Parameter("token", "Reserved for access tokens."),
    Parameter("_", "Ignored, so that it may keep a cache from answering."),
)

_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def negotiate(asked: Asked, config: Config) -> tuple[Transport, Interest]:
    """Return the transport and the interest that ``asked`` comes to, or raise a
    :exc:`~comet.errors.CometError` that says what is wrong."""
    values = _single_values(asked.query)
    transport = _transport(asked, values.get("transport"))
    key = Key(
        patterns=patterns_of((*asked.patterns, *asked.query.get("topic", ())), config.max_patterns),
        framing=transport.framing(_wishes(transport, values, config)),
        transport=transport.name,
        delivery=transport.delivery,
        conflate=_flag(values, "conflate", transport.conflated),
        pace=_number(values, "pace", 0, 0, LONGEST_PACE) / 1000,
    )
    return transport, Interest(
        key,
        since=_since(asked, values),
        limit=round(_number(values, "limit", config.page_messages, 1, LARGEST_LIMIT)),
        wait=_number(values, "wait", min(config.silence, config.max_wait), 0, config.max_wait),
    )


def _single_values(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    for name, values in query.items():
        parameter = _BY_NAME.get(name)
        if parameter is None:
            near = difflib.get_close_matches(name, _BY_NAME, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadParameter(f"there is no parameter {shown(name)}{hint}")
        if len(values) > 1 and not parameter.repeats:
            raise BadParameter(f"the parameter {name} is there {len(values)} times")
    return {name: values[0] for name, values in query.items() if values}


def _transport(asked: Asked, name: str | None) -> Transport:
    if asked.upgrade and name in (None, "websocket"):
        return named("websocket")
    return accepted(asked.accept) if name is None else named(name)


def _wishes(transport: Transport, values: Mapping[str, str], config: Config) -> Wishes:
    padding = None
    if "padding" in values:
        padding = round(_number(values, "padding", 0, 0, LARGEST_PADDING))
    origin = _checked(values, "origin", check_origin, "")
    if origin and origin not in config.origin:
        raise BadParameter(f"origin={shown(origin)} is not allowed; the operator can list it with --origin")
    return Wishes(
        format=check_format(transport, values.get("format", transport.formats[0])),
        padding=padding,
        callback=_checked(values, "callback", check_callback, "comet"),
        origin=origin,
        retry=config.retry,
    )


def _since(asked: Asked, values: Mapping[str, str]) -> Since:
    # The header beats the query: a reconnecting EventSource repeats its old URL.
    return parse_since(asked.last_event_id or values.get("since", "now"))


def _checked(values: Mapping[str, str], name: str, check: Callable[[str], str], default: str) -> str:
    return check(values[name]) if name in values else default


def _flag(values: Mapping[str, str], name: str, default: bool) -> bool:
    if name not in values:
        return default
    flag = _FLAGS.get(values[name].lower())
    if flag is None:
        raise BadParameter(f"{name}={shown(values[name])}: it is a flag, 1 or 0")
    return flag


def _number(values: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = values.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None or not least <= float(text) <= most:
        raise BadParameter(f"{name}={shown(text)}: it is a number from {least:g} to {most:g}")
    return float(text)
