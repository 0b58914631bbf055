"""Every setting, once: its default, its help, how it is written and what it may be.

The flags of ``twistd comet``, the ``COMET_*`` variables, the names in a settings file and the reference page all derive
from the fields of :class:`Config`. The trap is a setting that is mirrored somewhere and drifts: add a field here, and
nothing elsewhere. Where the values come from is the affair of ``sources.py``; ``reloading.py`` leaves those alone that
are not ``live``, because they need a new process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple

from comet.errors import shown
from comet.kinds import (
    ANONYMOUS,
    COOKIE,
    COUNT,
    ENDPOINT,
    HEADER,
    HOST,
    KEY,
    MILLISECONDS,
    NETWORK,
    ORIGIN,
    SECONDS,
    SIZE,
    SOCKET,
    STORE,
    TEXT,
    URL,
    Kind,
    one_of,
)

PREFIX = "COMET_"
"""What the environment variable of a setting starts with."""

LARGEST_LIMIT = 10_000
"""The most messages that one answer or page may be asked to hold."""


class BadSetting(Exception):
    """A setting that cannot be used. Its text is one line: the name, the value, and what is right."""


DURABILITIES = ("commit", "fsync")
LOCAL = ("all", "anonymous")
LOG_FORMATS = ("human", "json")
LOG_LEVELS = ("debug", "info", "warn", "error")
ACCESS_LOGS = ("none", "refused", "all")


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
        one_of(LOCAL),
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
        one_of(DURABILITIES),
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
    max_url: int = _size_of(16 * 1024, "The largest path with query of a request.")
    max_bodies: int = _size_of(
        256 * 1024**2,
        "How much memory the bodies of all requests under way may take; those over 64 KiB have half of it.",
    )
    max_waiting: int = _size_of(1024**2, "How much of one TCP connection may wait to be executed, before it is paused.")
    max_commands_unknown: int = _count_of(
        10, "How many commands a TCP connection may send before AUTH, if it needs it."
    )
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

    log_format: str = _field("human", "How lines of the log are written: to be read, or as JSON.", one_of(LOG_FORMATS))
    log_level: str = _field("info", "The least level of what is logged.", one_of(LOG_LEVELS))
    access_log: str = _field(
        "refused",
        "Which requests are logged: those that are refused, all once they are over, or none.",
        one_of(ACCESS_LOGS),
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
