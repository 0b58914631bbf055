"""Who is measured: Comet, the floor and the peers. How each is started, and how the load talks to it."""

from __future__ import annotations

import getpass
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FIRST_PORT = 21_000
"""Below the ports that the kernel gives to clients, of which ten thousand are in use."""

PATIENCE = 15.0
"""Seconds that a server may take to listen, and to end."""

MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")


class Missing(Exception):
    """What a server needs is not installed."""


class Server(NamedTuple):
    """A way to start a server: ``command`` gets a directory of its own and the two ports, of subscribers and of
    publishers, that ``ports`` says the number of. Raises :exc:`Missing`."""

    command: Callable[[Path, Sequence[int]], list[str]]
    ports: int = 1


class Face(NamedTuple):
    """A way to talk to a server: the options of the load."""

    server: str
    options: Mapping[str, object]


class Running(NamedTuple):
    """A server that listens."""

    process: subprocess.Popen[bytes]
    subscribe_port: int
    publish_port: int


def servers(work: Path, comet: str) -> dict[str, Server]:
    """Return all servers by name. ``work`` has the compiled programs, ``comet`` is the command of the daemon."""

    def start_comet(_: Path, ports: Sequence[int]) -> list[str]:
        http, tcp = (f"tcp:{port}:interface=127.0.0.1" for port in ports)
        return [*shlex.split(comet), "--http", http, "--tcp", tcp]

    return {
        "floor": Server(lambda _, ports: [str(work / "floor"), str(ports[0])]),
        "nchan": Server(_start_nchan),
        "node": Server(_start_node),
        "comet": Server(start_comet, 2),
    }


def default_comet() -> str:
    """The command that starts the daemon in the foreground with the interpreter that runs this."""
    return shlex.join([str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "comet"])


_WEBSOCKET = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_SSE = {"path": "/topics/", "query": "?transport=sse"}

FACES: Mapping[str, Face] = {
    "floor": Face("floor", {"publish": "inline"}),
    "nchan": Face("nchan", {"headers": "Accept: text/event-stream\r\n", "publish": "post"}),
    "node": Face("node", {"publish": "post"}),
    "comet": Face("comet", {**_SSE, "publish": "inline"}),
    "comet, arrays": Face("comet", {**_SSE, "publish": "array"}),
    "comet, XADD": Face("comet", {**_SSE, "publish": "xadd"}),
    "comet, POST": Face("comet", {**_SSE, "publish": "post", "post_path": "/topics/"}),
    "comet, WebSocket": Face("comet", {"path": "/topics/", "headers": _WEBSOCKET, "publish": "inline"}),
    "comet, polls": Face("comet", {"path": "/topics/", "query": "?transport=poll", "poll": 1, "publish": "inline"}),
}


def publishes_by_post(face: Face) -> bool:
    """Whether a connection of a publisher has one publish at a time."""
    return face.options["publish"] == "post"


@contextmanager
def running(server: Server, face: Face, work: Path, further: Sequence[str], cpu: int) -> Iterator[Running]:
    """Run ``server`` with ``further`` arguments on ``cpu``; it is ended, with all that it has started, at the end."""
    ports = [_free_port() for _ in range(server.ports)]
    with (work / "server.log").open("wb") as log, pinned(cpu):
        process = subprocess.Popen(
            [*server.command(work, ports), *further],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_listening(process, ports, work / "server.log")
        yield Running(process, ports[0], ports[0] if publishes_by_post(face) else ports[-1])
    finally:
        _end(process)


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Have what is started meanwhile run on ``cpu`` alone; a negative one is none in particular."""
    before = os.sched_getaffinity(0)
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _start_nchan(work: Path, ports: Sequence[int]) -> list[str]:
    module = next(filter(Path.exists, (Path(each) / "ngx_nchan_module.so" for each in MODULES)), None)
    if shutil.which("nginx") is None or module is None:
        raise Missing("nginx with nchan (Debian: nginx-core libnginx-mod-nchan)")
    values = {
        "MODULE": module,
        "USER": getpass.getuser(),
        "FILES": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "DIRECTORY": work,
        "PORT": ports[0],
    }
    text = (HERE / "nchan.conf").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (work / "nginx.conf").write_text(text)
    return ["nginx", "-c", str(work / "nginx.conf"), "-p", str(work), "-e", str(work / "nginx.log")]


def _start_node(_: Path, ports: Sequence[int]) -> list[str]:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        raise Missing("node (Debian: nodejs)")
    return [node, str(HERE / "node_sse.js"), str(ports[0])]


_next_port = iter(range(FIRST_PORT, 32_000))


def _free_port() -> int:
    for port in _next_port:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def _await_listening(process: subprocess.Popen[bytes], ports: Sequence[int], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(map(_answers, ports)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(PATIENCE)
            return
        except subprocess.TimeoutExpired:
            continue
