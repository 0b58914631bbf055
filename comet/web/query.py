"""The queries of what people and monitors ask: each parameter is known, and there once."""

from __future__ import annotations

from typing import Any

from comet.errors import BadParameter, shown

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 10_000


def parameters(request: Any, known: tuple[str, ...]) -> dict[str, str]:
    """The query, which has no more than what is ``known``, each once."""
    values = {}
    for name, given in request.args.items():
        text = name.decode("utf-8", "replace")
        if text not in known:
            raise BadParameter(f"there is no parameter {shown(text)} here; there is {', '.join(known) or 'none'}")
        if len(given) > 1:
            raise BadParameter(f"the parameter {text} is there {len(given)} times")
        values[text] = given[0].decode("utf-8", "replace")
    return values


def limit_of(values: dict[str, str]) -> int:
    """The parameter ``limit``, or :data:`DEFAULT_LIMIT`."""
    text = values.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= LARGEST_LIMIT):
        raise BadParameter(f"limit={shown(text)}: it is a number from 1 to {LARGEST_LIMIT}")
    return int(text)


def choice(values: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The value of the parameter, which is one of ``choices``; empty if it is not there."""
    if name in values and values[name] not in choices:
        raise BadParameter(f"{name}={shown(values[name])}: it is one of {', '.join(choices)}")
    return values.get(name, "")
