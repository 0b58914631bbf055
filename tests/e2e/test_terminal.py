"""``comet pub`` and ``comet sub`` as they look on a terminal, and how they behave in a pipe."""

from __future__ import annotations

import itertools
import json
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.daemons import Daemon, running
from tests.e2e.held import publish
from tests.e2e.shells import Shell, shell
from tests.e2e.test_publish_restart import successor_of
from tests.e2e.tools import COMET, begun, piped, run
from tests.e2e.waiting import until

PROGRESS = re.compile(r"[0-9,]+ acknowledged, [0-9,]+/s.*")
SUMMARY = re.compile(r"[0-9,]+ acknowledged in [0-9.]+ s \([0-9,]+/s\).*")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Shell]:
    """A terminal."""
    with shell(tmp_path) as screen:
        yield screen


def acknowledged(lines: list[str]) -> int:
    """How many messages the last line says are acknowledged; 0 if it says nothing of it."""
    found = PROGRESS.fullmatch(lines[-1])
    return int(found[0].split()[0].replace(",", "")) if found else 0


def acknowledged_so_far(lines: list[str]) -> int:
    """The same of a line that is cut."""
    return int(lines[-1].split()[0].replace(",", ""))


def is_beyond(before: int, lines: list[str]) -> bool:
    """Whether more than ``before`` are acknowledged."""
    return acknowledged_so_far(lines) > before


def publish_slowly(screen: Shell, daemon: Daemon, topic: str, *options: str) -> None:
    """Have lines published on the terminal for longer than a test takes, and wait until that is seen."""
    flags = " ".join(options)
    screen.type(f"seq 1000000 | comet pub {topic} --lines --rate 200 {flags} --server {daemon.tcp}")
    screen.until(lambda lines: acknowledged(lines) > 20, "the progress")


def test_progress(daemon: Daemon, topic: str, screen: Shell) -> None:
    """The progress is one line that changes where it is, without a cursor; ctrl-C leaves how it ended."""
    publish_slowly(screen, daemon, topic)
    assert not screen.shows_cursor()
    first = acknowledged(screen.until(acknowledged, "the progress"))
    lines = screen.until(lambda lines: acknowledged(lines) > first, "more progress")
    assert len([line for line in lines if "acknowledged" in line]) == 1
    screen.press("C-c")
    lines = screen.until_prompt()
    assert screen.shows_cursor()
    assert SUMMARY.fullmatch(lines[-1]), lines
    assert len([line for line in lines if "acknowledged" in line]) == 1
    assert not [line for line in lines if "Traceback" in line or "^C" in line]
    assert screen.code == 130


def test_resized(daemon: Daemon, topic: str, screen: Shell) -> None:
    """A window that is made narrower and wider has one line of progress, cut to its width."""
    publish_slowly(screen, daemon, topic)
    for columns in (20, 16, 70, 18):
        screen.resize(columns, 24)
        lines = screen.until(partial(fits, columns), f"the progress in {columns} columns")
        before = acknowledged_so_far(lines)
        lines = screen.until(partial(is_beyond, before), "more progress")
        assert fits(columns, lines), lines
        assert len([line for line in lines if "acknow" in line]) == 1, lines
    screen.press("C-c")
    screen.until_prompt()


def fits(columns: int, lines: list[str]) -> bool:
    """Whether the last line is the progress, cut if the terminal has too few columns."""
    cut = lines[-1].endswith("\N{HORIZONTAL ELLIPSIS}")
    return "acknow" in lines[-1] and len(lines[-1]) < columns and cut == (columns < 30)


def test_stopped_and_continued(daemon: Daemon, topic: str, screen: Shell) -> None:
    """While it is stopped by ctrl-Z the shell has its cursor; in the foreground again, it goes on."""
    publish_slowly(screen, daemon, topic)
    screen.press("C-z")
    screen.until_prompt()
    assert screen.shows_cursor()
    screen.type("fg")
    screen.until(acknowledged, "the progress")
    assert not screen.shows_cursor()
    screen.press("C-c")
    screen.until_prompt()
    assert screen.shows_cursor()


def test_ended(daemon: Daemon, topic: str, screen: Shell) -> None:
    """A process that is ended by a signal gives the cursor back."""
    publish_slowly(screen, daemon, topic)
    [publisher] = run("pgrep", "-f", f"pub {topic} --lines").out.split()[-1:]
    assert run("kill", publisher).code == 0
    screen.until_prompt()
    assert screen.shows_cursor()


def test_refused_lines_stay(daemon: Daemon, topic: str, screen: Shell) -> None:
    """What is said meanwhile stands above the progress."""
    screen.type(f"(echo x; seq 1000000) | comet pub {topic} --lines --json --rate 200 --server {daemon.tcp}")
    lines = screen.until(lambda lines: acknowledged(lines) > 20, "the progress")
    said = [line.startswith("comet: line 1: bad_json ") for line in lines]
    assert said.index(True) < len(lines) - 1
    assert lines[-1].endswith(", 1 refused")
    screen.press("C-c")
    lines = screen.until_prompt()
    assert len([line for line in lines if "bad_json" in line]) == 1
    assert len([line for line in lines if "acknowledged" in line]) == 1


def test_short_file(daemon: Daemon, topic: str, screen: Shell) -> None:
    """When everything is published, the last line says how much; of a single message the position is printed."""
    screen.type(f"seq 1000 | comet pub {topic} --lines --server {daemon.tcp}")
    assert screen.until_prompt()[-1].startswith("1,000 acknowledged in ")
    screen.type(f"comet pub {topic} hello --server {daemon.tcp}")
    lines = screen.until_prompt()
    assert re.fullmatch(r"[0-9a-f]{8,}-[0-9]+", lines[-1]), lines


def test_subscriber(daemon: Daemon, topic: str, screen: Shell) -> None:
    """Messages are printed as they come, and cannot do anything to the terminal; ctrl-C ends it without a word."""
    screen.type(f"comet sub {topic} --since first --url http://{daemon.http}/")
    publish(daemon.http, topic, "one")
    publish(daemon.http, topic, "\x1b[2J\x1b[?25ltwo\n")
    lines = screen.until(lambda lines: "two" in lines[-1], "both messages")
    assert lines == [f"{topic}  one", f"{topic}  \\x1b[2J\\x1b[?25ltwo\\n"]
    assert screen.shows_cursor()
    screen.press("C-c")
    assert screen.until_prompt() == [*lines, "^C"]
    assert screen.code == 130


def test_subscriber_outlasts_the_daemon(screen: Shell) -> None:
    """When the daemon is stopped and started, the subscriber comes back by itself, and tells what is missing."""
    with running("--retry", "10ms", "--spread", "10ms") as first:
        screen.type(f"comet sub a --since first --count 2 --url http://{first.http}/")
        publish(first.http, "a", "one")
        screen.until(lambda lines: "a  one" in lines, "the first message")
        assert first.end() == 0
        screen.until(lambda lines: "comet: the daemon ended the stream; reconnecting" in lines, "the end")
        with running(*successor_of(first), anywhere=()) as second:
            publish(second.http, "a", "two")
            lines = screen.until_prompt()
    text = "".join(lines)
    for said in ("a  one", "comet: connected again", "may be missing: the daemon was started anew", "a  two"):
        assert said in text
    assert screen.code == 0


def test_pipes(daemon: Daemon, topic: str) -> None:
    """In a pipe ``pub`` is silent and ``sub`` prints messages alone; both end when the other side does."""
    source = (*COMET, "sub", topic, "--since", "first", "--url", f"http://{daemon.http}/")
    published = run(*COMET, "pub", topic, "--lines", "--server", daemon.tcp, stdin="1\n2\n3\n")
    assert (published.code, published.out, published.err) == (0, "", "")
    with piped(source, ("head", "-2")) as head:
        assert head.wait() == 0
        assert head.out.decode() == f"{topic}  1\n{topic}  2\n"


def test_progress_in_a_pipe(daemon: Daemon, topic: str) -> None:
    """``--progress`` in a pipe is a JSON object a second; a signal leaves the last figures."""
    command = (*COMET, "pub", topic, "--lines", "--rate", "100", "--progress", "--server", daemon.tcp)
    shell = 'seq 1000000 | exec "$@" 2>&1'
    with begun("bash", "-c", f"exec {shell.partition('exec ')[2]} < <(seq 1000000)", "-", *command) as publisher:
        until(lambda: publisher.out.count(b"\n") >= 3, "three lines")
        publisher.process.send_signal(signal.SIGINT)
        assert publisher.wait() == 130
    figures = [json.loads(line) for line in publisher.out.splitlines()]
    seconds = [each["seconds"] for each in figures]
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(seconds[:-1]))
    assert figures[-1]["acknowledged"] >= figures[-2]["acknowledged"] > 0
    assert figures[-1].keys() == {"seconds", "acknowledged", "refused", "outstanding", "rate"}
