"""What the documentation shows of ``comet pub``, ``comet sub`` and the blocking publisher, as it stands there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import ROOT, running
from tests.e2e.held import Held, publish, subscribe
from tests.e2e.tools import run
from tests.recipes.documented import Shell, commands, shell

PAGE = "docs/command-line.rst"


@pytest.fixture
def at_home(tmp_path: Path) -> Iterator[Shell]:
    """A shell, and a daemon for its commands."""
    with running() as daemon:
        yield shell(daemon, tmp_path)


def documented(name: str) -> list[str]:
    """The commands of the page in which ``comet`` does ``name``."""
    return [command.text for command in commands(PAGE) if f"comet {name} " in command.text]


def on(held: Held, topic: str) -> list[str]:
    """What has come on ``topic``."""
    return [message["data"] for message in held.messages() if message["topic"] == topic]


def test_publishing(at_home: Shell, tmp_path: Path) -> None:
    """Each way to publish works as it is shown."""
    text, bid, clock, pipe, words, film, *_ = documented("pub")
    with subscribe(at_home.daemon.http, "/topics/**?transport=stream", "stream") as held:
        positions = [at_home.run(command).strip() for command in (text, bid, clock)]
        messages = held.until_messages(3)
        assert [message["id"] for message in messages] == positions
        assert [message["topic"] for message in messages] == ["news", "auction/7", "clock"]
        assert messages[1]["data"] == {"bid": 120}
        with at_home.begun(pipe):
            held.until(lambda held: len(on(held, "load")) >= 3, "lines")
        with at_home.begun(words):
            held.until(lambda held: on(held, "words"), "lines")
            assert on(held, "words")[0] == "Comet"
        (tmp_path / "frames").mkdir()
        for number in range(3):
            (tmp_path / "frames" / f"{number}.txt").write_text(f"frame {number}")
        with at_home.begun(film.replace("--file frames", f"--file {tmp_path}/frames")):
            seen = held.until(lambda held: held.payloads()[-1] == "frame 2", "a round").payloads()
            assert seen[-3:] == ["frame 0", "frame 1", "frame 2"]


def test_subscribing(at_home: Shell, tmp_path: Path) -> None:
    """Each way to subscribe works as it is shown."""
    live, history, frame, statistics = documented("sub")
    http = at_home.daemon.http
    publish(http, "auction/7/bids", "120")
    with at_home.begun(history) as shown:
        shown.until(b"auction/7/bids  120\n")
    with at_home.begun(live) as shown:
        # Nothing on stdout says that it has begun: so publish until it comes.
        while b"auction/7  130\n" not in shown.out:
            publish(http, "auction/7", "130")
    with at_home.begun(statistics) as shown:
        shown.until(b"\n")
        assert json.loads(shown.out.splitlines()[0])["topic"].startswith("$stats/")
    with at_home.begun(frame.replace("frame.jpg", f"{tmp_path}/frame.jpg")) as shown:
        while shown.process.poll() is None:
            publish(http, "camera", b"\xff\xd8picture", "image/jpeg")
        assert shown.wait() == 0
    assert (tmp_path / "frame.jpg").read_bytes() == b"\xff\xd8picture"


def test_messages_of_the_page(at_home: Shell) -> None:
    """What the page says that ``comet sub`` says of a restart, it says."""
    page = re.sub(r"\s+", " ", (ROOT / PAGE).read_text())
    source = (ROOT / "comet/commands/sub.py").read_text() + (ROOT / "comet/commands/held.py").read_text()
    for said in (
        "the daemon ended the stream",
        "connected again",
        "the daemon was started anew without them; with comet serve --replace it takes them over",
    ):
        assert said in page
        assert said in source


def test_blocking_publisher(at_home: Shell) -> None:
    """The example for any Python program publishes, and the page shows its functions."""
    ended = run(sys.executable, str(ROOT / "examples/python/blocking.py"), at_home.daemon.tcp)
    assert (ended.code, ended.err) == (0, "")
    one, many, refused = ended.out.splitlines()
    assert re.fullmatch(r"stored under [0-9a-f]{8}-1", one)
    assert many.startswith("10000 are stored, the last under ")
    assert refused.startswith("bad_topic - 'no//topic' is not a topic")
    page = (ROOT / "docs/python.rst").read_text()
    for function in re.findall(r"^def (\w+)", (ROOT / "examples/python/blocking.py").read_text(), re.MULTILINE):
        assert f"examples/python/blocking.py\n   :language: python\n   :pyobject: {function}\n" in page


def test_readme(at_home: Shell) -> None:
    """The commands for a terminal in README do what it says."""
    found = [command.text for command in commands("README.rst")]
    sub, pub = (next(each for each in found if each.startswith(start)) for start in ("comet sub", "vmstat"))
    with at_home.begun(pub), at_home.begun(sub) as shown:
        shown.until(b"load  ")
