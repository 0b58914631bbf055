"""``comet pub``: what it publishes, and what it says."""

from __future__ import annotations

import base64
import json
import re
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.commands.feed import MADE_AT_ONCE, MadeKeys
from comet.commands.lines import Lines
from comet.commands.progress import Progress
from comet.commands.report import NAMED
from comet.commands.supply import BEHIND, Pace
from tests.comets import begun, comet, pub, sub
from tests.daemons import LONGEST, Daemon, command, running
from tests.e2e.held import subscribe
from tests.relay import Relay
from tests.stage import Stage


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


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_lines_in_pieces(pieces: list[bytes]) -> None:
    """Lines are the same wherever the pipe cuts them."""
    lines = Lines()
    got = [line for piece in pieces for line in lines.feed(piece)]
    assert [*got, lines.begun()] == b"".join(pieces).split(b"\n")


POSITION = b"$10\r\n00000000-1\r\n"


def keys_of(request: bytes) -> list[bytes]:
    """The keys of the commands in ``request``."""
    return re.findall(rb"\$3\r\nkey\r\n\$\d+\r\n(\S+)\r\n", request)


def test_lost_while_publishing() -> None:
    """When the connection is lost before the reply, what was not acknowledged is sent again, under the same keys."""
    with Stage(POSITION, POSITION * 2) as stage:
        ended = comet("pub", "a", "--lines", "--server", stage.address, stdin="1\n2\n3\n")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"comet: {stage.address}: the connection was closed; trying again\ncomet: it goes on\n"
    first, second = map(keys_of, stage.requests)
    assert len(set(first)) == 3
    assert second == first[1:]


def test_lost_for_good() -> None:
    """When the daemon does not come back, it says which messages may not be stored."""
    program = """import sys
from comet.commands import feed, pub
feed.PATIENCE = feed.TIMEOUT = 0.2
sys.exit(pub.main(sys.argv[1:]))"""
    for key, hint in (("", ""), ("k", "; repeat the command, which publishes nothing twice")):
        with Stage(POSITION) as stage:
            arguments = ("a", "--lines", "--key", key, "--server", stage.address)
            ended = command("-c", program, *arguments, stdin="1\n2\n3\n")
        assert ended.code == 1
        said, outcome = ended.err.splitlines()
        assert said == f"comet: {stage.address}: the connection was closed; trying again"
        assert outcome.startswith(f"comet: {stage.address} has acknowledged nothing for 0.2 seconds (")
        assert outcome.endswith(f"); line 2 and those after it may not be stored{hint}")


def test_quiet_connection_ends(daemon: Daemon) -> None:
    """A connection that ends while nothing is under way is made again with the next line, without a word."""
    with (
        Relay(daemon.tcp, lambda _: True) as relay,
        begun("pub", "pub/quiet", "--lines", "--server", relay.address) as pipe,
    ):
        assert pipe.stdin is not None
        assert pipe.stderr is not None
        for number in range(1, 4):
            pipe.stdin.write(f"{number}\n")
            pipe.stdin.flush()
            sub(daemon, "pub/quiet", "--since", f"-{number}", "--count", str(number))
            relay.hang_up()
        pipe.stdin.close()
        assert pipe.wait(LONGEST) == 0
        assert pipe.stderr.read() == ""
    assert sub(daemon, "pub/quiet", "--since", "first", "--count", "3", "--raw").out == "123"


def test_lines_with_a_key(daemon: Daemon) -> None:
    """With a key, a file that is published again publishes only the lines that it has got since."""
    for text in ("a\nb\n", "a\nb\nc\n"):
        assert pub(daemon, "pub/key", "--lines", "--key", "file", stdin=text).code == 0
    pub(daemon, "pub/key", "end")
    assert sub(daemon, "pub/key", "--since", "first", "--count", "4", "--raw").out == "abcend"


def test_more_lines_than_keys() -> None:
    """A daemon that can remember no more keys is still published to, as far as the keys were made up."""
    with running("--max-keys", "10") as daemon:
        published = pub(daemon, "pub/keys", "--lines", stdin="x\n" * 2000)
        assert (published.code, published.out) == (0, "")
        assert published.err.startswith("comet: the daemon remembers no more keys: ")
        assert published.err.count("\n") == 1
        assert len(sub(daemon, "pub/keys", "--since", "-1000", "--count", "1000", "--raw").out) == 1000


def test_keys_for_a_share() -> None:
    """Keys are made for so many lines that others can still publish with theirs."""
    keys = MadeKeys()
    made = [keys.key(number) for number in range(MADE_AT_ONCE + 1000)]
    assert all(made[: MADE_AT_ONCE - 1])
    assert made[-1] == ""
    assert len(set(made)) >= MADE_AT_ONCE


def test_rate(daemon: Daemon) -> None:
    """``--rate`` publishes no more than so many a second."""
    began = time.monotonic()
    assert pub(daemon, "pub/rate", "--lines", "--rate", "50", stdin="x\n" * 20).code == 0
    assert time.monotonic() - began > 19 / 50 - BEHIND


def test_pace() -> None:
    """A pace that falls behind a little catches up; what it has missed by far it does not make up for."""
    now = 0.0
    pace = Pace(0.04, lambda: now)
    times = []
    for late in (0.0, 0.0, 0.03, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        now += pace.wait() + late
        times.append(now)
        pace.count()
    assert times[:5] == pytest.approx([0, 0.04, 0.11, 0.12, 0.16])
    assert times[5:] == pytest.approx([9.2, 9.2, 9.2, 9.22, 9.26, 9.3])
    assert Pace(0).wait() == 0


def test_files(daemon: Daemon, tmp_path: Path) -> None:
    """``--file`` publishes each file, and those of a folder in order, with the type that its name tells."""
    (tmp_path / "frames").mkdir()
    for name in ("2.png", "1.jpg"):
        (tmp_path / "frames" / name).write_bytes(b"\x89" + name.encode())
    (tmp_path / "a.json").write_text("[1]")
    published = pub(daemon, "pub/files", "--file", str(tmp_path / "frames"), str(tmp_path / "a.json"), "-v")
    assert (published.code, len(published.out.split())) == (0, 3)
    received = sub(daemon, "pub/files", "--since", "first", "--count", "3", "--json")
    messages = [json.loads(line) for line in received.out.splitlines()]
    assert [message["id"] for message in messages] == published.out.split()
    assert [message.get("data") for message in messages] == [None, None, [1]]
    assert base64.b64decode(messages[0]["data64"]) == b"\x891.jpg"
    with subscribe(daemon.http, "/topics/pub/files?transport=mixed&since=first", "mixed") as held:
        types = [message["type"] for message in held.until_messages(3)]
    assert types == ["image/jpeg", "image/png", "application/json"]


def test_one_file(daemon: Daemon, tmp_path: Path) -> None:
    """One file is one message: its position is printed."""
    (tmp_path / "a.txt").write_text("text")
    published = pub(daemon, "pub/file", "--file", str(tmp_path / "a.txt"))
    shown = json.loads(sub(daemon, "pub/file", "--since", "-1", "--count", "1", "--json").out)
    assert (shown["id"], shown["data"]) == (published.out.strip(), "text")


def test_film(daemon: Daemon, tmp_path: Path) -> None:
    """A folder of pictures is played again and again, one each so many seconds."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    arguments = ("--file", str(tmp_path), "--every", "0.01", "--loop", "--server", daemon.tcp)
    with begun("pub", "pub/film", *arguments) as film:
        assert sub(daemon, "pub/film", "--since", "first", "--count", "6", "--raw").out == "ababab"
        film.send_signal(signal.SIGINT)
        assert film.wait(LONGEST) == 130
        assert film.stderr is not None
        assert film.stderr.read() == ""


def test_refusals_are_named_sparingly(daemon: Daemon) -> None:
    """Of many refused lines the first are named, and all are counted."""
    published = pub(daemon, "pub/bad", "--lines", "--json", stdin="x\n" * 500)
    assert published.code == 1
    said = published.err.splitlines()
    assert [line.partition(": bad_json")[0] for line in said[:-1]] == [f"comet: line {n}" for n in range(1, NAMED + 1)]
    assert said[-1] == "comet: 500 messages were refused"


def test_progress_in_a_pipe(daemon: Daemon) -> None:
    """In a pipe ``--progress`` writes JSON to stderr, lastly how it ended; without it nothing is said."""
    assert pub(daemon, "pub/progress", "--lines", stdin="1\n2\n").err == ""
    shown = pub(daemon, "pub/progress", "--lines", "--progress", stdin="1\n2\n")
    last = json.loads(shown.err.splitlines()[-1])
    assert (last["acknowledged"], last["refused"], last["outstanding"]) == (2, 0, 0)
    assert shown.out == ""


def test_progress() -> None:
    """The rate that is shown is that of the last seconds, and in the end that of all."""
    now = 0.0
    progress = Progress(lambda: now)
    for _ in range(10):
        now += 1
        progress.acknowledged += 1000
        progress.sample()
    now += 1
    progress.acknowledged += 3000
    progress.sample()
    progress.outstanding, progress.refused = 12, 3
    assert progress.line() == "13,000 acknowledged, 1,500/s, 12 outstanding, 3 refused"
    assert progress.summary() == "13,000 acknowledged in 11.0 s (1,182/s), 12 outstanding, 3 refused"
    assert progress.figures()["rate"] == 1500
