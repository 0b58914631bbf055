"""What changes while a command runs: in a pipe, and what a terminal is sent. How that looks is in ``tests/e2e``."""

from __future__ import annotations

import io
import json
import os
import pty
import struct
import termios
import tty
from collections.abc import Iterator
from fcntl import ioctl
from typing import TextIO

import pytest

from comet.commands.terminal import EVERY, REDRAWN, Live, cells, cut, is_terminal, printable


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pipe() -> None:
    """In a pipe there is an object at most once a second, and in the end the last one."""
    pipe, clock = io.StringIO(), Clock()
    with Live(pipe, now=clock) as live:
        for number in range(27):
            live.show([f"line {number}"], {"number": number})
            clock.now += EVERY / 8
    assert [json.loads(line)["number"] for line in pipe.getvalue().splitlines()] == [0, 8, 16, 24, 26]


def test_pipe_that_is_shown_all() -> None:
    """Closing writes nothing twice, and nothing if there was nothing."""
    pipe = io.StringIO()
    with Live(pipe) as live:
        live.show([], {"n": "\u00e9"})
    live.close()
    assert pipe.getvalue() == '{"n":"\u00e9"}\n'
    Live(io.StringIO()).close()


def test_pipe_that_ends() -> None:
    """An exception of who shows something reaches its caller; the last figures are there."""
    pipe, clock = io.StringIO(), Clock()
    with pytest.raises(KeyError), Live(pipe, now=clock) as live:
        live.show([], {"n": 1})
        live.show([], {"n": 2})
        raise KeyError
    assert pipe.getvalue() == '{"n":1}\n{"n":2}\n'


def test_say_in_a_pipe() -> None:
    """A line that stays is a line."""
    pipe = io.StringIO()
    with Live(pipe) as live:
        live.say("comet: hm")
    assert pipe.getvalue() == "comet: hm\n"


END = b"\x00"
"""What a program never writes to a terminal, and so shows where its output ends."""


class Terminal:
    """A terminal of 20 columns and 5 rows, and what it was sent."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
        self.stream: TextIO = os.fdopen(self._slave, "w")

    def sent(self) -> str:
        """What came since this was last asked: all that was written, however many pieces it arrives in."""
        os.write(self._slave, END)
        data = b""
        while not data.endswith(END):
            data += os.read(self._master, 65_536)
        return data.removesuffix(END).decode()

    def close(self) -> None:
        """Give it back."""
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_terminal(terminal: Terminal) -> None:
    """Lines are written over those before, and what is left of these is erased; there is no cursor meanwhile."""
    clock = Clock()
    live = Live(terminal.stream, now=clock)
    assert live.due()
    live.show(["one", "two"], {})
    assert terminal.sent() == "\x1b[?25l\rone\x1b[K\r\ntwo\x1b[K\x1b[J"
    assert not live.due()
    clock.now += REDRAWN
    assert live.due()
    live.show(["three"], {})
    assert terminal.sent() == "\r\x1b[1Athree\x1b[K\x1b[J"
    live.close()
    assert terminal.sent() == "\rthree\x1b[K\x1b[J\r\n\x1b[?25h"
    live.close()


def test_terminal_on_an_exception(terminal: Terminal) -> None:
    """Whatever ends it, the last state is left, and the cursor shown."""
    with pytest.raises(KeyboardInterrupt), Live(terminal.stream) as live:
        live.show(["one"], {})
        raise KeyboardInterrupt
    assert terminal.sent().endswith("\rone\x1b[K\x1b[J\r\n\x1b[?25h")


def test_say_on_a_terminal(terminal: Terminal) -> None:
    """A line that stays is written above those that change; before there are any, it is only a line."""
    with Live(terminal.stream) as live:
        live.say("first")
        assert terminal.sent() == "\r\x1b[Jfirst\r\n"
        live.show(["one", "two"], {})
        terminal.sent()
        live.say("comet: hm \x1b[2J")
        assert terminal.sent() == "\r\x1b[1A\x1b[Jcomet: hm \ufffd[2J\r\n\rone\x1b[K\r\ntwo\x1b[K\x1b[J"


def test_too_small(terminal: Terminal) -> None:
    """No more lines are shown than there are rows, nor more of each than there are columns; none is obeyed."""
    with Live(terminal.stream) as live:
        live.show(["x" * 30, "\x1b[2J\u202e", *map(str, range(10))], {})
        lines = terminal.sent().removeprefix("\x1b[?25l\r").split("\r\n")
    assert lines[0] == "x" * 18 + "\u2026\x1b[K"
    assert lines[1] == "\ufffd[2J\ufffd\x1b[K"
    assert lines[2:] == ["0\x1b[K", "1\x1b[K\x1b[J"]


def test_narrower(terminal: Terminal) -> None:
    """After the window has become narrower, the rows that the terminal has wrapped are written over, too."""
    with Live(terminal.stream) as live:
        live.show(["x" * 19, "y"], {})
        terminal.sent()
        ioctl(terminal.stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 5, 8, 0, 0))
        live.show(["x" * 19, "y"], {})
        assert terminal.sent() == "\r\x1b[3Axxxxxx\u2026\x1b[K\r\ny\x1b[K\x1b[J"


def test_dumb(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can do nothing is treated as a pipe."""
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(terminal.stream)
    monkeypatch.delenv("TERM")
    assert not is_terminal(terminal.stream)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab\u2026"),
        ("", 0, ""),
        ("a", 0, ""),
        ("a\u0301b", 2, "a\u0301b"),
        ("\u65e5\u672c\u8a9e", 6, "\u65e5\u672c\u8a9e"),
        ("\u65e5\u672c\u8a9e", 5, "\u65e5\u672c\u2026"),
        ("\u65e5\u672c\u8a9e", 4, "\u65e5\u2026"),
    ],
)
def test_cut(text: str, width: int, shown: str) -> None:
    """A line is cut by the columns that its characters take."""
    assert cut(text, width) == shown
    assert cells(cut(text, width)) <= width


def test_printable() -> None:
    """Control characters of either set, and those that reverse text, are shown as one that stands for any."""
    assert printable("a\x1b\x07\x9b\u202e\tb\u00e9") == "a" + "\ufffd" * 5 + "b\u00e9"
