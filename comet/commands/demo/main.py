"""``comet demo``: feeds the demos with something that moves: this machine's own figures, and a picture.

It waits for the daemon to come, and again whenever it has gone. What could not be published meanwhile is old, and left
out.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from comet.commands.arguments import Parser
from comet.commands.demo.figures import Machine
from comet.commands.demo.picture import picture
from comet.publish import DEFAULT_SERVER, Draft, Publisher, PublishError

MACHINE, PICTURE = "demo/machine", "demo/picture"

RATE = 8
"""Pictures a second; to draw them takes two hundredths of a core."""

PATIENCE = 2.0
"""Seconds after which the daemon counts as gone."""


def main(arguments: Sequence[str]) -> int:
    """Publish until interrupted."""
    options = _parser().parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt), Publisher(options.server, timeout=PATIENCE, patience=PATIENCE) as to:
        feed(to.publish_many, Machine().figures, time.monotonic, time.sleep)
    return 0


def feed(
    publish: Callable[[Sequence[Draft]], object],
    figures: Callable[[], dict[str, Any]],
    now: Callable[[], float],
    sleep: Callable[[float], object],
) -> None:
    """Publish a picture in each frame, and the figures once a second, for ever."""
    told = None
    due = now()
    for number in range(sys.maxsize):
        drafts = [Draft(PICTURE, picture(number / RATE), "image/png")]
        if number % RATE == 0:
            drafts.append(Draft(MACHINE, figures()))
        try:
            publish(drafts)
        except PublishError as error:
            state = f"comet demo: {error}; waiting for the daemon"
        else:
            state = f"comet demo: feeding {MACHINE} and {PICTURE}; see /demo/ on the daemon's HTTP port"
        if state != told:
            told = state
            print(state, flush=True)
        due = max(due + 1 / RATE, now())
        sleep(max(0.0, due - now()))


def _parser() -> Parser:
    parser = Parser("comet demo", description="Feed the demos at /demo/ with this machine's figures and a picture.")
    parser.add_argument(
        "--server",
        default=os.environ.get("COMET_SERVER") or DEFAULT_SERVER,
        help="the TCP port of the daemon, or the path of its UNIX socket [%(default)s]",
    )
    return parser
