"""``comet serve``: what ``twistd -n comet`` does, in this process, for who does not know twistd.

The trap: twistd's help and hints name twistd. The arguments are therefore read here first, and then by twistd.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.scripts import twistd

from comet.tap import Options


class ServeOptions(Options):
    """The same flags, under another name."""

    program = "comet serve"
    synopsis = "usage: comet serve [options]"


def main(arguments: Sequence[str]) -> int:
    """Run the daemon in the foreground until a signal ends it; ``arguments`` are those of ``twistd comet``."""
    ServeOptions().parseOptions(arguments)  # type: ignore[no-untyped-call]
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "comet", *arguments]
    twistd.run()
    return 0
