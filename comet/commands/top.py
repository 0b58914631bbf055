"""``comet top``: what the daemon does, once a second, on a screen that is redrawn in place, or as JSON in a pipe.

One stream on ``$stats/**`` is all that it costs the daemon. The trap is the terminal: to notice ``q`` at once it must
hand over keys as they are typed, and it has to be as before when this ends, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence

import msgspec

from comet.commands.amounts import duration
from comet.commands.arguments import Parser
from comet.commands.asking import add_url
from comet.commands.dashboard import Screen, Shown, dashboard
from comet.commands.terminal import Live, size_of
from comet.commands.watch import Daemon, Streams, Topics, Watch

EVERY = 1.0
"""Seconds between two looks."""

TURN = 0.05
"""Seconds until it is noticed that something has come, at most."""

OLD = 3.5
"""Seconds after which figures are called old: the daemon makes new ones each second."""

FIRST = 30.0
"""Seconds that the first figures may take."""


def main(arguments: Sequence[str]) -> int:
    """Show the figures until ``q``, ctrl-C, or ``--count``."""
    options = _parser().parse_args(arguments)
    watch = Watch(options.url)
    watch.begin()
    with contextlib.suppress(KeyboardInterrupt):
        _await_first(watch)
        with Live(sys.stdout) as live, _keys(live) as keyboard:
            _show_on(live, watch, keyboard, options)
    return 0


def _await_first(watch: Watch) -> None:
    """Wait for the first figures, or end with what is wrong."""
    deadline = time.monotonic() + FIRST
    while not watch.there():
        if watch.over:
            raise SystemExit(watch.over)
        if time.monotonic() > deadline:
            raise SystemExit("comet top: the daemon says nothing of itself; see with comet doctor what is between")
        time.sleep(TURN)


def _show_on(live: Live, watch: Watch, keyboard: int | None, options: argparse.Namespace) -> None:
    """Show how things stand, once a second."""
    left, due = options.count, time.monotonic()
    while True:
        if time.monotonic() >= due and live.due():
            due = max(due + EVERY, time.monotonic())
            live.show(_lines(live, watch, options.url.geturl()), watch.figures())
            left -= 1
            if left == 0:
                return
        if watch.over:
            raise SystemExit(watch.over)
        if _quits(keyboard):
            return


def _lines(live: Live, watch: Watch, url: str) -> list[str]:
    if not live.on_terminal:
        return []
    try:
        shown = Shown(
            url,
            _state(watch),
            watch.read("daemon", Daemon),
            watch.read("topics", Topics).topics,
            watch.read("streams", Streams).streams,
        )
    except msgspec.DecodeError as error:
        raise SystemExit(f"comet top: the daemon's figures are none that this version knows ({error})") from None
    return dashboard(shown, Screen(*size_of(sys.stdout)))


def _state(watch: Watch) -> str:
    if watch.trouble:
        return "disconnected, trying again"
    if watch.age() > OLD:
        return f"silent for {duration(round(watch.age()))}"
    return "live"


# -- keys -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _keys(live: Live) -> Iterator[int | None]:
    """Where keys can be read as they are typed, or None if there is no keyboard."""
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if keyboard is None or not live.on_terminal:
        yield None
        return
    before = termios.tcgetattr(keyboard)
    # A shell takes its terminal back when this is stopped, and does not give it back as it was.
    resumed = signal.signal(signal.SIGCONT, lambda *_: tty.setcbreak(keyboard))
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        signal.signal(signal.SIGCONT, resumed)
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _quits(keyboard: int | None) -> bool:
    """Wait for a moment; returns whether ``q`` was typed, or the keyboard has gone."""
    if keyboard is None:
        time.sleep(TURN)
        return False
    if not select.select([keyboard], [], [], TURN)[0]:
        return False
    keys = os.read(keyboard, 64)
    return not keys or b"q" in keys.lower()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "comet top",
        description="Watch what the daemon does, once a second, until q or ctrl-C; in a pipe as lines of JSON.",
    )
    add_url(parser)
    parser.add_argument("--count", type=_count, default=0, metavar="N", help="stop after N looks")
    return parser
