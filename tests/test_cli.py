"""The ``comet`` command: its table, and what its commands have in common."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence

import pytest

from comet.cli import COMMANDS
from tests.comets import COMET, comet, pub, sub
from tests.daemons import Daemon, command
from tests.stage import Stage


def test_usage() -> None:
    """Without a command, ``comet`` says which there are, each in a line."""
    for ended in (comet(), comet("--help")):
        assert (ended.code, ended.err) == (0, "")
        for row in COMMANDS:
            assert f"\n  {row.name:<7} {row.help}\n" in ended.out


@pytest.mark.parametrize("name", ["pub", "sub"])
def test_help(name: str) -> None:
    """Each command says what it is for and what its options do, and shows how it is used."""
    ended = comet(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "\nexamples:\n" in ended.out
    assert f"\n  comet {name} news" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish"], "comet: there is no command 'publish'; see comet --help\n"),
        (["pub", "a"], "comet pub: give the message, or - to read it from stdin; see comet pub --help\n"),
        (["pub", "a", "b", "--server", "x"], "comet pub: argument --server: 'x' cannot be used: write host"),
        (["pub", "a", "b", "--lines"], "comet pub: the messages come from one place: an argument, --lines or --file; "),
        (["pub", "a", "--file", "x", "--loop"], "comet pub: --loop plays files again and again: name them with --fi"),
        (["pub", "a", "--lines", "--rate", "0"], "comet pub: argument --rate: '0' cannot be used: write a number abov"),
        (["pub", "a", "--lines", "--prog"], "comet pub: unrecognized arguments: --prog; see comet pub --help"),
        (["pub", "a", "--file", "/no/such"], "comet: cannot read /no/such: no such file or directory"),
        (["sub", "a", "--count", "0"], "comet sub: argument --count: '0' cannot be used: write a whole number above"),
        (["sub", "a", "--url", "x"], "comet sub: argument --url: 'x' cannot be used: write a URL such as http://"),
        (["serve", "--silence=x"], "comet: --silence: 'x' cannot be used: write a time in seconds"),
    ],
)
def test_mistake(arguments: Sequence[str], said: str) -> None:
    """A mistake in the arguments is one line with a hint, and exit code 1."""
    ended = comet(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(said)


HEAVY = {"twisted", "zope", "msgspec", "http", "ssl", "email", "asyncio", "unittest", "mimetypes", "logging", "inspect"}
"""What takes long to import, and is not needed to publish."""


def test_starts_fast() -> None:
    """``comet pub`` imports little, and starts in a moment; ``comet sub`` imports nothing of Twisted."""
    program = "import sys, {}; print(*(name.partition('.')[0] for name in sys.modules))"
    publishing, subscribing = (
        set(command("-c", program.format(f"comet.cli, comet.commands.{name}")).out.split()) for name in ("pub", "sub")
    )
    assert not publishing & HEAVY
    assert not subscribing & {"twisted", "zope", "asyncio"}
    times = []
    for _ in range(3):
        began = time.monotonic()
        assert comet("pub", "--help").code == 0
        times.append(time.monotonic() - began)
    # A quiet machine takes 0.1 seconds.
    assert min(times) < 0.5


def test_publish_and_subscribe(daemon: Daemon) -> None:
    """What is published is printed by who subscribes; the publisher is told the position."""
    published = pub(daemon, "cli/plain", "hello")
    received = sub(daemon, "cli/plain", "--since", "first", "--count", "1")
    assert (published.code, published.err) == (0, "")
    assert (received.code, received.out, received.err) == (0, "cli/plain  hello\n", "")
    shown = sub(daemon, "cli/plain", "--since", "-1", "--count", "1", "--json")
    message = json.loads(shown.out)
    assert (message["id"], message["topic"], message["data"]) == (published.out.strip(), "cli/plain", "hello")


def test_nobody_there() -> None:
    """A daemon that is not running is told in one line, with how to start it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:" + str(server.getsockname()[1])
    published = comet("pub", "a", "b", "--server", address)
    assert (published.code, published.out) == (1, "")
    assert published.err == (
        f"comet: cannot reach {address}: connection refused; start the daemon with comet serve, "
        "or say where it is with --server\n"
    )
    subscribed = comet("sub", "a", "--url", f"http://{address}/")
    assert subscribed.code == 1
    assert subscribed.err.startswith(f"comet: cannot subscribe at http://{address}/: connection refused; start ")


def test_wrong_port(daemon: Daemon) -> None:
    """Who confuses the two ports is told so."""
    with Stage(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") as stage:
        assert "does not speak RESP" in comet("pub", "a", "b", "--server", stage.address).err
    assert "or say where it is with --url" in comet("sub", "a", "--url", f"http://{daemon.tcp}/").err


@pytest.mark.parametrize("name", ["pub", "sub", "top", "bench", "health"])
def test_variables(name: str) -> None:
    """Where the daemon is can be said once, for all commands."""
    environ = {"COMET_URL": "http://push.example:8080/", "COMET_SERVER": "push.example:8081"}
    shown = command(*COMET, name, "--help", environ=environ).out
    assert ("push.example:8081" if name == "pub" else "http://push.example:8080/") in shown
