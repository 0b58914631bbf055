"""``make run``: the first thing that anybody tries."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from tests.daemons import ROOT, environment
from tests.e2e.held import asked_json
from tests.e2e.tools import Running, path_of
from tests.recipes.proxies import free_port


def test_make_run() -> None:
    """It starts a daemon and feeds its demos; one interrupt ends all of it."""
    http, tcp = free_port(), free_port()
    where = {"COMET_HTTP": f"tcp:{http}:interface=127.0.0.1", "COMET_TCP": f"tcp:{tcp}:interface=127.0.0.1"}
    with subprocess.Popen(
        [path_of("make"), "run", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env=environment(**where, COMET_SERVER=f"127.0.0.1:{tcp}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as made:
        try:
            running = Running(made)
            running.until(b"feeding")
            page = asked_json(f"127.0.0.1:{http}", "/topics?topic=demo/machine&topic=demo/picture&since=last&wait=20")
            assert page["messages"]
            os.killpg(made.pid, signal.SIGINT)
            running.wait()
            assert running.is_closed(), "somebody is left that could write"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(made.pid, signal.SIGKILL)
