"""Endpoints: parsed early, opened late, and each failure told in one line that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from comet.config import BadSetting, Config
from comet.errors import shown

BACKLOG = 4_096
"""Connections that may wait to be accepted. Twisted's endpoints say 50: of clients that come back all at once after a
restart, most would have to try again a second later."""

_EXAMPLE = "tcp:PORT:interface=127.0.0.1"
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # where to reach what listens everywhere


class CannotListen(Exception):
    """An endpoint that cannot be opened. Its text is one line, with what to do."""


class Face(NamedTuple):
    """An endpoint to listen on: the setting that names it, its text, and the endpoint itself."""

    setting: str
    text: str
    endpoint: IStreamServerEndpoint


class Opened(NamedTuple):
    """A face that listens."""

    face: Face
    port: IListeningPort

    def address(self) -> str:
        """Where it can be reached: ``host:port``, or the path of a UNIX socket."""
        host: Any = self.port.getHost()
        if not hasattr(host, "port"):
            return os.fsdecode(host.name)
        name = _LOOPBACKS.get(host.host, host.host)
        return f"[{name}]:{host.port}" if ":" in name else f"{name}:{host.port}"


def faces(config: Config, reactor: Any) -> Iterator[Face]:
    """Yield what ``config`` says to listen on. Raises :exc:`~comet.config.BadSetting`."""
    for setting, texts in (("http", config.http), ("tcp", config.tcp)):
        for text in texts:
            try:
                endpoint = serverFromString(reactor, text)
            except Exception as error:  # each endpoint plugin has its own way to dislike its arguments
                raise BadSetting(
                    f"--{setting}: {shown(text)} cannot be used: {_reason(error)}; "
                    f"write a Twisted endpoint, such as {_EXAMPLE}"
                ) from None
            yield Face(setting, text, endpoint)


def open_face(face: Face, factory: IProtocolFactory) -> Deferred[Opened]:
    """Listen. Fails with :exc:`CannotListen`."""

    async def listen() -> Opened:
        try:
            port = await face.endpoint.listen(factory)
            if hasattr(port, "socket") and "backlog=" not in face.text:
                port.socket.listen(BACKLOG)  # on a socket that listens this only sets its queue
            return Opened(face, port)
        except (CannotListenError, OSError) as error:
            raise CannotListen(_advice(face, error)) from None

    return Deferred.fromCoroutine(listen())


def _advice(face: Face, error: CannotListenError | OSError) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    code = getattr(cause, "errno", None)
    reason = os.strerror(code).lower() if code is not None else _reason(error)
    other = f"with --{face.setting} {_EXAMPLE}"
    todo = {
        errno.EADDRINUSE: f"stop the other process or choose another port {other}",
        errno.EACCES: f"ports below 1024 need privileges, choose another port {other}",
        errno.EADDRNOTAVAIL: f"no interface of this machine has that address, choose another {other}",
    }.get(code or 0, f"choose another endpoint {other}")
    return f"cannot listen on {face.text}: {reason}; {todo}"


def _reason(error: Exception) -> str:
    """Return what ``error`` says, in one line; an error of lookup says only what was not found."""
    text = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
