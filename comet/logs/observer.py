"""The log: what of it goes out, in which words, and where to.

An :class:`Observer` takes the place of twistd's own. Whatever anybody logs leaves it as one line for people, or as one
JSON object, without secrets and without control bytes (:mod:`comet.logs.masks`); a traceback follows indented, so that
nothing in it can pass for a line of its own. A complaint that comes over and over is told a few times and then counted
(:mod:`comet.logs.bursts`). Twisted's own chatter is left out, unless ``log-level`` is ``debug``.

The traps: all of this runs inside of whoever logs, so it must neither log nor fail; and twistd chooses where to log by
flags of its own (``--logfile``, ``--syslog``, ``--logger``), which stay in force.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec.json import Encoder
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import qual, safe_repr
from zope.interface import implementer

from comet.config import Config
from comet.logs.bursts import MORE, Bursts
from comet.logs.masks import MASK, SECRETS, masked, printable

LONGEST_TEXT = 4_000
LONGEST_TRACEBACK = 20_000
LARGEST_NUMBER = 2**63

LEVELS = {level.name: number for number, level in enumerate(LogLevel.iterconstants())}

TOLD = ("twisted.scripts.", "twisted.application.")
SIGNALLED = "Received SIG"
"""Of what Twisted says with the level ``info``, what people want to know: by namespace, and by its first words."""

NO_DESCRIPTORS = "EMFILE encountered"
"""So begins what Twisted says with the level ``info`` of connections that it closes for want of descriptors."""

PRINTED = ("stdout", "stderr")
"""Namespaces of what was printed, where each line is another matter whatever it looks like."""

_OWN = ("time", "level", "namespace", "text", "traceback")
_LEGACY = ("system", "message", "isError", "failure", "why", "format", "logLevel", "printed")

_encode = Encoder().encode

Line = Callable[[LogEvent, str], str]
"""Makes what is written of an event and its text: a line or more."""

Sink = Callable[[str, str], None]
"""Takes a level, and what is to be written, without the last line break. If it fails, Twisted goes on without it."""


class Complaint(NamedTuple):
    """What makes two complaints the same."""

    namespace: str
    format: str
    failure: str


# -- events -----------------------------------------------------------------------------------------------------------


def level_of(event: LogEvent) -> str:
    """The name of the event's level; of one that has none, ``info``."""
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def _failure_of(event: LogEvent) -> Failure | None:
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


def _text_of(event: LogEvent) -> str:
    if "log_failure" not in event and _failure_of(event) is not None:
        text = str(event.get("why") or "Unhandled Error")  # the old way to log has the traceback in the text
    else:
        text = formatEvent(event)
    return _short(printable(masked(text.rstrip("\n"))))


def _traceback_of(event: LogEvent) -> list[str]:
    """The lines of the traceback, if the event has a failure."""
    failure = _failure_of(event)
    if failure is None:
        return []
    text = failure.getTraceback().rstrip("\n")
    if len(text) > LONGEST_TRACEBACK:
        text = f"{text[: LONGEST_TRACEBACK // 2]}\n…\n{text[-LONGEST_TRACEBACK // 2 :]}"
    return [printable(masked(line)) for line in text.split("\n")]


def _complaint_of(event: LogEvent) -> Complaint:
    failure = _failure_of(event)
    text = event.get("log_format") or ""
    if text == "{log_text}":  # the old way to log knows no format
        text = _short(str(event.get("log_text")), 100)
    return Complaint(str(event.get("log_namespace")), text, "" if failure is None else qual(type(failure.value)))


def _is_chatter(event: LogEvent) -> bool:
    """Whether the event is what Twisted says of its own comings and goings."""
    namespace = str(event.get("log_namespace"))
    if not namespace.startswith(("twisted.", "log_legacy")):
        return False
    return not namespace.startswith(TOLD) and not str(event.get("log_format")).startswith(SIGNALLED)


def _short(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


# -- formats ----------------------------------------------------------------------------------------------------------


def human(event: LogEvent, text: str) -> str:
    """Time, level unless it is ``info``, text; a traceback in lines that are indented."""
    when = time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(event["log_time"]))
    return f"{when} {unstamped(event, text)}"


def unstamped(event: LogEvent, text: str) -> str:
    """The same for where somebody else adds the time."""
    level = level_of(event)
    first = text if level == "info" else f"[{level}] {text}"
    return "\n    ".join([first, *_traceback_of(event)])


def json_line(event: LogEvent, text: str) -> str:
    """One JSON object: ``time`` (RFC 3339, UTC), ``level``, ``namespace``, ``text``, what else the event has, and
    ``traceback`` if it has one."""
    when = datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds")
    members: dict[str, Any] = {
        "time": when.replace("+00:00", "Z"),
        "level": level_of(event),
        "namespace": printable(str(event.get("log_namespace") or "-")),
        "text": text.strip(),
        **dict(_members(event, text)),
    }
    traceback = _traceback_of(event)
    if traceback:
        members["traceback"] = "\n".join(traceback)
    return _encode(members).decode()


def _members(event: LogEvent, text: str) -> Iterator[tuple[str, Any]]:
    """Yield what the event has beside its text, but for what only repeats that."""
    for name, value in event.items():
        if name.startswith("log_") or name in _OWN or name in _LEGACY:
            continue
        shown = MASK if name in SECRETS else _shown(value)
        if shown != text:
            yield name, shown


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and -LARGEST_NUMBER < value < LARGEST_NUMBER:
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return _short(printable(masked(value if isinstance(value, str) else safe_repr(value))))


FORMATS: dict[str, Line] = {"human": human, "json": json_line}
"""What ``log-format`` chooses from."""


# -- the observer -----------------------------------------------------------------------------------------------------


@implementer(ILogObserver)
class Observer:
    """Hands what is to be said to ``sink``, written in one of ``formats``."""

    def __init__(self, config: Config, sink: Sink, formats: Mapping[str, Line] = FORMATS) -> None:
        self._sink = sink
        self._formats = formats
        self._bursts = Bursts()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._line = self._formats[config.log_format]
        self._least = LEVELS[config.log_level]

    def __call__(self, event: LogEvent) -> None:
        """Say ``event``, if it is to be said."""
        if str(event.get("log_format")).startswith(NO_DESCRIPTORS):
            event = {**event, "log_level": LogLevel.warn}
        level = LEVELS[level_of(event)]
        if level < self._least:
            return
        if level >= LEVELS["warn"]:
            if event.get("log_namespace") in PRINTED or self._admits(event):
                self._say(event)
        elif self._least == LEVELS["debug"] or not _is_chatter(event):
            self._say(event)

    def each_second(self) -> None:
        """Tell how many complaints were not told, of the bursts that are over."""
        self._tell(time.time())

    def end(self) -> None:
        """Tell of those that are not over, too."""
        self._tell(float("inf"))

    def _admits(self, event: LogEvent) -> bool:
        self._tell(event["log_time"])
        return self._bursts.admits(_complaint_of(event), event["log_time"])

    def _tell(self, now: float) -> None:
        for burst in self._bursts.over(now):
            assert isinstance(burst.key, Complaint | str)
            self._say(_summary(burst.key, burst.fields()))

    def _say(self, event: LogEvent) -> None:
        text = _text_of(event)
        if text or _failure_of(event) is not None:
            self._sink(level_of(event), self._line(event, text))


def _summary(key: Complaint | str, fields: dict[str, float]) -> LogEvent:
    """The event that tells of a burst."""
    complaint = key if isinstance(key, Complaint) else Complaint("comet", key, "")
    return {
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": complaint.namespace,
        "log_format": MORE + "{complaint}",
        "complaint": " ".join(filter(None, (complaint.format, complaint.failure))),
        **fields,
    }
