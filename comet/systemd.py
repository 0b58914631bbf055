"""What systemd wants to hear from a service (sd_notify(3)): that it is ready, alive, reloading, on its way out.

A datagram to the socket that the environment names; where there is none, nothing happens. A library is not worth it:
the protocol is one line of text, and the wrappers of libsystemd have to be compiled.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from twisted.logger import Logger

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"

_log = Logger()


class Notices:
    """Tells systemd, if it listens."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        # What this process starts must not take itself for the service.
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._watched = environ.pop("WATCHDOG_USEC", "") if environ.pop("WATCHDOG_PID", "") in ("", _me()) else ""

    def tell(self, *notices: str) -> None:
        """Send ``notices``, lines such as ``READY=1``."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto("\n".join(notices).encode(), address)
        except OSError as error:
            _log.warn("systemd cannot be told {notices}: {error}", notices=notices, error=error)

    @property
    def interval(self) -> float:
        """After how many seconds systemd wants to hear that the service is alive, twice over; 0 if it does not."""
        return int(self._watched) / 2_000_000 if self._watched.isdigit() else 0.0


def reloading() -> str:
    """What is said when a reload begins; ``READY=1`` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def main_process() -> str:
    """What a process says that has taken another's place."""
    return f"MAINPID={_me()}"


def _me() -> str:
    return str(os.getpid())
