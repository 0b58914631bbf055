"""``twistd comet``: what it takes, what it says of a mistake, how it starts and how it ends."""

from __future__ import annotations

import signal
import socket
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from comet.config import settings
from comet.tap import Options
from tests.daemons import LONGEST, Ended, command, running, twistd

SERVE = "import sys; from comet.cli import main; sys.argv[0] = 'comet'; sys.exit(main())"


def serve(*arguments: str) -> Ended:
    """Run ``comet serve`` until it ends by itself."""
    return command("-c", SERVE, "serve", *arguments)


def options(*arguments: str) -> Options:
    """Return the parsed flags."""
    parsed = Options()  # type: ignore[no-untyped-call]
    parsed.parseOptions(arguments)
    return parsed


def test_plugin() -> None:
    """twistd finds the plugin, and knows it as ``comet``."""
    found = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "comet"]
    assert len(found) == 1
    assert found[0].options is Options


def test_flags() -> None:
    """Each setting is a flag; what is a list is a flag that repeats."""
    config = options("--silence=10s", "--http", "tcp:1", "--http", "tcp:2", "--retain-messages", "5").config
    assert (config.silence, config.http, config.retain_messages) == (10.0, ("tcp:1", "tcp:2"), 5)


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment sets what no flag sets."""
    monkeypatch.setenv("COMET_SILENCE", "7")
    monkeypatch.setenv("COMET_DRAIN", "7")
    config = options("--drain=1").config
    assert (config.silence, config.drain) == (7.0, 1.0)


def test_file(tmp_path: Path) -> None:
    """A settings file sets what neither a flag nor a variable sets; its path begins where the daemon was started."""
    file = tmp_path / "comet.toml"
    file.write_text("silence = 3\ndrain = 4\n")
    parsed = options("--config", str(file), "--drain=1")
    assert (parsed.config.silence, parsed.config.drain) == (3.0, 1.0)
    assert options("--config", "c.toml", "--config", str(file)).sources.path == file
    assert parsed.sources.directory == Path.cwd()


def test_print_config(tmp_path: Path) -> None:
    """``--print-config`` prints a settings file and ends, however the daemon is to be started."""
    file = tmp_path / "comet.toml"
    first = serve("--print-config", "--silence=3", "--host", "a.example")
    file.write_text(first.out)
    second = twistd("-n", "--pidfile=", "comet", "--print-config", "--config", str(file))
    assert (first.code, first.err, second.code, second.err) == (0, "", 0, "")
    assert 'silence = "3s"  # --silence\n' in first.out
    assert f'silence = "3s"  # {file}\n' in second.out
    assert tomllib.loads(first.out) == tomllib.loads(second.out)


def test_help() -> None:
    """The help shows every flag with its default."""
    text = "".join(str(Options()).split())  # type: ignore[no-untyped-call]
    for setting in settings():
        assert f"--{setting.name}=" in text
        assert f"[default:{setting.written(setting.default) or 'none'}]".replace(" ", "") in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--silence=x"], "--silence: 'x' cannot be used: write a time in seconds"),
        (["--slience=1"], "--slience is not a setting of Comet; the nearest is --silence; see twistd comet --help"),
        (["--Max_Wait=1"], "--Max_Wait is not a setting of Comet; the nearest is --max-wait; see twistd comet --help"),
        (["-q"], "option -q not recognized; see twistd comet --help"),
        (["--silence"], "option --silence requires argument; see twistd comet --help"),
        (["--config=/nowhere/c"], "--config: /nowhere/c cannot be read: no such file or directory"),
        (["serve"], "'serve' is not an option"),
        (["--http=tpc:7080"], "--http: 'tpc:7080' cannot be used: Unknown endpoint type: 'tpc'"),
        (["--tcp=tls:1:privateKey=/nonexistent"], "--tcp: 'tls:1:privateKey=/nonexistent' cannot be used"),
    ],
)
def test_mistake(arguments: Sequence[str], said: str) -> None:
    """A mistake in the options is one line on stderr, exit code 1, and no traceback."""
    ended = twistd("-n", "--pidfile=", "comet", *arguments)
    assert ended.code == 1
    assert ended.err.startswith(f"comet: {said}")
    assert ended.err.count("\n") == 1


def test_serve_speaks_of_itself() -> None:
    """The help and the hints of ``comet serve`` name no other command."""
    helped = serve("--help")
    assert (helped.code, helped.err) == (0, "")
    assert helped.out.startswith("usage: comet serve [options]\n")
    assert "twistd" not in helped.out
    assert all(f"--{setting.name}=" in helped.out for setting in settings())
    assert serve("--version").out.startswith("Comet ")
    mistaken = serve("--slience=1")
    said = "comet: --slience is not a setting of Comet; the nearest is --silence; see comet serve --help\n"
    assert (mistaken.code, mistaken.out, mistaken.err) == (1, "", said)
    assert serve("now").err == "comet: 'now' is not an option; see comet serve --help\n"


def test_busy_port() -> None:
    """A port that is taken is one line on stderr that says what to do, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = twistd("-n", "--pidfile=", "comet", "--http", f"tcp:{port}:interface=127.0.0.1", "--tcp", "tcp:0")
    assert ended.code == 1
    assert ended.err == (
        f"comet: cannot listen on tcp:{port}:interface=127.0.0.1: address already in use; stop the other process or "
        "choose another port with --http tcp:PORT:interface=127.0.0.1\n"
    )
    assert "Traceback" not in ended.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end(number: int) -> None:
    """A signal ends the daemon with exit code 0, and a held stream with a ``bye``."""
    with running() as daemon, socket.create_connection(("127.0.0.1", daemon.http_port()), LONGEST) as stream:
        stream.sendall(b"GET /topics/news?transport=stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = stream.makefile("rb")
        while b'"comet":"open"' not in received.readline():
            pass
        assert daemon.end(number) == 0
        assert b'"comet":"bye"' in received.read()


def test_welcome() -> None:
    """What the daemon says at its start can be typed: where the console is, how to subscribe, how to publish."""
    with running() as daemon:
        log = "".join(daemon.log)
    assert f"console    http://{daemon.http}/" in log
    assert f"curl -N 'http://{daemon.http}/topics/news?transport=sse'" in log
    assert f"comet pub news hello --server {daemon.tcp}" in log
