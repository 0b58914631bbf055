"""The units in ``recipes/systemd``: looked at by systemd's own tools, and their command run as systemd runs it.

systemd itself needs to be process 1. What it does for a service is little, and is done here in its place: it holds the
sockets, hands them over as descriptors from 3 on (sd_listen_fds(3)), and hears what the service says (sd_notify(3)).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from comet.config import Config
from comet.sources import Sources
from tests.daemons import LONGEST, ROOT, environment
from tests.e2e.held import asked, connected, publish, subscribe
from tests.e2e.tools import COMET, Running, begun, path_of, run
from tests.e2e.waiting import PATIENCE, until
from tests.recipes.documented import commands
from tests.recipes.proxies import free_port

UNITS = ROOT / "recipes/systemd"
SERVICE = "comet.service"
EXPOSURE = 2.0
"""The most that ``systemd-analyze security`` may find, of 10; it calls up to 2 'OK'."""

# Becomes the command, with the sockets as the descriptors from 3 on.
_AS_SYSTEMD = """
import fcntl, os, sys
given, *command = sys.argv[1:]
sockets = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 100) for each in given.split(",")]
for number, each in enumerate(sockets, 3):
    os.dup2(each, number)
    os.close(each)
names = ":".join(["comet"] * len(sockets))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=names)
os.execvp(command[0], command)
"""


def values(unit: str, name: str) -> list[str]:
    """What a unit has for ``name``, in order."""
    text = (UNITS / unit).read_text().replace("\\\n", " ")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def value(unit: str, name: str) -> str:
    """The one value that a unit has for ``name``."""
    (found,) = values(unit, name)
    return found


def program(directory: Path) -> Path:
    """The command ``comet``, in ``directory``."""
    found = directory / "comet"
    found.write_text(f'#!/bin/sh\nexec {shlex.join(COMET)} "$@"\n')
    found.chmod(0o755)
    return found


def command_of(directory: Path) -> list[str]:
    """The command of the service, with ``directory`` in place of the directories where it is installed."""
    (directory / "comet.toml").write_text((UNITS / "comet.toml").read_text())
    line = value(SERVICE, "ExecStart").replace("/opt/comet/bin/comet", str(program(directory)))
    return shlex.split(line.replace("/etc/comet/comet.toml", f"{directory}/comet.toml"))


class Init:
    """Process 1, as far as one service is concerned: ``http`` and ``tcp`` are the addresses of its sockets."""

    def __init__(self, stack: ExitStack, command: list[str]) -> None:
        self._stack = stack
        self._command = command
        self._sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096)) for _ in range(2)]
        self.http, self.tcp = (f"127.0.0.1:{each.getsockname()[1]}" for each in self._sockets)
        self._heard = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._heard.bind("")  # Linux gives it a name of its own, which begins with a zero
        self._heard.settimeout(PATIENCE)
        self.notices: list[str] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service, and wait until it says that it is ready."""
        descriptors = [each.fileno() for each in self._sockets]
        given = ",".join(map(str, descriptors))
        process = subprocess.Popen(
            [sys.executable, "-c", _AS_SYSTEMD, given, *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=environment(NOTIFY_SOCKET=f"@{self._heard.getsockname()[1:].decode()}", WATCHDOG_USEC="200000"),
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        self.hear("READY=1", process)
        return process

    def hear(self, notice: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until the service says ``notice``; only its main process may (NotifyAccess=main)."""
        while True:
            lines = self._heard.recv(4096).decode().splitlines()
            self.notices += lines
            assert {line for line in lines if line.startswith("MAINPID=")} <= {f"MAINPID={process.pid}"}
            if notice in lines:
                return

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the service as ``systemctl stop`` does."""
        process.send_signal(signal.SIGTERM)
        self.hear("STOPPING=1", process)
        assert process.wait(LONGEST) == 0


@contextmanager
def init(directory: Path) -> Iterator[Init]:
    """A process 1 for the service; what it has started is ended with the block."""
    with ExitStack() as stack:
        yield Init(stack, command_of(directory))


def test_verify(tmp_path: Path) -> None:
    """systemd finds nothing to complain about in the units."""
    for unit in ("comet.service", "comet.socket"):
        (tmp_path / unit).write_text((UNITS / unit).read_text().replace("/opt/comet/bin/comet", path_of("true")))
    verified = run("systemd-analyze", "verify", "--man=no", str(tmp_path / SERVICE), str(tmp_path / "comet.socket"))
    assert (verified.code, verified.out + verified.err) == (0, "")


def test_exposure() -> None:
    """The service is allowed little of what it does not need."""
    looked = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / SERVICE))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", looked.out)
    assert found is not None, looked
    print(found[0])  # noqa: T201
    assert float(found[1]) <= EXPOSURE


def test_times() -> None:
    """systemd waits longer than the daemon drains, and the sockets are those that the documentation names."""
    config: Config = Sources({"config": str(UNITS / "comet.toml")}, {}).settle().config
    assert float(value(SERVICE, "TimeoutStopSec")) > 2 * config.drain
    assert values("comet.socket", "ListenStream") == ["127.0.0.1:7080", "127.0.0.1:7081"]
    assert value(SERVICE, "Type") == "notify"


def test_activation(tmp_path: Path) -> None:
    """The first connection starts the service, with the command of the unit, and is answered."""
    http, tcp = (f"127.0.0.1:{free_port()}" for _ in range(2))
    # systemd always names the sockets, this tool only if it is told to, and Twisted counts on it.
    activate = ("systemd-socket-activate", "-l", http, "-l", tcp, "--fdname=comet:comet", "-E", f"PYTHONPATH={ROOT}")
    with begun(*activate, *command_of(tmp_path), errors=subprocess.STDOUT) as service:
        answers(service, http, tcp)


def test_activation_by_name(tmp_path: Path) -> None:
    """So it does where the endpoints go by the names of the sockets, with the command of the documentation."""
    (command,) = (command.text for command in commands("docs/recipes/services.rst"))
    http, tcp = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = command.replace("127.0.0.1:7080", http).replace("127.0.0.1:7081", tcp)
    program(tmp_path)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with begun("env", f"PATH={path}", "sh", "-c", f"exec {command}", errors=subprocess.STDOUT) as service:
        answers(service, http, tcp)


def answers(service: Running, http: str, tcp: str) -> None:
    """See to it that a service works whose sockets are there, and end it."""
    service.until(b"Listening on " + tcp.encode())
    with subscribe(http, "/topics/news?transport=sse", "sse") as held, connected(tcp) as publisher:
        publisher.sendall(b"PUBLISH news hello\r\n")
        assert held.until_messages(1)[0]["data"] == "hello"
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0


def test_notices(tmp_path: Path) -> None:
    """The service says when it is ready, then that it is alive, and when it is on its way out."""
    with init(tmp_path) as init_:
        process = init_.start()
        assert asked(init_.http, "GET", "/readyz")[0] == 200
        for _ in range(3):
            init_.hear("WATCHDOG=1", process)
        init_.stop(process)


def test_reload(tmp_path: Path) -> None:
    """ExecReload has the settings file read again: what is listed from then on may use the daemon."""
    assert shlex.split(value(SERVICE, "ExecReload")) == ["/bin/kill", "-HUP", "$MAINPID"]
    with init(tmp_path) as init_:
        process = init_.start()

        def allowed() -> bool:
            return asked(init_.http, "GET", "/topics/a?wait=0", Origin="https://shop.example")[0] == 200

        assert not allowed()
        settings = tmp_path / "comet.toml"
        settings.write_text(settings.read_text().replace("origin = []", 'origin = ["https://shop.example"]'))
        run("/bin/kill", "-HUP", str(process.pid))
        until(allowed, "the settings are read again")
        init_.stop(process)


def test_restart(tmp_path: Path) -> None:
    """Over a restart the sockets stay open: whoever comes meanwhile waits, nobody is refused, and all are told."""
    with init(tmp_path) as init_:
        with Visitors(init_.http) as visitors:
            before = stopped(init_, visitors)
            # Nobody runs now. These connections are made all the same, and wait in the queue of the sockets.
            waiting, publisher = connected(init_.http), connected(init_.tcp)
            with waiting, publisher:
                waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                publisher.sendall(b"PUBLISH news during\r\n")
                process = init_.start()
                assert waiting.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
                assert publisher.recv(100).startswith(b":")
            with subscribe(init_.http, f"/topics/news?transport=sse&since={before}", "sse") as held:
                assert held.until_control("gap")["since"] == before
                assert held.until_messages(1)[0]["data"] == "during"
            visitors.more(20)
        assert not visitors.refused
        init_.stop(process)


def stopped(init_: Init, visitors: Visitors) -> str:
    """Start the service, and stop it under its listeners; returns the position of the last message."""
    process = init_.start()
    with subscribe(init_.http, "/topics/news?transport=sse", "sse") as held:
        position = publish(init_.http, "news", "before")
        held.until_messages(1)
        visitors.more(20)
        init_.stop(process)
        assert 0 < held.until_control("bye")["retry"] <= 10_000
    return position


class Visitors:
    """Who comes again and again, each on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._come)
        self.answered = 0
        self.refused: list[str] = []

    def __enter__(self) -> Visitors:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def more(self, count: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.answered + count
        until(lambda: self.answered >= wanted, f"{count} more visitors are answered")

    def _come(self) -> None:
        while not self._over.wait(0.005):
            try:
                with connected(self._address) as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    self.answered += connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            except ConnectionRefusedError as error:
                self.refused.append(str(error))
            except (ConnectionResetError, TimeoutError):
                pass  # it was with the service that ended
