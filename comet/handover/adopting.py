"""Endpoints on sockets that listen already.

An endpoint knows how to wrap what it listens for (TLS, PROXY protocol) but not how to take a socket over. It asks the
reactor to listen; so it is given a reactor that, asked to listen, takes the socket.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.unix import Port
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.lockfile import FilesystemLock


class Adopting:
    """A reactor like the one it is made of, but that takes ``socket``, if there is one, instead of opening its own."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.socket: socket.socket | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: IProtocolFactory, *rest: Any, **named: Any) -> IListeningPort:
        """See ``IReactorTCP``."""
        adopted = self._adopted(factory)
        return adopted if adopted is not None else self._reactor.listenTCP(port, factory, *rest, **named)

    def listenSSL(
        self, port: int, factory: IProtocolFactory, contextFactory: Any, *rest: Any, **named: Any
    ) -> IListeningPort:
        """See ``IReactorSSL``."""
        adopted = self._adopted(TLSMemoryBIOFactory(contextFactory, False, factory))
        if adopted is not None:
            return adopted
        return self._reactor.listenSSL(port, factory, contextFactory, *rest, **named)

    def listenUNIX(self, address: str, factory: IProtocolFactory, *rest: Any, **named: Any) -> IListeningPort:
        """See ``IReactorUNIX``."""
        taken, self.socket = self.socket, None
        if taken is None:
            return self._reactor.listenUNIX(address, factory, *rest, **named)
        with taken:
            taken.setblocking(False)
            port = Port._fromListeningDescriptor(self._reactor, taken.fileno(), factory)
        # As adoptStreamPort does it, but that would let the whole world in, whatever the mode was.
        port.mode = named.get("mode", port.mode)
        port.startListening()
        if named.get("wantPID"):
            port.lockFile = _taken_lock(f"{address}.lock")
        return port

    def _adopted(self, factory: IProtocolFactory) -> Any:
        taken, self.socket = self.socket, None
        if taken is None:
            return None
        with taken:  # the reactor makes its own copy
            taken.setblocking(False)
            return self._reactor.adoptStreamPort(taken.fileno(), taken.family, factory)


def _taken_lock(name: str) -> FilesystemLock:
    """Make the lock beside a UNIX socket ours: a third daemon would take one whose owner is gone for a leftover, and
    remove the socket."""
    ours = Path(f"{name}.{os.getpid()}")
    ours.symlink_to(str(os.getpid()))
    ours.replace(name)
    lock = FilesystemLock(name)
    lock.locked = True
    return lock
