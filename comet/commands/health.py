"""``comet health``: whether the daemon is ready, as an exit code: for containers, units and scripts.

It asks ``/readyz`` once. The trap is an answer that comes a byte at a time, which no time limit on the socket ends: an
alarm does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from comet.commands.arguments import Parser
from comet.commands.asking import Unanswered, add_url, ask

TIMEOUT = 3.0


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the daemon is ready, 1 if it is not; either is one line."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, options.timeout)
    try:
        ask(options.url, "/readyz", options.timeout)
    except Unanswered as error:
        print(f"comet health: {options.url.geturl()} is not ready: {error}; {error.hint()}", file=sys.stderr)
        return 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print("ready")
    return 0


def _late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write seconds, such as 3 or 0.5")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet health", description="Ask whether the daemon is ready: exit code 0 if it is, 1 if not.")
    add_url(parser)
    parser.add_argument(
        "--timeout", type=_timeout, default=TIMEOUT, metavar="SECONDS", help="the longest time to wait [%(default)g]"
    )
    return parser
