"""Intake: how much one turn of the reactor takes in.

Twisted hears every socket that has something to say in the same turn, and accepts all who have come. Of thousands of
hostile clients that is up to a second in which nobody is given anything; and a flush to ten thousand subscribers takes
several turns. So there is a bound to both, and a lower one between the turns of a flush: those who wait for a message
that others have already go before those who ask for something. Nobody is passed over: whom the kernel has not named
yet it names first in the next turn, and who was not accepted waits in the queue of the socket.
"""

from __future__ import annotations

from collections.abc import Callable
from select import epoll
from typing import Any

EVENTS = 32
"""Sockets that are heard in one turn."""

EVENTS_IN_FLUSH = 12
"""Sockets that are heard in one turn while rows of a flush are left for the next."""

ACCEPTS = 16
"""Connections that are accepted in one turn, of each face."""


class _Poller:
    """``poller``, which names a bounded number at once."""

    def __init__(self, poller: epoll, is_flushing: Callable[[], bool]) -> None:
        self.register = poller.register
        self.modify = poller.modify
        self.unregister = poller.unregister
        self._poll = poller.poll
        self._is_flushing = is_flushing

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        return self._poll(timeout, min(most, EVENTS_IN_FLUSH if self._is_flushing() else EVENTS))


def bound_events(reactor: Any, is_flushing: Callable[[], bool]) -> None:
    """Have a turn of ``reactor`` hear a bounded number of sockets, if it is the one for Linux. Twisted has no setting
    for that. ``is_flushing`` says whether a flush goes on in the next turn."""
    poller = getattr(reactor, "_poller", None)
    if isinstance(poller, epoll):
        reactor._poller = _Poller(poller, is_flushing)


def bound_accepts(port: Any) -> None:
    """Have a turn accept a bounded number of connections on ``port``, if it is a socket. Twisted's own bound grows
    with a flood."""
    if not hasattr(port, "numberAccepts"):
        return
    accept = port.doRead

    def accept_some() -> None:
        port.numberAccepts = min(port.numberAccepts, ACCEPTS)
        accept()

    port.doRead = accept_some
