"""``comet pub``: publish over the TCP port, in the Redis protocol, with a plain socket.

This module reads what was asked for; :mod:`comet.commands.supply` has the messages, :mod:`comet.commands.feed` sends
them. The trap: a command that is run once per message must start at once, so imports are few.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from comet.commands.arguments import Parser, number_above_zero, reason
from comet.commands.feed import Feed, Form, GivenKeys, MadeKeys, Target
from comet.commands.report import Report
from comet.commands.supply import LineSupply, Pace, Supply, files, one
from comet.commands.terminal import Live, is_terminal
from comet.sending.link import address_of

DEFAULT_SERVER = "127.0.0.1:7081"

DESCRIPTION = """Publish a message on a topic, and print the position it is stored under.

A position looks like 5f0c1a2b-1042; a subscriber can ask for everything after it. If the daemon restarts meanwhile,
what it has not acknowledged is sent again."""

EXAMPLES = """examples:
  comet pub news 'hello'                          one message
  comet pub auction/7 '{"bid": 120}' --json       JSON: subscribers get the value, not a text
  vmstat 1 | comet pub load --lines               each line as it comes
  comet pub camera --file frames/*.jpg --every 0.04 --loop
                                                  a folder of pictures, as a film"""


def main(arguments: Sequence[str]) -> int:
    """Publish what ``arguments`` say; returns 0 once everything is stored, 1 if something was refused."""
    options = _parsed(arguments)
    single = options.data is not None or (options.file is not None and len(options.file) == 1 and not options.loop)
    keys = GivenKeys(options.key, numbered=options.data is None) if options.key else MadeKeys()
    content_type = "application/json" if options.json else options.type
    form = Form(options.topic, content_type, keys)
    report = Report(_live(options, single), options.verbose or single)
    try:
        supply = _supply(options)
        with report:
            Feed(options.server, form, supply, Pace(options.every or 0.0), report).run()
    except OSError as error:
        if error.filename is None:
            raise
        raise SystemExit(f"comet: cannot read {error.filename}: {reason(error)}") from None
    return 1 if report.refusals else 0


def _supply(options: argparse.Namespace) -> Supply:
    if options.lines:
        return LineSupply(sys.stdin.fileno())
    if options.file is not None:
        return files(_files(options.file), itertools.count() if options.loop else iter((1,)))
    return one(sys.stdin.buffer.read() if options.data == "-" else os.fsencode(options.data))


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files among ``paths`` and those in the folders among them, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.iterdir() if each.is_file())
        else:
            path.stat()
            found.append(path)
    if not found:
        raise SystemExit(f"comet: there is no file in {paths[0]}; name one that has the messages")
    return found


def _live(options: argparse.Namespace, single: bool) -> Live | None:
    """Where the progress is shown. Not to who types the lines or reads the positions on the same terminal."""
    if options.progress is None:
        typed = options.lines and sys.stdin.isatty()
        options.progress = is_terminal(sys.stderr) and not (single or typed or options.verbose)
    return Live(sys.stderr) if options.progress else None


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    given = (options.data is not None, options.lines, options.file is not None)
    if not any(given):
        parser.error("give the message, or - to read it from stdin")
    if sum(given) > 1:
        parser.error("the messages come from one place: an argument, --lines or --file")
    if options.loop and (options.file is None or not options.every):
        parser.error("--loop plays files again and again: name them with --file, and a pace with --every or --rate")
    return options


def _target(text: str) -> Target:
    try:
        return Target(text, address_of(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interval(text: str) -> float:
    """The seconds between two messages that a rate is."""
    return 1 / number_above_zero(text)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet pub", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("topic", metavar="TOPIC", help="what it is about, such as auction/7")
    messages = parser.add_argument_group("the messages")
    messages.add_argument("data", metavar="DATA", nargs="?", help="the message, or - for all of stdin")
    messages.add_argument("--lines", action="store_true", help="each line of stdin is a message, sent as it comes")
    messages.add_argument(
        "--file",
        type=Path,
        nargs="+",
        action="extend",
        metavar="PATH",
        help="each file is a message, of the type that its name tells; of a folder, all its files in order",
    )
    messages.add_argument("--loop", action="store_true", help="play the files again and again")
    kind = messages.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="they are JSON (--type application/json)")
    kind.add_argument("--type", default="", metavar="TYPE", help="their content type, such as image/jpeg")
    messages.add_argument(
        "--key",
        default="",
        metavar="KEY",
        help="publish once, however often this command is repeated; with several messages, the n-th has the key KEY-n",
    )
    pace = parser.add_argument_group("how fast").add_mutually_exclusive_group()
    pace.add_argument("--rate", dest="every", type=_interval, metavar="N", help="at most N messages a second")
    pace.add_argument("--every", type=number_above_zero, metavar="SECONDS", help="one message each so many seconds")
    parser.add_argument(
        "--server",
        type=_target,
        default=os.environ.get("COMET_SERVER") or DEFAULT_SERVER,
        metavar="HOST:PORT",
        help="the TCP port of the daemon, or the path of its UNIX socket [%(default)s]",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print the position of each message")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show how many are acknowledged: a line on a terminal, JSON once a second elsewhere",
    )
    return parser
