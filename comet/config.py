"""Every setting, once: its default, its help, how it is written and what it may be.

The flags of ``twistd comet``, the ``COMET_*`` variables, the names in a settings file and the reference page all derive
from the fields of :class:`Config`. The trap is a setting that is mirrored somewhere and drifts: add a field here, and
nothing elsewhere. Where the values come from is the affair of ``sources.py``; ``reloading.py`` leaves those alone that
are not ``live``, because they need a new process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

from comet.errors import BadPattern, shown
from comet.topics import Pattern

PREFIX = "COMET_"
"""What the environment variable of a setting starts with."""

LARGEST_LIMIT = 10_000
"""The most messages that one answer or page may be asked to hold."""


class BadSetting(Exception):
    """A setting that cannot be used. Its text is one line: the name, the value, and what is right."""


# How a value is written. Each parser raises ValueError with what is right.

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_NAMES = {"ms": "milliseconds", "s": "seconds"}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?(ms|s|m|h)?", re.ASCII)
_BYTES = {"": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_SIZE = re.compile(r"([0-9]{1,18}) ?(KiB|MiB|GiB)?", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\]", re.ASCII)
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
    if re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        return text
    if not text.isprintable() or not text:
        raise ValueError("write the path of a file, or the URL of a JWKS")
    return str(Path(text).absolute())  # twistd changes its directory


def _url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError("write a URL, such as http://127.0.0.1:8000/comet/authorize")
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


DURABILITIES = ("commit", "fsync")
LOCAL = ("all", "anonymous")

LOG_FORMATS = ("human", "json")
LOG_LEVELS = ("debug", "info", "warn", "error")
ACCESS_LOGS = ("none", "refused", "all")


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


def _one_of(choices: tuple[str, ...]) -> Kind:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return text

    return Kind(", ".join(choices), parse)


class Setting(NamedTuple):
    """What the rest of Comet derives from a field of :class:`Config`; ``live`` if it may change while a daemon runs."""

    field: str
    default: Any
    help: str
    kind: Kind
    range: tuple[float, float]
    live: bool

    @property
    def name(self) -> str:
        """The name as it is written after ``--``."""
        return self.field.replace("_", "-")

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.field.upper()

    @property
    def repeats(self) -> bool:
        """Whether the setting is a list: its flag may be repeated, its variable is split at white space."""
        return isinstance(self.default, tuple)

    def written(self, value: Any) -> str:
        """Return ``value`` as a person would write it."""
        return " ".join(map(self.kind.write, value)) if self.repeats else self.kind.write(value)

    def parse(self, text: str | Iterable[str]) -> Any:
        """Return the value that ``text`` spells, or raise ValueError with what is right."""
        if self.repeats:
            texts = text.split() if isinstance(text, str) else filter(None, text)
            return tuple(map(self.kind.parse, texts))
        assert isinstance(text, str)
        return self.kind.parse(text)

    def check(self, value: Any) -> None:
        """Raise ValueError with what is right if ``value`` is out of range."""
        least, most = self.range
        if not self.repeats and not isinstance(value, str) and not least <= value <= most:
            raise ValueError(f"it is at least {self.kind.write(least)} and at most {self.kind.write(most)}")


def _count_of(default: int, text: str, most: int = 1_000_000_000) -> Any:
    return _field(default, text, COUNT, (1, most))


def _size_of(default: int, text: str) -> Any:
    return _field(default, text, SIZE, (1, 1024**4))


def _seconds_of(default: float, text: str, most: float = 86_400) -> Any:
    return _field(default, text, SECONDS, (0.001, most))


def _rate_of(default: int, text: str) -> Any:
    return _field(default, f"{text} 0: as many as come.", COUNT, (0, 1_000_000_000))


def _field(default: Any, text: str, kind: Kind, range_: tuple[float, float] = (0, 0), *, live: bool = True) -> Any:
    return field(default=default, metadata={"help": text, "kind": kind, "range": range_, "live": live})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one daemon is told. Durations are in seconds and sizes in bytes unless a help text says otherwise."""

    http: tuple[str, ...] = _field(
        ("tcp:7080:interface=127.0.0.1",),
        "Where HTTP and WebSocket are served: a Twisted endpoint.",
        ENDPOINT,
        live=False,
    )
    tcp: tuple[str, ...] = _field(
        ("tcp:7081:interface=127.0.0.1",), "Where publishers speak RESP: a Twisted endpoint.", ENDPOINT, live=False
    )
    host: tuple[str, ...] = _field(
        (), "A further name that HTTP requests may have in Host; the names of the loopback always may.", HOST
    )
    origin: tuple[str, ...] = _field(
        (), "A web origin whose pages may use this daemon, beside its own, such as https://shop.example.", ORIGIN
    )
    proxy: tuple[str, ...] = _field(
        (),
        "A reverse proxy, or a network of them: what it says of a client's address (X-Forwarded-For, PROXY) counts.",
        NETWORK,
    )

    key: tuple[str, ...] = _field(
        (),
        "A key that tokens are checked with: a file with a secret (HS256) or a public key in PEM (RS256, ES256, "
        "EdDSA), or the URL of a JWKS.",
        KEY,
    )
    audience: str = _field("", "The audience (aud) that tokens must be for; none if empty.", TEXT)
    issuer: str = _field("", "The issuer (iss) that tokens must be of; anyone with a key if empty.", TEXT)
    cookie: str = _field("__Host-comet", "The cookie in which a browser may carry its token; or none.", COOKIE)
    key_refresh: float = _seconds_of(600.0, "After how long the keys at a URL are fetched again.")
    authorize_url: str = _field(
        "", "Where the application says what a client without a token may do; nobody is asked if empty.", URL
    )
    authorize_header: tuple[str, ...] = _field(
        ("cookie",), "A header of the client that the application is shown, such as Cookie.", HEADER
    )
    authorize_timeout: float = _seconds_of(5.0, "How long the application may take to answer.", 60)
    anonymous: tuple[str, ...] = _field(
        (),
        "What anybody may do without a token: publish:PATTERN or subscribe:PATTERN.",
        ANONYMOUS,
    )
    local: str = _field(
        "all",
        "What programs on this machine may do without a token: all, or what anybody may (anonymous).",
        _one_of(LOCAL),
    )

    store: str = _field(
        "memory:",
        "Where messages are kept: memory: forgets them when the daemon stops, sqlite:PATH keeps them in a file.",
        STORE,
        live=False,
    )
    durability: str = _field(
        "commit",
        "What a stored message survives: the end of the process (commit), or of the power too (fsync, slower).",
        _one_of(DURABILITIES),
        live=False,
    )
    keep_seconds: float = _seconds_of(7 * 86_400.0, "How long a message is kept on disk.", 10 * 365 * 86_400)
    keep_bytes: int = _size_of(4 * 1024**3, "How much is kept on disk.")

    retain_messages: int = _count_of(1000, "How many messages are kept per topic.")
    retain_seconds: float = _seconds_of(3600.0, "How long a message is kept.", 10 * 365 * 86_400)
    retain_bytes: int = _size_of(256 * 1024**2, "How much is kept of all topics together.")
    key_window: float = _seconds_of(600.0, "How long an idempotency key is remembered.")
    max_keys: int = _count_of(1_000_000, "How many idempotency keys are remembered.")

    max_payload: int = _size_of(1024**2, "The largest payload of a message.")
    max_body: int = _size_of(8 * 1024**2, "The largest body of an HTTP request that publishes many messages.")
    max_head: int = _size_of(32 * 1024, "The largest request line with headers.")
    max_patterns: int = _count_of(100, "How many topics and patterns one subscription may name.")
    max_streams: int = _count_of(100_000, "How many held responses there may be at once.")
    max_consumers: int = _count_of(10_000, "How many acknowledged consumers there may be.", 1_000_000)
    page_messages: int = _count_of(
        500, "How many messages an answer or a page holds at most, unless the request says limit.", LARGEST_LIMIT
    )

    max_connections: int = _count_of(200_000, "How many connections there may be at once, of both faces together.")
    max_connections_per_address: int = _rate_of(2_000, "How many of them one address may have.")
    max_streams_per_address: int = _rate_of(1_000, "How many held responses one address may have.")
    max_streams_per_subject: int = _rate_of(100, "How many held responses one subject of tokens may have.")
    requests_per_address: int = _rate_of(1_000, "How many requests or commands a second may come from one address.")
    requests_per_subject: int = _rate_of(1_000, "How many requests or commands a second may come of one subject.")
    publishes_per_address: int = _rate_of(5_000, "How many messages a second one address may publish.")
    publishes_per_subject: int = _rate_of(5_000, "How many messages a second one subject may publish.")
    burst: float = _seconds_of(10.0, "For how many seconds together the rates may be used up at once.", 3600)
    max_url: int = _size_of(32 * 1024, "The largest path with query of a request.")
    max_waiting: int = _size_of(1024**2, "How much of one TCP connection may wait to be executed, before it is paused.")
    max_commands_unknown: int = _count_of(10, "How many commands a TCP connection may send before AUTH, if it needs it.")
    auth_timeout: float = _seconds_of(10.0, "How long a TCP connection may take to AUTH, if it needs it.")

    hook_private: tuple[str, ...] = _field(
        (), "A network to which hooks may post although it is not public, such as 127.0.0.1 or 10.0.0.0/8.", NETWORK
    )
    hook_timeout: float = _seconds_of(
        15.0, "How long one post of a hook may take, from looking up the name to the end of the answer."
    )
    hook_batch: int = _count_of(100, "How many messages one post of a hook holds at most.", LARGEST_LIMIT)
    hook_backoff: float = _seconds_of(600.0, "The longest pause between two tries of a hook.")
    hook_patience: float = _seconds_of(86_400.0, "How long a hook's posts may fail before it is parked.", 365 * 86_400)
    hook_posts: int = _count_of(64, "How many posts of hooks may be under way at once.", 10_000)
    max_hooks: int = _count_of(10_000, "How many hooks there may be.", 100_000)

    silence: float = _seconds_of(25.0, "The longest time without a byte on a stream: then a heartbeat is sent.")
    max_wait: float = _seconds_of(60.0, "The longest time that a poll may ask to be held.")
    retry: int = _field(
        2000, "How long browsers are told to wait before they reconnect.", MILLISECONDS, (0, 86_400_000)
    )
    send_buffer: int = _size_of(64 * 1024, "The kernel's send buffer (SO_SNDBUF) of each subscriber.")
    head_timeout: float = _seconds_of(10.0, "How long a request line and its headers may take to arrive.")
    body_timeout: float = _seconds_of(30.0, "How long a request body may take to arrive.")
    idle_timeout: float = _seconds_of(75.0, "How long a kept connection may wait for its next request.")
    stall: float = _seconds_of(60.0, "How long a write may stay stuck before the connection is dropped.")
    drain: float = _seconds_of(5.0, "How long held responses have to end when the daemon stops.")
    spread: float = _field(
        5.0, "Over how long clients are told to come back when the daemon stops.", SECONDS, (0, 86_400)
    )
    handover: str = _field(
        "auto",
        "The UNIX socket on which a daemon that is started with --replace takes this one's place: a path, @name for "
        "one without a file, none, or auto for a name made of http and tcp.",
        SOCKET,
        live=False,
    )

    log_format: str = _field("human", "How lines of the log are written: to be read, or as JSON.", _one_of(LOG_FORMATS))
    log_level: str = _field("info", "The least level of what is logged.", _one_of(LOG_LEVELS))
    access_log: str = _field(
        "refused",
        "Which requests are logged: those that are refused, all once they are over, or none.",
        _one_of(ACCESS_LOGS),
    )

    def __post_init__(self) -> None:
        for setting in settings():
            _checked(setting, getattr(self, setting.field), setting.name)


def settings() -> Iterator[Setting]:
    """Yield every setting, in the order in which people should read about them."""
    for each in fields(Config):
        assert each.default is not MISSING
        yield Setting(each.name, each.default, **each.metadata)


def parsed(setting: Setting, text: str | Iterable[str], source: str) -> Any:
    """Return the value that ``text`` spells. Raises :exc:`BadSetting`, which calls the setting ``source``."""
    try:
        value = setting.parse(text)
    except ValueError as error:
        raise BadSetting(f"{source}: {_shown(text)} cannot be used: {error}") from None
    return _checked(setting, value, source)


def _checked(setting: Setting, value: Any, source: str) -> Any:
    try:
        setting.check(value)
    except ValueError as error:
        raise BadSetting(f"{source}: {setting.written(value)} cannot be used: {error}") from None
    return value


def _shown(text: str | Iterable[str]) -> str:
    return shown(text if isinstance(text, str) else " ".join(text))
