"""The log: which lines go out, and what they look like."""

from __future__ import annotations

import json
import re
import syslog
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from comet.config import Config
from comet.errors import BadTopic, OriginRefused
from comet.logs.access import AccessLog
from comet.logs.observer import FORMATS, Observer
from comet.logs.sinks import PRIORITIES, SYSTEM_FORMATS, observer_for, to_file, to_syslog
from comet.metrics import Metrics

WHEN = 1_790_000_000.25
HOSTILE = "a\r\n2026-01-01 00:00:00+0000 forged\x1b[2J\x9b\u202e\u2028\x00\udc80"
NOW = {"log_time": WHEN, "log_level": LogLevel.info, "log_namespace": "comet.tests"}


class Log:
    """An observer with these settings, and what it has written."""

    def __init__(self, **settings: Any) -> None:
        self.lines: list[str] = []
        self.levels: list[str] = []
        self.observer = Observer(Config(**settings), self._take)
        self.logger = Logger(namespace="comet.tests", observer=self.observer)  # type: ignore[arg-type]

    def _take(self, level: str, text: str) -> None:
        self.levels.append(level)
        self.lines.append(text)

    def texts(self) -> list[str]:
        """The lines without the time."""
        return [line.split(" ", 2)[2] for line in self.lines]

    def objects(self) -> list[Any]:
        """The lines as JSON."""
        return [json.loads(line) for line in self.lines]


def event(text: str, level: LogLevel = LogLevel.info, /, **members: Any) -> LogEvent:
    """An event as somebody logs it."""
    return {**NOW, "log_level": level, "log_format": text, **members}


def failure(text: str) -> Failure:
    """A failure that was raised."""
    try:
        raise ValueError(text)
    except ValueError:
        return Failure()


# -- formats ----------------------------------------------------------------------------------------------------------


def test_observer_is_one() -> None:
    """Twisted takes it for an observer."""
    assert verifyObject(ILogObserver, Log().observer)


def test_a_line_for_people() -> None:
    """Time, text; the level only if it is another than usual."""
    log = Log()
    log.observer(event("hello {name}", name="world"))
    log.observer(event("that is bad", LogLevel.warn))
    first, second = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} hello world", first)
    assert second.endswith("[warn] that is bad")


def test_a_line_for_programs() -> None:
    """One JSON object with the time in UTC, the level, where it comes from, the text, and what else was given."""
    log = Log(log_format="json")
    log.observer(event("{method} took {seconds} s", method=b"GET", seconds=0.5, big=2**70, what={"a": 1}, none=None))
    assert log.objects() == [
        {
            "time": "2026-09-21T14:13:20.250Z",
            "level": "info",
            "namespace": "comet.tests",
            "text": "b'GET' took 0.5 s",
            "method": "GET",
            "seconds": 0.5,
            "big": str(2**70),
            "what": "{'a': 1}",
            "none": None,
        }
    ]


def test_a_member_that_only_repeats_the_text_is_left_out() -> None:
    """A line that is logged as it is stands there once."""
    log = Log(log_format="json")
    log.observer(event("{line}", line="  console    http://127.0.0.1:7080/"))
    (found,) = log.objects()
    assert found.keys() == {"time", "level", "namespace", "text"}
    assert found["text"] == "console    http://127.0.0.1:7080/"


def test_a_member_cannot_take_the_place_of_another() -> None:
    """What an event calls ``level`` or ``time`` does not hide the level and the time."""
    log = Log(log_format="json")
    log.observer(event("hello", level="fatal", time=7, text="other", traceback="none"))
    (found,) = log.objects()
    assert (found["level"], found["text"], found["time"][:4]) == ("info", "hello", "2026")
    assert "traceback" not in found


@pytest.mark.parametrize("form", FORMATS)
def test_a_failure_has_its_traceback(form: str) -> None:
    """People get it indented below the line, programs as a member of the same line."""
    log = Log(log_format=form)
    log.logger.failure("it failed", failure("oh no"))
    (found,) = log.lines
    assert "it failed" in found
    assert "ValueError: oh no" in found
    if form == "json":
        assert "\n" not in found
        assert "ValueError: oh no" in json.loads(found)["traceback"]
    else:
        assert all(line.startswith("    ") for line in found.split("\n")[1:])


def test_a_failure_of_the_old_way_to_log() -> None:
    """twisted.python.log has it under another name, and the traceback in the text."""
    log = Log(log_format="json")
    old = failure("oh no")
    text = f"it failed\n{old.getTraceback()}"
    log.observer(event("{log_text}", LogLevel.critical, log_text=text, failure=old, why="it failed", isError=1))
    (found,) = log.objects()
    assert found["text"] == "it failed"
    assert "ValueError: oh no" in found["traceback"]


@pytest.mark.parametrize("form", FORMATS)
def test_nobody_forges_a_line(form: str) -> None:
    """Whatever a peer has others log, it stays within its line and drives no terminal."""
    log = Log(log_format=form)
    log.observer(event("refused {what}", what=HOSTILE))
    log.logger.failure(HOSTILE.replace("{", "("), failure(HOSTILE))
    for line in log.lines:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]", line)
        assert not [each for each in line.split("\n")[1:] if not each.startswith("    ")]
    if form == "json":
        assert not any("\n" in line for line in log.lines)
        assert all("\x1b" not in str(member) for found in log.objects() for member in found.values())


@given(st.text(), st.sampled_from(sorted(FORMATS)))
def test_one_line_whatever_it_says(text: str, form: str) -> None:
    """Any text comes out as one line, and JSON is JSON."""
    log = Log(log_format=form)
    log.observer(event("{text}!", text=text))
    (line,) = log.lines
    assert len(line.splitlines()) == 1
    line.encode()
    if form == "json":
        log.objects()


@pytest.mark.parametrize("form", FORMATS)
def test_secrets_do_not_go_out(form: str) -> None:
    """Not from a query, not from a header, not from a traceback, and not as a member."""
    log = Log(log_format=form)
    log.observer(event("GET {target}", target="/topics/a?token=s3cret", token="s3cret"))
    log.observer(event("the header b'Authorization: Bearer s3cret' is malformed"))
    log.logger.failure("it failed", failure("Cookie: session=s3cret"))
    assert len(log.lines) == 3
    assert "s3cret" not in "".join(log.lines)


def test_what_cannot_be_shown_is_no_trouble() -> None:
    """An object that cannot even be printed does not silence the line."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    log = Log(log_format="json")
    log.observer(event("hello", broken=Broken()))
    (found,) = log.objects()
    assert found["text"] == "hello"


def test_a_long_text_is_cut() -> None:
    """One line does not fill the disk, nor does one traceback."""
    log = Log()
    log.observer(event("{text}", text="x" * 100_000))
    log.logger.failure("it failed", failure("y" * 100_000))
    assert max(map(len, log.lines)) < 30_000


def test_nothing_is_said_of_nothing() -> None:
    """An event without text, which some log to carry members, has no line."""
    log = Log()
    log.observer({**NOW, "log_format": None})
    assert log.lines == []


# -- which lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warn", "error", "critical"]),
        ("info", ["info", "warn", "error", "critical"]),
        ("warn", ["warn", "error", "critical"]),
        ("error", ["error", "critical"]),
    ],
)
def test_levels(level: str, said: list[str]) -> None:
    """What is below the level of the settings stays out."""
    log = Log(log_level=level)
    for each in LogLevel.iterconstants():
        log.observer(event("hello", each))
    assert log.levels == said


CHATTER = [
    event("{log_text}", log_namespace="log_legacy", log_text="CometSite starting on 7080"),
    event("Starting factory {factory!r}", log_namespace="twisted.internet.protocol.Factory", factory=1),
    event("Main loop terminated.", log_namespace="twisted.internet.base"),
]
NEWS = [
    event("twistd {version} starting up.", log_namespace="twisted.scripts._twistd_unix.UnixAppLogger", version="26"),
    event("Received SIGTERM, shutting down.", log_namespace="twisted.internet.base"),
    event("{log_io}", log_namespace="stdout", log_io="printed"),
]


def test_chatter_stays_out() -> None:
    """What Twisted says of its comings and goings is left out, what people want to know of them is not."""
    log, everything = Log(), Log(log_level="debug")
    for each in (*CHATTER, *NEWS):
        log.observer(each)
        everything.observer(each)
    assert log.texts() == ["twistd 26 starting up.", "Received SIGTERM, shutting down.", "printed"]
    assert len(everything.lines) == 6


def test_want_of_descriptors_is_a_complaint() -> None:
    """Twisted says in passing that it closes connections; that is worth a warning."""
    log = Log(log_level="warn")
    log.observer(event("EMFILE encountered; releasing reserved file descriptor.", log_namespace="twisted.internet.tcp"))
    assert log.levels == ["warn"]


def test_settings_may_change() -> None:
    """Format and level are those of the settings that were read last."""
    log = Log()
    log.observer.configure(Config(log_format="json", log_level="error"))
    log.observer(event("hello"))
    log.observer(event("that is bad", LogLevel.error))
    assert [found["text"] for found in log.objects()] == ["that is bad"]


def test_bursts_of_a_complaint_are_limited() -> None:
    """Five lines in ten seconds, then one that counts the others; another complaint is not affected."""
    log = Log()
    for number in range(100):
        log.observer(event("{number} went wrong", LogLevel.error, number=number))
    log.observer(event("something else", LogLevel.error))
    assert len(log.lines) == 6
    log.observer(event("{number} went wrong", LogLevel.error, number=100, log_time=WHEN + 10))
    assert log.texts()[6:] == [
        "[warn] … and 95 more of these in 10 s: {number} went wrong",
        "[error] 100 went wrong",
    ]


def test_bursts_are_told_without_another_complaint() -> None:
    """Once a second somebody looks whether one is over; at the end what is left is told."""
    log = Log(log_format="json")
    for _ in range(7):
        log.observer(event("it failed", LogLevel.error, log_failure=failure("oh no")))
    log.observer.each_second()
    found = log.objects()[5]
    assert (found["complaint"], found["more"], found["namespace"]) == (
        "it failed builtins.ValueError",
        2,
        "comet.tests",
    )
    for _ in range(7):
        log.logger.error("it failed")
    log.observer.end()
    assert log.objects()[-1]["more"] == 2


def test_different_failures_are_different_complaints() -> None:
    """The same words over another error are another matter."""
    log = Log()
    for kind in (ValueError, KeyError):
        for _ in range(6):
            log.observer(event("it failed", LogLevel.critical, log_failure=Failure(kind())))
    assert len(log.lines) == 10


def test_what_is_said_in_passing_is_not_limited() -> None:
    """The access log may have to be complete, and what a program prints is a line each."""
    log = Log()
    for number in range(50):
        log.observer(event("{number} is fine", number=number))
        log.observer(event("{log_io}", LogLevel.error, log_namespace="stderr", log_io=str(number)))
    assert len(log.lines) == 100


# -- refusals ---------------------------------------------------------------------------------------------------------


class Refused:
    """An access log, its clock, and what it has said."""

    def __init__(self, access: str) -> None:
        self.log = Log()
        self.clock = Clock()
        self.metrics = Metrics()
        self.access = AccessLog(Config(access_log=access), self.metrics, self.clock)

    def __enter__(self) -> Refused:
        globalLogPublisher.addObserver(self.log.observer)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self.log.observer)  # type: ignore[arg-type]


def test_a_refusal_is_told_once() -> None:
    """Who was refused what, and why, without secrets."""
    with Refused("refused") as refused:
        refused.access.refused(BadTopic("b'token=s3cret' is no topic"), "GET /topics/a", "192.0.2.7:50000")
    assert refused.log.texts() == ["refused GET /topics/a of 192.0.2.7:50000: bad_topic: b'token=***' is no topic"]
    assert refused.metrics.refused == {"bad_topic": 1}


def test_refusals_are_counted_even_if_they_are_not_told() -> None:
    """The setting is about the log, not about the figures."""
    with Refused("none") as refused:
        refused.access.refused(BadTopic("no"), "GET /", "192.0.2.7:50000")
    assert refused.log.lines == []
    assert refused.metrics.refused == {"bad_topic": 1}


def test_a_flood_of_refusals_is_told_in_few_lines() -> None:
    """Five of each code, then their number."""
    with Refused("refused") as refused:
        for _ in range(2316):
            refused.access.refused(OriginRefused("no"), "GET /topics/a", "192.0.2.7:50000")
        refused.access.refused(BadTopic("no"), "POST /topics/a", "192.0.2.7:50000")
        refused.access.each_second()
        assert len(refused.log.lines) == 6
        refused.clock.advance(10)
        refused.access.each_second()
    assert refused.log.texts()[6:] == ["… and 2,311 more of these in 10 s: origin_refused"]


# -- where to ---------------------------------------------------------------------------------------------------------


def flags(**given: Any) -> dict[str, Any]:
    """twistd's flags."""
    return {"logfile": None, "syslog": False, "prefix": "twisted", "nodaemon": True, "logger": None, **given}


def test_twistd_keeps_an_observer_of_its_own() -> None:
    """What is given with --logger goes before, and what cannot be is for twistd to refuse."""
    reactor = MemoryReactorClock()
    assert observer_for(Config(), flags(logger=lambda: None), reactor) is None
    assert observer_for(Config(), flags(logfile="-", nodaemon=False), reactor) is None
    assert observer_for(Config(), None, reactor) is None


def test_the_foreground_logs_to_the_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """In UTF-8, whatever the locale is."""
    observer = observer_for(Config(), flags(), MemoryReactorClock())
    assert observer is not None
    observer(event("hello … {text}", text="é"))
    assert capsysbinary.readouterr().out.endswith(" hello … é\n".encode())


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """The file that --logfile names, or twistd.log of a daemon in the background."""
    path = tmp_path / "comet.log"
    path.write_text("before\n")
    observer = observer_for(Config(), flags(logfile=str(path), nodaemon=False), MemoryReactorClock())
    assert observer is not None
    observer(event("hello"))
    first, second = path.read_text().splitlines()
    assert first == "before"
    assert second.endswith(" hello")


def test_what_is_no_text_is_written_all_the_same() -> None:
    """A lone surrogate that got so far does not silence the log."""
    file = BytesIO()
    to_file(file)("info", "a\udc80")
    assert file.getvalue() == b"a\\udc80\n"


def test_the_systems_log() -> None:
    """It adds the time by itself, has levels of its own, and takes a line at a time."""
    taken: list[tuple[int, str]] = []
    observer = Observer(Config(), to_syslog(lambda priority, line: taken.append((priority, line))), SYSTEM_FORMATS)
    observer(event("hello"))
    observer(event("it failed", LogLevel.error, log_failure=failure("oh no")))
    assert taken[:2] == [(syslog.LOG_INFO, "hello"), (syslog.LOG_ERR, "[error] it failed")]
    assert taken[-1] == (syslog.LOG_ERR, "    builtins.ValueError: oh no")
    assert set(PRIORITIES) == {level.name for level in LogLevel.iterconstants()}
    assert observer_for(Config(), flags(syslog=True), MemoryReactorClock()) is not None
