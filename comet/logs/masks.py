"""What may be shown to people and kept in files: text without secrets, and without anything that is not text. Pure.

A log is read in terminals and by programs, and peers choose much of what stands in it: a path, a header, an error that
quotes either. The traps: a line break forges a line, an escape sequence drives a terminal, a right-to-left mark shows a
line that is none, and a token in a query stays valid after it was written down.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = "***"

SECRETS = ("token", "access_token", "authorization")
"""Parameters of a query that are secrets."""

# C0, DEL, C1; line and paragraph separators; marks and overrides of direction; lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PARAMETER = re.compile(
    r"(?i)(?:(?<![a-z0-9])|(?<=%26)|(?<=%3f))((?:access_?)?token|authorization)(=|%3d|['\"]\s*:\s*['\"]?)[^&;#\s'\"]+"
)
_HEADER = re.compile(r"(?i)(?<![a-z0-9])((?:proxy-)?authorization|(?:set-)?cookie)(\\?['\"]?\s*[:,]\s*)[^\r\n]+")
_SCHEME = re.compile(r"(?i)(?<![a-z0-9])(bearer|basic) +(?=[a-z._~+/-]*[0-9=])[a-z0-9._~+/=-]{8,}")


def masked(text: str) -> str:
    """Return ``text`` with :data:`MASK` in place of what looks like a secret parameter or header."""
    text = _PARAMETER.sub(rf"\1\2{MASK}", text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    return _SCHEME.sub(rf"\1 {MASK}", text)


def masked_target(target: str) -> str:
    """Return the target of a request with :data:`MASK` in place of the values of secret parameters, however their names
    are spelt."""
    path, mark, query = target.partition("?")
    if not mark:
        return target
    return f"{path}?{'&'.join(map(_masked_item, query.split('&')))}"


def printable(text: str) -> str:
    """Return ``text`` with every character that is not shown as itself written as an escape."""
    return _UNPRINTABLE.sub(_escape, text)


def _masked_item(item: str) -> str:
    name, equals, _ = item.partition("=")
    return f"{name}{equals}{MASK}" if unquote(name).strip("+ ").lower() in SECRETS else item


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
