"""What systemd is told, and what happens where there is none."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from comet.systemd import ALIVE, READY, STOPPING, Notices, main_process, reloading
from tests.daemons import LONGEST, running


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(LONGEST)
        yield listening


def heard(listening: socket.socket) -> list[str]:
    """The lines of the next notice."""
    return listening.recv(4096).decode().splitlines()


def test_tells(notified: socket.socket) -> None:
    """Notices are lines of one datagram, and the variables that lead there are not inherited by other processes."""
    environ = {"NOTIFY_SOCKET": notified.getsockname(), "PATH": "/bin"}
    Notices(environ).tell(READY, main_process())
    assert heard(notified) == ["READY=1", f"MAINPID={os.getpid()}"]
    assert environ == {"PATH": "/bin"}


def test_tells_a_socket_without_a_file() -> None:
    """A name that begins with @ is one without a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0comet-test-{os.getpid()}")
        Notices({"NOTIFY_SOCKET": f"@comet-test-{os.getpid()}"}).tell(ALIVE)
        assert heard(listening) == ["WATCHDOG=1"]


def test_tells_nobody(tmp_path: Path) -> None:
    """Without systemd, or if it is gone, nothing happens."""
    Notices({}).tell(READY)
    Notices({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "4000000"}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float) -> None:
    """It is told twice within the time that it allows, if it watches this process."""
    assert Notices(dict(environ)).interval == seconds


def test_reloading() -> None:
    """A reload is announced with the time, so that systemd can tell one from the other."""
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reloading())


def test_life(notified: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon is ready once it listens, tells that it is alive as long as its reactor turns, and when it stops."""
    monkeypatch.setenv("NOTIFY_SOCKET", notified.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with running() as daemon:
        assert heard(notified) == [READY, f"MAINPID={daemon.process.pid}"]
        assert [heard(notified) for _ in range(3)] == [[ALIVE]] * 3
        daemon.process.send_signal(signal.SIGHUP)
        told = [heard(notified)]
        while told[-1] != [READY]:
            told.append(heard(notified))
        assert "RELOADING=1" in [notice[0] for notice in told]
        assert daemon.end() == 0
        notices = [heard(notified)]
        while notices[-1] != [STOPPING]:
            notices.append(heard(notified))
        assert set(map(tuple, notices)) <= {(ALIVE,), (STOPPING,)}
