"""``comet serve``: what ``twistd -n comet`` does, in this process, for who does not know twistd."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.scripts import twistd


def main(arguments: Sequence[str]) -> int:
    """Run the daemon in the foreground until a signal ends it; ``arguments`` are those of ``twistd comet``."""
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "comet", *arguments]
    twistd.run()
    return 0
