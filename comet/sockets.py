"""Sockets: what the kernel is told of one on which somebody listens, and who is told of what comes on it."""

from __future__ import annotations

from socket import AF_UNIX, IPPROTO_TCP, SO_SNDBUF, SOL_SOCKET, TCP_USER_TIMEOUT
from typing import Any

from twisted.internet.tcp import Connection

from comet.config import Config

KERNEL_LATER = 5.0
"""Seconds beyond ``stall`` after which the kernel drops a connection by itself."""


def bound(transport: Any, config: Config) -> None:
    """Tell the kernel how much it may hold for the client of ``transport``, and for how long: for one that never reads
    it would otherwise hold 2.7 MiB before anybody notices."""
    while hasattr(transport, "wrappedProtocol"):  # TLS, PROXY protocol
        transport = transport.transport
    if not isinstance(transport, Connection):
        return
    socket = transport.getHandle()
    socket.setsockopt(SOL_SOCKET, SO_SNDBUF, config.send_buffer)
    if socket.family != AF_UNIX:
        # A client that vanished without a word: the kernel gives up on what it does not acknowledge, heartbeats too.
        # It also gives up on one who does not read, which the router is to find first, because it counts them.
        socket.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, round((config.stall + KERNEL_LATER) * 1000))


def number_of(transport: Any) -> int:
    """The descriptor of the socket of ``transport``, or -1 if it has none."""
    while hasattr(transport, "wrappedProtocol"):
        transport = transport.transport
    return int(transport.fileno()) if isinstance(transport, Connection) else -1


def take_over(transport: Any, protocol: Any) -> None:
    """Make ``protocol`` the one that ``transport`` tells of bytes and of its end."""
    # Wrappers (TLS, PROXY protocol) call it differently than plain transports.
    setattr(transport, "wrappedProtocol" if hasattr(transport, "wrappedProtocol") else "protocol", protocol)
