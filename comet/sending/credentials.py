"""The token with which a program says who it is, where the daemon wants to know.

A command has it from ``COMET_TOKEN``: what stands among its arguments can be seen by everybody on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable

VARIABLE = "COMET_TOKEN"

Token = str | Callable[[], str] | None
"""A token, what gives the current one, or none."""


class Denied(Exception):
    """The daemon does not take the token; its text says why. Another try with the same one is denied again."""

    code = "bad_token"


def current(token: Token) -> str:
    """The token to send now; empty if there is none. Raises ValueError for what cannot be one."""
    text = token() if callable(token) else token or ""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("the token has characters that no token has")
    return text


def of_environment() -> str:
    """The token of this process; empty if it has none."""
    try:
        return current(os.environ.get(VARIABLE))
    except ValueError as error:
        raise SystemExit(f"comet: {VARIABLE}: {error}") from None


def authorization(token: Token) -> dict[str, str]:
    """The header of a request that says it."""
    text = current(token)
    return {"Authorization": f"Bearer {text}"} if text else {}
