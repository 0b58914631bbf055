"""What the daemon publishes of itself under ``$stats``, always the newest of it: for ``comet top``.

A thread reads the stream, because the screen goes on while nothing comes. The trap: what has come before a daemon went
away says nothing of now, and a daemon that is stuck sends nothing either; so it is told how old the figures are.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, TypeVar
from urllib.parse import SplitResult

import msgspec

from comet.commands.held import Dropped, Wish

PATTERN = "$stats/**"
TOPICS = DAEMON, *_ = ("daemon", "topics", "streams")

LONGEST_PAUSE = 4.0

TOGETHER = 0.5
"""Seconds within which what belongs together comes."""

T = TypeVar("T")


class Rates(msgspec.Struct):
    """What happens per second."""

    published: float = 0.0
    published_bytes: float = 0.0
    delivered: float = 0.0
    delivered_bytes: float = 0.0


class Flush(msgspec.Struct):
    """How many seconds flushes take."""

    p50: float | None = None
    p99: float | None = None


class Daemon(msgspec.Struct):
    """The topic ``$stats/daemon``, as much of it as is shown."""

    version: str = ""
    uptime: float = 0.0
    draining: bool = False
    rates: Rates = msgspec.field(default_factory=Rates)
    cpu: float = 0.0
    memory: int = 0
    descriptors: dict[str, int] = {}
    connections: dict[str, int] = {}
    flush: Flush = msgspec.field(default_factory=Flush)
    reactor_lag: float = 0.0
    reactor_lag_max: float = 0.0
    gaps: int = 0
    slow: int = 0
    stalled: int = 0
    refused: dict[str, int] = {}
    subscriptions: dict[str, int] = {}
    reading: int = 0
    stuck: int = 0
    retained: int = 0
    retained_bytes: int = 0
    topics: int = 0


class Topic(msgspec.Struct):
    """One of the busiest topics."""

    topic: str
    published: float = 0.0
    published_bytes: float = 0.0
    retained: int = 0
    subscribers: int = 0


class Topics(msgspec.Struct):
    """The topic ``$stats/topics``."""

    topics: list[Topic] = []


class Behind(msgspec.Struct):
    """What a stream has not been given."""

    messages: int = 0
    bytes: int = 0
    more: bool = False


class Stream(msgspec.Struct):
    """One of the slow streams."""

    transport: str = ""
    address: str = ""
    patterns: list[str] = []
    pattern_count: int = 0
    state: str = ""
    behind: Behind = msgspec.field(default_factory=Behind)
    stuck: float | None = None
    treatment: str = ""


class Streams(msgspec.Struct):
    """The topic ``$stats/streams``."""

    streams: list[Stream] = []


class Watch:
    """The newest figures of the daemon at ``url``. ``trouble`` says why there is no connection, and is empty if
    there is one; ``over`` says why there will be none, as a line for the user."""

    def __init__(self, url: SplitResult) -> None:
        self._wish = Wish(url, [PATTERN], [("conflate", "1")])
        self._figures: dict[str, bytes] = {}
        self._came = time.monotonic()
        self._connected = False
        self.trouble = ""
        self.over = ""

    def begin(self) -> None:
        """Watch from now on, until the process ends."""
        threading.Thread(target=self._run, daemon=True).start()

    def there(self) -> bool:
        """Whether there is something to show: the three topics come one right after the other."""
        return len(self._figures) >= len(TOPICS) or (DAEMON in self._figures and self.age() > TOGETHER)

    def age(self) -> float:
        """How many seconds ago something came."""
        return time.monotonic() - self._came

    def read(self, name: str, kind: type[T]) -> T:
        """Return the figures of that name. Raises :exc:`msgspec.DecodeError` if they are other than expected."""
        return msgspec.json.decode(self._figures.get(name, b"{}"), type=kind)

    def figures(self) -> dict[str, Any]:
        """All of them, for programs."""
        shown: dict[str, Any] = {"connected": not self.trouble, "age": round(self.age(), 3)}
        for name in TOPICS:
            found = msgspec.json.decode(self._figures.get(name, b"{}"))
            shown[name] = found if name == DAEMON else found.get(name, [])
        return shown

    def _run(self) -> None:
        failures = 0
        while not self.over:
            pause = None
            try:
                self._follow()
            except Dropped as dropped:
                self.trouble, pause = str(dropped), dropped.pause
                if not self._connected:
                    url = self._wish.url.geturl()
                    self.over = f"comet top: cannot watch {url}: {dropped}{dropped.hint}"
            except msgspec.DecodeError:
                self.over = "comet top: what came is no stream of Comet; --url takes its HTTP port"
            except SystemExit as refused:
                self.over = str(refused.code)
            failures = 0 if self.age() < LONGEST_PAUSE else failures + 1
            backoff = min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)
            time.sleep(backoff if pause is None else pause)

    def _follow(self) -> None:
        for lot in self._wish.lots("now"):
            for _, line in lot:
                if line.topic:
                    self._figures[line.topic.removeprefix("$stats/")] = bytes(line.data)
                elif line.comet == "bye":
                    raise Dropped("the daemon ended the stream", line.retry / 1000)
            self._came, self._connected, self.trouble = time.monotonic(), True, ""
