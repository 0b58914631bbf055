"""Endpoints: parsed early, opened late, and each failure told in one line that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from comet.access.who import is_listed, is_local_peer
from comet.config import BadSetting, Config
from comet.errors import shown
from comet.intake import bound_accepts

BACKLOG = 4_096
"""Connections that may wait to be accepted. Twisted's endpoints say 50: of clients that come back all at once after a
restart, most would have to try again a second later."""

_log = Logger()

_EXAMPLE = "tcp:PORT:interface=127.0.0.1"
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # where to reach what listens everywhere


class CannotListen(Exception):
    """An endpoint that cannot be opened. Its text is one line, with what to do."""


class Face(NamedTuple):
    """An endpoint to listen on: the setting that names it, its text, and the endpoint itself."""

    setting: str
    text: str
    endpoint: IStreamServerEndpoint

    @property
    def is_announced(self) -> bool:
        """Whether a proxy says there whose a connection is."""
        return self.text.startswith("haproxy:")


class Opened(NamedTuple):
    """A face that listens."""

    face: Face
    port: IListeningPort

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can reach it."""
        host: Any = self.port.getHost()
        return not self.face.is_announced and is_local_peer(getattr(host, "host", ""), ())

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
            if text.startswith("haproxy:") and not config.proxy:
                raise BadSetting(
                    f"--{setting}: {shown(text)} needs to know whom to believe; name the proxy, as in --proxy 127.0.0.1"
                )
            yield Face(setting, text, endpoint)


def open_face(face: Face, factory: Any, config: Config) -> Deferred[Opened]:
    """Listen. Fails with :exc:`CannotListen`, also if the world could come and nothing says who may do what."""

    async def listen() -> Opened:
        try:
            port = await face.endpoint.listen(Announced(factory) if face.is_announced else factory)
            if hasattr(port, "socket") and "backlog=" not in face.text:
                port.socket.listen(BACKLOG)  # on a socket that listens this only sets its queue
            bound_accepts(port)
        except (CannotListenError, OSError) as error:
            raise CannotListen(_advice(face, error)) from None
        opened = Opened(face, port)
        if not (opened.is_local or is_guarded(config)):
            await maybeDeferred(port.stopListening)
            raise CannotListen(_unguarded(face))
        return opened

    return Deferred.fromCoroutine(listen())


def is_guarded(config: Config) -> bool:
    """Whether something says who may do what."""
    return bool(config.key or config.authorize_url or config.anonymous)


def _unguarded(face: Face) -> str:
    return (
        f"{face.text} can be reached from elsewhere, and nothing says who may do what: name a key for tokens (--key), "
        "an application that decides (--authorize-url), or what anybody may do (--anonymous subscribe:news/**); or "
        f"listen on this machine alone, with --{face.setting} {_EXAMPLE}"
    )


class Announced(Factory[Any]):
    """Makes the protocols of connections on which a proxy says whose they are (the PROXY protocol): of listed ones."""

    noisy = False

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def doStart(self) -> None:
        """As the factory does."""
        self._factory.doStart()

    def doStop(self) -> None:
        """As the factory does."""
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a connection of the proxy at ``addr``."""
        host = getattr(addr, "host", "")
        if host and not is_listed(host, self._factory.proxies):
            return _Refusing(host)
        protocol = self._factory.buildProtocol(addr)
        protocol.announced = True
        return protocol


class _Refusing(Protocol):
    """The connection of somebody who may not say whose it is."""

    transport: Any

    def __init__(self, host: str) -> None:
        self._host = host

    def connectionMade(self) -> None:
        _log.warn("refused the PROXY protocol of {host}; name it with --proxy if it is yours", host=self._host)
        self.transport.abortConnection()


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
