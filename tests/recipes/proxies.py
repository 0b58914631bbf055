"""The real proxies of Debian, started in the foreground with a configuration that a test gives::

    with running() as daemon, proxy("nginx", "server { listen LISTEN; … http://UPSTREAM; …}", daemon.http) as front:
        … front.url …

In a configuration these words, in capitals, are replaced:

=============  =====================================================================================================
``LISTEN``     the host and port where the proxy is to listen, ``127.0.0.1:21234``; ``LISTEN_PORT`` is the port alone
``UPSTREAM``   the host and port where Comet listens; ``UPSTREAM_PORT`` is the port alone
``CERT``       a file with a certificate for ``localhost`` and the names of the recipes; ``KEY`` its key, ``BOTH`` both
``DIRECTORY``  a directory that is there as long as the proxy is
``USER``       whoever runs the test, and ``GROUP``
=============  =====================================================================================================

A configuration with a certificate is taken to speak TLS. For nginx it is what stands in ``conf.d``, for Apache a site:
their frames are in ``frames.py``. The trap is a port that is free and is taken before the proxy has it: ours are below
those that the kernel gives out.
"""

from __future__ import annotations

import getpass
import grp
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.held import connected, secured
from tests.e2e.waiting import PATIENCE, until
from tests.recipes.certificate import written
from tests.recipes.frames import KINDS

_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_given: set[int] = set()
"""Ports that this process has been given: who was may not listen there yet."""

_TLS = re.compile(r"\b(CERT|BOTH)\b")


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy that runs. ``address`` is where it listens; ``ca`` is the file to trust it by, None without TLS."""

    url: str
    address: str
    ca: str | None
    process: subprocess.Popen[bytes]
    output: Path

    def log(self) -> str:
        """What it has said so far."""
        return self.output.read_text(errors="replace")


@contextmanager
def proxy(
    kind: str, config_text: str, upstream: str, *, words: Mapping[str, str] | None = None, frame: str | None = None
) -> Iterator[Front]:
    """A proxy of ``kind`` (``nginx``, ``haproxy``, ``apache``, ``varnish`` or ``squid``) in front of ``upstream``.

    ``words`` are further words that are replaced, and ``frame`` takes the place of the one around ``config_text``.
    The proxy is ended with the block.
    """
    found = KINDS[kind]
    with tempfile.TemporaryDirectory(prefix=f"comet-{kind}-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # some become another user
        files = written(directory)
        address = f"127.0.0.1:{free_port()}"
        values = {
            "LISTEN": address,
            "LISTEN_PORT": address.rpartition(":")[2],
            "UPSTREAM": upstream,
            "UPSTREAM_PORT": upstream.rpartition(":")[2],
            "CERT": str(files.cert),
            "KEY": str(files.key),
            "BOTH": str(files.both),
            "DIRECTORY": name,
            "USER": getpass.getuser(),
            "GROUP": grp.getgrgid(os.getgid()).gr_name,
            **(words or {}),
        }
        (directory / "site").write_text(filled(found.head + config_text, values))
        (directory / "main").write_text(filled(found.frame if frame is None else frame, values))
        command = [filled(word, values) for word in found.command]
        secure = _TLS.search(config_text) is not None
        url = f"{'https' if secure else 'http'}://localhost:{values['LISTEN_PORT']}"
        with _started(command, directory / "output", found.ending) as process:
            front = Front(url, address, str(files.cert) if secure else None, process, directory / "output")
            until(lambda: _listens(front), f"{kind} listens; it says: {front.log()}")
            yield front


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with each word of ``values`` replaced where it stands alone."""
    words = "|".join(sorted(values, key=len, reverse=True))
    return re.sub(rf"\b({words})\b", lambda match: values[match[1]], text)


def free_port() -> int:
    """A port of the loopback that nobody uses, and that the kernel gives to nobody who does not ask for it."""
    while True:
        port = random.randrange(20_000, 30_000)
        if port in _given:
            continue
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def program(name: str) -> str:
    """Where a proxy is; Debian keeps them where only root looks. One that is missing fails the test."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if found is None:
        pytest.fail(f"{name} is not installed; 'make tools' installs it")
    return found


@contextmanager
def _started(command: list[str], output: Path, ending: int) -> Iterator[subprocess.Popen[bytes]]:
    """``command``, in a process group of its own, which is ended as a whole."""
    with (
        output.open("wb") as sink,
        subprocess.Popen(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(ending)
            try:
                process.wait(PATIENCE)
            finally:
                _end_group(process.pid)


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _listens(front: Front) -> bool:
    assert front.process.poll() is None, f"it ended at once: {front.log()}"
    try:
        # Apache listens before it has read all of its configuration: only who shakes hands is there to stay.
        (connected(front.address) if front.ca is None else secured(front.address, front.ca)).close()
    except (ConnectionError, ssl.SSLEOFError):
        return False
    return True
