"""How the values of settings are written, and read: a :class:`Kind` for each sort of value. Pure.

Each parser returns the value, or raises ValueError with what is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

from comet.errors import BadPattern
from comet.topics import Pattern

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_NAMES = {"ms": "milliseconds", "s": "seconds"}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?(ms|s|m|h)?", re.ASCII)
_BYTES = {"": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_SIZE = re.compile(r"([0-9]{1,18}) ?(KiB|MiB|GiB)?", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_URL = re.compile(r"https?://[^\s/@]+(/\S*)?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.ASCII)
_DEFAULT_PORTS = {("http", ":80"), ("https", ":443")}


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise ValueError("write a whole number, such as 100")
    return int(text)


def _milliseconds(text: str, plain: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"write a time in {_NAMES[plain]}, or with its unit, such as 250ms, 25s, 2m or 1h")
    return float(match[1]) * _MILLISECONDS[match[2] or plain]


def _seconds(text: str) -> float:
    return round(_milliseconds(text, "s") / 1000, 6)  # as precisely as it is written back


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("write bytes, or a number of KiB, MiB or GiB, such as 64KiB")
    return int(match[1]) * _BYTES[(match[2] or "").lower()]


def _endpoint(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write it in UTF-8, without control characters")
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("write a host name without scheme and port, such as push.example.org")
    return text.lower()


def _origin(text: str) -> str:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise ValueError("write scheme, host and port if any, without a path, such as https://shop.example")
    # A browser leaves the default port out of the Origin that it sends.
    return match[0].removesuffix(match[2]) if (match[1], match[2]) in _DEFAULT_PORTS else match[0]


def _store(text: str) -> str:
    if text == "memory:":
        return text
    path = text.removeprefix("sqlite:")
    if path in ("", text) or not path.isprintable():
        raise ValueError("write memory: or sqlite: and the path of a file, such as sqlite:/var/lib/comet/comet.db")
    return f"sqlite:{Path(path).absolute()}"  # twistd changes its directory


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError("write an address or a network, such as 127.0.0.1 or 10.0.0.0/8") from None


def _anonymous(text: str) -> str:
    match = re.fullmatch(r"(publish|subscribe)[: ](.+)", text)
    if match is None:
        raise ValueError("write publish: or subscribe: and a topic or pattern, such as subscribe:news/**")
    try:
        return f"{match[1]}:{Pattern.parse(match[2]).text}"
    except BadPattern as error:
        raise ValueError(error.detail) from None


def _key(text: str) -> str:
    if _URL.fullmatch(text):
        return text
    if not text.isprintable() or not text:
        raise ValueError("write the path of a file, or the URL of a JWKS")
    return str(Path(text).absolute())  # twistd changes its directory


def _url(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise ValueError("write a URL without name and password, such as http://127.0.0.1:8000/comet/authorize")
    return text


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write text without control characters")
    return text


def _header(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9-]{1,64}", text):
        raise ValueError("write the name of a header, such as Cookie")
    return text.lower()


def _cookie(text: str) -> str:
    if text != "none" and not re.fullmatch("__(Host|Secure)-[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("write a name that begins with __Host- or __Secure-, such as __Host-comet, or none")
    return text


def _socket(text: str) -> str:
    if text not in ("auto", "none") and not re.fullmatch(r"[@/][^\x00-\x1f]{1,100}", text):
        raise ValueError("write the path of a UNIX socket, @ and a name, none, or auto")
    return text


def _written_milliseconds(value: float) -> str:
    for unit in ("h", "m", "s"):
        if value and value % _MILLISECONDS[unit] == 0:
            return f"{round(value) // _MILLISECONDS[unit]}{unit}"
    return f"{value:.3f}".rstrip("0").rstrip(".") + "ms"


def _written_seconds(value: float) -> str:
    return _written_milliseconds(round(value * 1000, 3))


def _written_size(value: int) -> str:
    for unit, bytes_ in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if value and value % bytes_ == 0:
            return f"{value // bytes_}{unit}"
    return str(value)


class Kind(NamedTuple):
    """A way to write a value: ``unit`` for people, ``parse`` from text, ``write`` back to it; ``bare`` if it needs no
    quotes in a settings file, where it is a number, or true or false."""

    unit: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str
    bare: bool = False


COUNT = Kind("", _count, bare=True)
SECONDS = Kind("seconds", _seconds, _written_seconds, bare=True)
MILLISECONDS = Kind("milliseconds", lambda text: round(_milliseconds(text, "ms")), _written_milliseconds, bare=True)
SIZE = Kind("bytes", _size, _written_size, bare=True)
ENDPOINT = Kind("endpoint", _endpoint)
HOST = Kind("host name", _host)
ORIGIN = Kind("origin", _origin)
STORE = Kind("URL", _store)
SOCKET = Kind("socket", _socket)
NETWORK = Kind("network", _network)
ANONYMOUS = Kind("publish: or subscribe: and a pattern", _anonymous)
KEY = Kind("path or URL", _key)
URL = Kind("URL", _url)
TEXT = Kind("text", _text)
HEADER = Kind("header", _header)
COOKIE = Kind("cookie", _cookie)


def one_of(choices: tuple[str, ...]) -> Kind:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return text

    return Kind(", ".join(choices), parse)
