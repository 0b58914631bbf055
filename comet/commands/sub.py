"""``comet sub``: print what is published, as it comes. :mod:`comet.commands.held` gets it.

The trap: a terminal obeys control characters, and a message may hold any; they are shown, not sent to it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence

from comet.commands.acknowledging import Acknowledging, path_of
from comet.commands.arguments import Parser, number_above_zero
from comet.commands.asking import add_url
from comet.commands.held import Line, Wish, follow

DESCRIPTION = """Subscribe to topics or patterns, and print each message as it comes, until ctrl-C.

In a pattern * stands for one segment of a topic, and ** at the end for one or more. When the connection is lost, or the
daemon restarts, it goes on where it was; what could not be had any more is told on stderr."""

EXAMPLES = """examples:
  comet sub news                              what is published from now on
  comet sub 'auction/*' --since first         what is still kept, and then what comes
  comet sub camera/7 --raw --count 1 > 7.jpg  the payload of one message, as it is
  comet sub 'orders/*' --consumer billing     what billing has not had yet, wherever and whenever it runs
  comet sub '$stats/**' --json                how the daemon is doing, once a second"""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def main(arguments: Sequence[str]) -> int:
    """Print messages until ``--count`` of them have come; returns 0."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.patterns and options.consumer is None:
        parser.error("name a topic or a pattern, or a consumer that is there with --consumer")
    further = [("conflate", "1")] if options.conflate else []
    if options.pace:
        further.append(("pace", str(max(1, round(options.pace * 1000)))))
    try:
        if options.consumer is None:
            _print(Wish(options.url, options.patterns, further), options, _nothing)
        else:
            wish = Wish(options.url, options.patterns, further, path_of(options.consumer))
            with Acknowledging(options.url, options.consumer) as acknowledging:
                _print(wish, options, acknowledging.done)
    except KeyboardInterrupt:
        # The terminal has written ^C into the line where the prompt would follow.
        if sys.stderr.isatty():
            print(file=sys.stderr)
        raise
    return 0


def _print(wish: Wish, options: argparse.Namespace, done: Callable[[str], None]) -> None:
    """Print what comes; ``done`` is told up to where that is."""
    write, left = sys.stdout.buffer.write, options.count
    for lot in follow(wish, options.since):
        printed = ""
        for raw, line in lot:
            if line.comet == "gap":
                _tell_gap(line)
            elif not line.comet:
                write(options.shown(raw, line))
                printed = line.id
                left -= 1
                if left == 0:
                    break
        sys.stdout.buffer.flush()
        if printed:
            done(printed)
        if printed and left == 0:
            return


def _nothing(position: str) -> None:
    """Who is no consumer acknowledges nothing."""


def _tell_gap(line: Line) -> None:
    """Say what may be missing, why, and what would have kept it. A position begins with the epoch of the log."""
    sys.stdout.buffer.flush()
    if line.since.partition("-")[0] == line.until.partition("-")[0]:
        why = "the daemon no longer kept them; with --retain-messages and --retain-seconds it keeps more"
    else:
        why = "the daemon was started anew without them; with comet serve --replace it takes them over"
    print(f"comet: messages after {line.since} up to {line.until} may be missing: {why}", file=sys.stderr)


def _human(_: bytes, line: Line) -> bytes:
    if line.data64 is not None:
        return f"{line.topic}  ({len(line.payload())} bytes)\n".encode()
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line.payload().decode())
    return f"{line.topic}  {text}\n".encode()


def _json(raw: bytes, _: Line) -> bytes:
    return raw


def _raw(_: bytes, line: Line) -> bytes:
    return line.payload()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet sub", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a topic, or with * and ** many of them")
    which = parser.add_argument_group("which messages")
    which.add_argument(
        "--since",
        default="now",
        help="now; first, the oldest that is kept; last, the newest of each topic; -N, the newest N; "
        "or a position, for what came after it [%(default)s]",
    )
    which.add_argument(
        "--consumer",
        metavar="NAME",
        help="be the reader of this consumer, whose place the daemon keeps: what was printed is acknowledged, and does "
        "not come again; --since and the topics count when it is made, and the topics may be left out later",
    )
    which.add_argument("--count", type=_count, default=0, metavar="N", help="stop after N messages")
    which.add_argument("--conflate", action="store_true", help="of what comes together, only the newest of each topic")
    which.add_argument("--pace", type=number_above_zero, metavar="SECONDS", help="get news no more often than that")
    shape = parser.add_argument_group("how they are printed").add_mutually_exclusive_group()
    _format(shape, "--json", _json, "each message as a line of JSON, with its position, topic and time")
    _format(shape, "--raw", _raw, "each payload as it is, with nothing between")
    add_url(parser)
    parser.set_defaults(shown=_human)
    return parser


def _format(
    group: argparse._MutuallyExclusiveGroup, flag: str, shown: Callable[[bytes, Line], bytes], text: str
) -> None:
    group.add_argument(flag, dest="shown", action="store_const", const=shown, help=text)
