"""The inputs in ``examples/``, played by the commands of their documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browsers.browser import Browser, Page
from tests.daemons import ROOT, running
from tests.e2e.held import streams, subscribe
from tests.e2e.tools import path_of
from tests.e2e.waiting import until
from tests.recipes.documented import Shell, commands, listens, shell
from tests.recipes.proxies import free_port


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell, and a daemon for its commands."""
    with running() as daemon:
        yield shell(daemon, tmp_path_factory.mktemp("bin"))


def documented(example: str) -> list[str]:
    """The commands of an example."""
    return [command.text for command in commands(f"examples/{example}/README.rst")]


def test_machine(at_home: Shell) -> None:
    """The machine's figures come once a second, from vmstat and from /proc, and are seen in a terminal."""
    path_of("vmstat")
    vmstat, figures, sub = documented("machine")
    with subscribe(at_home.daemon.http, "/topics/machine/**?transport=stream", "stream") as held:
        with at_home.begun(vmstat):
            lines = [message["data"] for message in held.until_messages(3)]
            assert lines[1].split()[:2] == ["r", "b"]
            assert lines[2].split()[0].isdigit()
        seen = len(held.messages())
        with at_home.begun(figures):
            found = held.until_messages(seen + 6)[-6:]
            assert {message["topic"] for message in found} == {"machine/load", "machine/memory", "machine/disk"}
            memory = next(message["data"] for message in found if message["topic"] == "machine/memory")
            assert 0 < memory["free"] < memory["total"]
            with at_home.begun(sub) as shown:
                for topic in (b"machine/vmstat", b"machine/load", b"machine/memory", b"machine/disk"):
                    shown.until(topic)


def test_follow_log(at_home: Shell, tmp_path: Path) -> None:
    """Each line that is written to a log is a message, before and after the log is rotated."""
    follow, read = (command.replace("/var/log/syslog", str(tmp_path / "log")) for command in documented("follow-log"))
    log = tmp_path / "log"
    log.write_text("before\n")
    with subscribe(at_home.daemon.http, "/topics/logs/app?transport=stream", "stream") as held, at_home.begun(follow):
        # Nothing says when tail has begun to follow: so write until something comes.
        until(lambda: written(log, "first") and seen(at_home), "the log is followed")
        log.rename(tmp_path / "log.1")
        log.write_text("second\n")
        held.until(lambda held: "second" in held.payloads(), "the line in the new log")
        assert set(held.payloads()) == {"first", "second"}
        with at_home.begun(f"{read} --count 2") as shown:
            assert shown.wait() == 0
            assert shown.out.startswith(b"logs/app  first\n")


def written(log: Path, line: str) -> bool:
    """Write a line."""
    with log.open("a") as file:
        file.write(f"{line}\n")
    return True


def seen(at_home: Shell) -> bool:
    """Whether something was published on the topic of the log."""
    return "logs/app" in at_home.run("curl -s http://127.0.0.1:7080/stats/topics")


def test_frames(at_home: Shell, browser: Browser, tmp_path: Path) -> None:
    """The pictures are played in an ``<img>``, one after the other, over and over; the page has no script."""
    draw, play, serve, _ = frames(tmp_path)
    at_home.run(draw)
    assert len([*(tmp_path / "frames").glob("*.png")]) == 40
    port = free_port()
    serve = serve.replace("8000", str(port)).replace("examples/frames", str(tmp_path))
    page = (ROOT / "examples/frames/camera.html").read_text()
    assert "script" not in page
    (tmp_path / "camera.html").write_text(at_home.at_home(page))
    with at_home.begun(play), at_home.begun(serve):
        until(lambda: listens(f"127.0.0.1:{port}"), "the page is served")
        with browser.open(f"http://127.0.0.1:{port}/camera.html") as shown:
            changes(at_home, shown, tmp_path)


def changes(at_home: Shell, shown: Page, directory: Path) -> None:
    """See the picture change."""
    until(lambda: streams(at_home.daemon.http, "camera"), "the picture is asked for")
    pictures: set[bytes] = set()
    # More of them than are drawn in a quarter of a turn: the dot goes round.
    until(lambda: changed(pictures, look(shown, directory)), "the picture changes")


def test_camera(at_home: Shell, tmp_path: Path) -> None:
    """Whatever writes a picture when it is run can be the camera."""
    draw, *_, grab = frames(tmp_path)
    at_home.run(draw)
    with subscribe(at_home.daemon.http, "/topics/camera?transport=mixed", "mixed") as held, at_home.begun(grab):
        for message in held.until_messages(2):
            assert message["payload"] == (tmp_path / "frames/00.png").read_bytes()


def frames(directory: Path) -> list[str]:
    """The commands of the pictures, with the pictures in ``directory``."""
    return [command.replace("/tmp/frames", str(directory / "frames")) for command in documented("frames")]


def changed(pictures: set[bytes], picture: bytes) -> bool:
    """Whether there were more than ten different ones, with ``picture``."""
    pictures.add(picture)
    return len(pictures) > 10


def look(page: Page, directory: Path) -> bytes:
    """What the page looks like."""
    return page.screenshot(directory / "seen.png").read_bytes()
