"""The ``comet`` command, as it is typed, in processes of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.daemons import LONGEST, Daemon, Ended, command, environment

COMET = ("-c", "import sys; from comet.cli import main; sys.argv[0] = 'comet'; sys.exit(main())")


def comet(*arguments: str, stdin: str | None = None) -> Ended:
    """Run ``comet`` until it ends by itself."""
    return command(*COMET, *arguments, stdin=stdin)


def pub(daemon: Daemon, *arguments: str, stdin: str | None = None) -> Ended:
    """Run ``comet pub`` against ``daemon``."""
    return comet("pub", *arguments, "--server", daemon.tcp, stdin=stdin)


def sub(daemon: Daemon, *arguments: str) -> Ended:
    """Run ``comet sub`` against ``daemon``."""
    return comet("sub", *arguments, "--url", f"http://{daemon.http}/")


@contextmanager
def begun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``comet``, running."""
    with subprocess.Popen(
        [sys.executable, *COMET, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()
