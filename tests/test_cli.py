"""The ``comet`` command, as it is typed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.commands.pub import Lines, NotRESP, Replies, Reply
from comet.commands.sub import Line
from tests.daemons import LONGEST, Daemon, Ended, command, environment

COMET = ("-c", "import sys; from comet.cli import main; sys.argv[0] = 'comet'; sys.exit(main())")


def comet(*arguments: str, stdin: str | None = None) -> Ended:
    """Run ``comet`` until it ends by itself."""
    return command(*COMET, *arguments, stdin=stdin)


def pub(daemon: Daemon, *arguments: str, stdin: str | None = None) -> Ended:
    """Run ``comet pub`` against ``daemon``."""
    return comet("pub", *arguments, "--server", daemon.tcp, stdin=stdin)


def sub(daemon: Daemon, *arguments: str) -> Ended:
    """Run ``comet sub`` against ``daemon``."""
    return comet("sub", *arguments, "--url", f"http://{daemon.http}/")


@contextmanager
def begun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``comet``, running."""
    with subprocess.Popen(
        [sys.executable, *COMET, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


class Stage:
    """A server that plays ``acts``: it answers one connection with each, and remembers what it was sent."""

    def __init__(self, *acts: bytes) -> None:
        self._acts = acts
        self._server = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Stage:
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(LONGEST)
        self._server.close()

    def _play(self) -> None:
        for act in self._acts:
            connection, _ = self._server.accept()
            with connection:
                self.requests.append(connection.recv(65_536))
                connection.sendall(act)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass


def streamed(*lines: object) -> bytes:
    """A response of the transport ``stream``."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    return head + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_usage() -> None:
    """Without a command, ``comet`` says which there are."""
    for ended in (comet(), comet("--help")):
        assert ended.code == 0
        assert "\n  serve " in ended.out
        assert "\n  pub " in ended.out
        assert "\n  sub " in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish"], "comet: there is no command 'publish'; see comet --help\n"),
        (["pub", "a"], "comet pub: give the message, or - to read it from stdin; see comet pub --help\n"),
        (["pub", "a", "b", "--server", "x"], "comet: --server: 'x' cannot be used: write host:port, or "),
        (["sub", "a", "--url", "x"], "comet sub: argument --url: 'x' cannot be used: write a URL such as http://"),
        (["serve", "--silence=x"], "comet: --silence: 'x' cannot be used: write a time in seconds"),
    ],
)
def test_mistake(arguments: Sequence[str], said: str) -> None:
    """A mistake in the arguments is one line with a hint, and exit code 1."""
    ended = comet(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(said)


def test_starts_fast() -> None:
    """The commands for clients do not import Twisted, which takes longer than publishing does."""
    modules = "comet.cli, comet.commands.pub, comet.commands.sub"
    ended = command("-c", f"import sys, {modules}; print([name for name in sys.modules if 'twisted' in name])")
    assert ended.out == "[]\n"


def test_publish_and_subscribe(daemon: Daemon) -> None:
    """What is published is printed by who subscribes; the publisher is told the position."""
    published = pub(daemon, "cli/plain", "hello")
    received = sub(daemon, "cli/plain", "--since", "first", "--count", "1")
    assert (published.code, published.err) == (0, "")
    assert (received.code, received.out, received.err) == (0, "cli/plain  hello\n", "")
    shown = sub(daemon, "cli/plain", "--since", "-1", "--count", "1", "--json")
    message = json.loads(shown.out)
    assert (message["id"], message["topic"], message["data"]) == (published.out.strip(), "cli/plain", "hello")


def test_publish_json(daemon: Daemon) -> None:
    """``--json`` publishes a JSON value; what is none is refused with what is wrong, and exit code 1."""
    assert pub(daemon, "cli/json", '{"bid": 120}', "--json").code == 0
    refused = pub(daemon, "cli/json", '{"bid": ', "--json")
    assert refused.code == 1
    assert refused.err.startswith("comet: bad_json ")
    assert sub(daemon, "cli/json", "--since", "first", "--count", "1", "--raw").out == '{"bid": 120}'


def test_publish_once(daemon: Daemon) -> None:
    """With a key, a repeated command publishes once, and prints the same position."""
    assert pub(daemon, "cli/key", "a", "--key", "k1").out == pub(daemon, "cli/key", "a", "--key", "k1").out


def test_publish_stdin(daemon: Daemon) -> None:
    """``-`` makes all of stdin one message, line ends and all."""
    assert pub(daemon, "cli/stdin", "-", stdin="one\ntwo\n").code == 0
    assert sub(daemon, "cli/stdin", "--since", "first", "--count", "1", "--raw").out == "one\ntwo\n"


def test_publish_lines(daemon: Daemon) -> None:
    """``--lines`` publishes each line, also an empty one and a last one without its end, in order."""
    assert pub(daemon, "cli/lines", "--lines", stdin="a\n\nc").code == 0
    received = sub(daemon, "cli/lines", "--since", "first", "--count", "3")
    assert received.out == "cli/lines  a\ncli/lines  \ncli/lines  c\n"


def test_publish_many_lines(daemon: Daemon) -> None:
    """More lines than the daemon may owe replies for are published all the same, each once."""
    published = pub(daemon, "cli/many", "--lines", "-v", stdin="".join(f"{number}\n" for number in range(5000)))
    assert published.code == 0
    positions = published.out.split()
    assert len(set(positions)) == 5000
    assert sub(daemon, "cli/many", "--since", "-1", "--count", "1").out == "cli/many  4999\n"


def test_refused_lines(daemon: Daemon) -> None:
    """A line that is refused is named by its number, and the others are published."""
    published = pub(daemon, "cli/refused", "--lines", "--json", stdin="1\nx\n3\n")
    assert published.code == 1
    assert published.err.startswith("comet: line 2: bad_json ")
    received = sub(daemon, "cli/refused", "--since", "first", "--count", "2", "--raw")
    assert received.out == "13"


def test_live_pipe(daemon: Daemon) -> None:
    """A line of a pipe that goes on is published at once."""
    with begun("pub", "cli/pipe", "--lines", "--server", daemon.tcp) as pipe:
        assert pipe.stdin is not None
        for number in ("1", "2"):
            pipe.stdin.write(f"{number}\n")
            pipe.stdin.flush()
            assert sub(daemon, "cli/pipe", "--since", "first", "--count", number).out.endswith(f"cli/pipe  {number}\n")
        pipe.stdin.close()
        assert pipe.wait(LONGEST) == 0


def test_control_characters(daemon: Daemon) -> None:
    """What a message would make a terminal do is shown instead of done; bytes that are no text are counted."""
    assert pub(daemon, "cli/control", "\x1b[2J\nx").code == 0
    assert sub(daemon, "cli/control", "--since", "first", "--count", "1").out == "cli/control  \\x1b[2J\\nx\n"


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


def test_refused_pattern(daemon: Daemon) -> None:
    """A pattern that is none is refused in the daemon's words."""
    ended = sub(daemon, "a//b")
    assert (ended.code, ended.err) == (1, "comet: 'a//b' is not a pattern: it has an empty segment\n")


def test_reconnects_by_its_cursor() -> None:
    """When the connection drops, the subscriber goes on after the last message it has seen."""
    first = streamed(
        {"comet": "open", "stream": "s", "position": "00000000-1", "silence": 25.0},
        {"id": "00000000-7", "topic": "a", "time": 1.0, "data": "one"},
    )
    second = streamed(
        {"comet": "open", "stream": "t", "position": "00000000-7", "silence": 25.0},
        {"comet": "gap", "since": "00000000-7", "until": "00000000-9"},
        {"id": "00000000-10", "topic": "a", "time": 2.0, "data": "two"},
    )
    with Stage(first, second) as stage:
        ended = comet("sub", "a", "b/*", "--count", "2", "--url", f"http://{stage.address}")
    assert (ended.code, ended.out) == (0, "a  one\na  two\n")
    assert stage.requests[0].startswith(b"GET /topics?topic=a&topic=b%2F%2A&transport=stream&since=now HTTP/1.1\r\n")
    assert b"&since=00000000-7 HTTP" in stage.requests[1]
    assert ended.err.splitlines() == [
        "comet: the connection was closed; reconnecting",
        "comet: connected again",
        "comet: messages after 00000000-7 up to 00000000-9 may be missing",
    ]


def test_lost_while_publishing() -> None:
    """If the connection is lost before the reply, the publisher says which messages may not be stored."""
    with Stage(b"$10\r\n00000000-1\r\n") as stage:
        ended = comet("pub", "a", "--lines", "--server", stage.address, stdin="1\n2\n3\n")
    assert ended.code == 1
    assert ended.err == (
        f"comet: {stage.address} has closed the connection; line 2 and those after it may not be stored\n"
    )


def test_interrupt(daemon: Daemon) -> None:
    """An interrupt from the keyboard ends a subscriber without a word."""
    with begun("sub", "cli/interrupt", "--since", "first", "--url", f"http://{daemon.http}/") as subscriber:
        assert pub(daemon, "cli/interrupt", "x").code == 0
        assert subscriber.stdout is not None
        assert subscriber.stderr is not None
        assert subscriber.stdout.readline() == "cli/interrupt  x\n"
        subscriber.send_signal(signal.SIGINT)
        assert subscriber.wait(LONGEST) == 130
        assert subscriber.stderr.read() == ""


def test_reader_that_leaves(daemon: Daemon) -> None:
    """So does the end of whoever reads its output."""
    with begun("sub", "cli/head", "--since", "first", "--url", f"http://{daemon.http}/") as subscriber:
        assert subscriber.stdout is not None
        assert subscriber.stderr is not None
        pub(daemon, "cli/head", "1")
        subscriber.stdout.readline()
        subscriber.stdout.close()
        pub(daemon, "cli/head", "2")
        assert subscriber.wait(LONGEST) == 0
        assert subscriber.stderr.read() == ""


REPLIES = b"$5\r\nab-12\r\n-ERR bad_topic 'a//b' is not one\r\n:3\r\n+OK\r\n$4\r\n\r\n\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(REPLIES)))
def test_replies_in_pieces(cut: int) -> None:
    """Replies are the same wherever the network cuts them."""
    replies = Replies()
    got = [*replies.feed(REPLIES[:cut]), *replies.feed(REPLIES[cut:])]
    assert got == [
        Reply("ab-12", False),
        Reply("bad_topic 'a//b' is not one", True),
        Reply("3", False),
        Reply("OK", False),
        Reply("\r\n\r\n", False),
    ]


def test_replies_of_another_protocol() -> None:
    """An answer in HTTP is recognised as none."""
    with pytest.raises(NotRESP):
        list(Replies().feed(b"HTTP/1.1 400 Bad Request\r\n"))


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_lines_in_pieces(pieces: list[bytes]) -> None:
    """Lines are the same wherever the pipe cuts them."""
    lines = Lines()
    got = [line for piece in pieces for line in lines.feed(piece)]
    assert [*got, lines.begun()] == b"".join(pieces).split(b"\n")


def test_payload_of_a_line() -> None:
    """A subscriber gives back text, bytes and JSON as they were published."""
    decoded = [
        Line(data=json.dumps("h\u00e9").encode()),  # type: ignore[arg-type]
        Line(data64="AP8="),
        Line(data=b'{"a": 1}'),  # type: ignore[arg-type]
    ]
    assert [line.payload() for line in decoded] == ["h\u00e9".encode(), b"\x00\xff", b'{"a": 1}']
