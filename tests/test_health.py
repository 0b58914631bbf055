"""``comet health``: an exit code and a line, for who cannot do more with an answer."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from tests.comets import comet
from tests.daemons import Daemon, Ended, command, running
from tests.e2e.held import connected
from tests.e2e.waiting import until
from tests.stage import Stage


def health(address: str, *arguments: str) -> Ended:
    """Run ``comet health`` against ``address``."""
    return comet("health", "--url", f"http://{address}/", *arguments)


def test_ready(daemon: Daemon) -> None:
    """A daemon that is ready is exit code 0, and a word."""
    assert health(daemon.http) == Ended(0, "ready\n", "")


def test_nobody() -> None:
    """Nobody there is exit code 1, and what to do."""
    ended = health("127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "comet health: http://127.0.0.1:1/ is not ready: connection refused; "
        "start the daemon with comet serve, or say where it is with --url\n"
    )


def test_draining() -> None:
    """A daemon that is about to end is not ready, though it still answers."""
    with running("--drain", "30") as daemon, connected(daemon.http) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        kept.recv(65_536)
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: health(daemon.http).code == 1, "the daemon drains")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            b'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n{"detail":"the daemon is shutting down"}',
            "the daemon is shutting down; try again in a while",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>",
            "the answer is 502 Bad Gateway, not one of Comet; --url takes the HTTP port of Comet",
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>",
            "the answer is 200 OK, not one of Comet; --url takes the HTTP port of Comet",
        ),
        (b"+PONG\r\n", "what answers does not speak HTTP; "),
        (b"", "remote end closed connection without response; "),
        (
            b'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n{"detail":"a\\n\\u001b[2Jb"}',
            "a \N{REPLACEMENT CHARACTER}[2Jb; try again in a while",
        ),
    ],
)
def test_not_ready(act: bytes, said: str) -> None:
    """Whatever else answers is exit code 1, and one line with a hint."""
    with Stage(act) as stage:
        ended = health(stage.address)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert f"is not ready: {said}" in ended.err


def test_where(daemon: Daemon) -> None:
    """The path of the URL is where a proxy has Comet."""
    with Stage(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status":"ok"}') as stage:
        ended = comet("health", "--url", f"http://{stage.address}/push/")
    assert ended.code == 0
    assert stage.requests[0].startswith(b"GET /push/readyz HTTP/1.1\r\n")


@pytest.mark.parametrize("pieces", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_timeout(pieces: bytes) -> None:
    """Who answers nothing, or a byte at a time without an end, is given up after ``--timeout`` seconds."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(pieces)
                while not over.wait(0.05):
                    try:
                        connection.sendall(pieces[-1:])
                    except OSError:
                        return

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        begin = time.monotonic()
        ended = health(f"127.0.0.1:{server.getsockname()[1]}", "--timeout", "0.5")
        seconds = time.monotonic() - begin
        over.set()
        dripping.join(5)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "is not ready: no answer within 0.5 seconds" in ended.err
    assert 0.5 < seconds < 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timeout", "soon"], "argument --timeout: 'soon' cannot be used: write seconds, such as 3 or 0.5; see "),
        (["--timeout", "nan"], "argument --timeout: 'nan' cannot be used: write seconds, such as 3 or 0.5; see "),
        (
            ["--url", "ftp://h/"],
            "argument --url: 'ftp://h/' cannot be used: write a URL such as http://127.0.0.1:7080/",
        ),
        (["--url", "http://[::1/"], "argument --url: 'http://[::1/' cannot be used: write a URL such as http://"),
    ],
)
def test_mistake(arguments: list[str], said: str) -> None:
    """A mistake in the arguments is one line with a hint, and exit code 1."""
    ended = comet("health", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(f"comet health: {said}")


def test_starts_fast() -> None:
    """It imports nothing beyond the standard library, so that a container is not busy with asking itself."""
    ended = command("-c", "import sys, comet.commands.health; print('\\n'.join(sys.modules))")
    loaded = {name.partition(".")[0] for name in ended.out.split()}
    assert not loaded & {"twisted", "msgspec", "klein", "multiprocessing", "asyncio", "hypothesis"}
