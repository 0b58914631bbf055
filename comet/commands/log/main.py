"""``comet log``: look at the file of a durable log, save what is in it, and fill another.

Nothing here needs a daemon; what only reads works beside one that has the file open.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec

from comet.commands.arguments import Parser
from comet.commands.log.about import about
from comet.commands.log.bounds import bound
from comet.commands.log.export import export
from comet.commands.log.file import LogFile, path_of
from comet.commands.log.importing import Import
from comet.commands.log.screen import Screen
from comet.commands.log.taking import Refused, renew
from comet.commands.log.verdict import counted
from comet.commands.log.verify import verify
from comet.config import Config
from comet.errors import BadPattern, StoreFailed
from comet.topics import Pattern

DESCRIPTION = "Look at the file of a durable log (--store sqlite:PATH), save what is in it, or fill another."

EXAMPLES = """examples:
  comet log info comet.db                                     what is in it
  comet log verify comet.db                                   is it whole? exit code 0 if so, 1 if not
  comet log export comet.db --since 2h > lately.ndjson        messages, as lines of JSON
  comet log export damaged.db | comet log import new.db       what can be saved of a file

info, verify and export work while a daemon has the file open. Run all as the daemon's user."""


def main(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` say; returns 0 if all is well, 1 if something is damaged."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _verify(options: argparse.Namespace) -> int:
    with closing(LogFile(options.path)) as file, Screen() as screen:
        verdict = verify(file, screen.show)
    print(msgspec.json.encode(verdict).decode() if options.json else "\n".join(verdict.lines()))
    return 0 if verdict.good else 1


def _export(options: argparse.Namespace) -> int:
    with closing(LogFile(options.path)) as file:
        return export(file, options.since, options.until, options.topic)


def _info(options: argparse.Namespace) -> int:
    with closing(LogFile(options.path)) as file:
        try:
            found = about(file)
        except (sqlite3.Error, StoreFailed, msgspec.DecodeError) as error:
            raise SystemExit(
                f"comet: {file.path} is damaged: {error}; 'comet log verify' says how much is, "
                "'comet log export' saves the rest"
            ) from None
    print(msgspec.json.encode(found).decode() if options.json else "\n".join(found.lines()))
    return 0


def _import(options: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        raise SystemExit(f"comet: give the messages on standard input: comet log import {options.path} < FILE")
    with Screen() as screen:
        work = Import(options.path, lambda count: screen.show(f"{counted(count, 'message')} imported"))
        try:
            work.run(sys.stdin.buffer, keep_ids=options.keep_ids)
        except Refused as error:
            done = f"; what is before that, {counted(work.count, 'message')}, is imported" if work.count else ""
            raise SystemExit(f"comet: {error}{done}") from None
    where = f", {work.first} to {work.last}" if work.count else ""
    print(f"{counted(work.count, 'message')} imported into {options.path}{where}")
    _warn(work)
    return 0


def _warn(work: Import) -> None:
    keep = Config().keep_seconds
    if work.count and work.oldest < time.time() - keep:
        print(
            f"comet: some of them are older than {keep / 86_400:g} days, and go when a daemon starts, "
            "unless it is told to keep them by --keep-seconds",
            file=sys.stderr,
        )


def _renew(options: argparse.Namespace) -> int:
    try:
        old, new = renew(options.path)
    except Refused as error:
        raise SystemExit(f"comet: {error}") from None
    print(f"the positions of {options.path} begin with {new}- now, and not with {old}-")
    return 0


def _pattern(text: str) -> Pattern:
    try:
        return Pattern.parse(text)
    except BadPattern as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet log", description=DESCRIPTION, epilog=EXAMPLES)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        one.add_argument("path", metavar="PATH", type=path_of, help="the file, as the daemon has it after sqlite:")
        one.set_defaults(run=run)
        return one

    for name, run, text in (
        ("info", _info, "say what is in the file, without going through all of it"),
        ("verify", _verify, "go through all of the file, and say what is damaged"),
    ):
        command(name, run, text).add_argument("--json", action="store_true", help="print an object of JSON")

    exporting = command("export", _export, "print messages, each as a line of JSON, and tell what cannot be read")
    exporting.add_argument(
        "--topic", type=_pattern, action="append", metavar="PATTERN", help="only these topics; may be repeated"
    )
    moment = "a position, a time (2026-01-31T12:00), or how long ago (2h)"
    exporting.add_argument("--since", type=bound, help=f"only what came after it: {moment}")
    exporting.add_argument("--until", type=bound, help=f"only what came before: {moment}; a position is included")

    importing = command("import", _import, "append messages, a line of JSON each, to a file that no daemon has open")
    importing.add_argument(
        "--keep-ids", action="store_true", help="keep positions, in a file without messages; see the documentation"
    )
    command("renew", _renew, "give the file another epoch, so that all older positions are told as gaps")
    return parser
