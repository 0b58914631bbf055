"""The file is damaged, gone, or not to be written: that is said in a line, and nothing is lost in silence."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from comet.publish import Draft, Publisher
from tests.crash.accounts import offset_of
from tests.crash.lives import Lives
from tests.daemons import ANYWHERE, Daemon, running, twistd
from tests.e2e.held import asked, connected, subscribe
from tests.e2e.waiting import until

COUNT = 5_000
"""Messages in a file that is damaged: some twenty blocks."""

FLIPS = 20


def on(path: Path) -> tuple[str, ...]:
    """The options of a daemon whose memory holds little of what is in the file."""
    return ("--store", f"sqlite:{path}", "--retain-messages", "10", "--handover", "none", "--silence", "1")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, str]]:
    """A file, and what is in it by offset."""
    path = tmp_path_factory.mktemp("filled") / "comet.db"
    drafts = [Draft(f"t/{number % 7}", f"{number} {'.' * (number % 300)}") for number in range(COUNT)]
    with running(*on(path)) as daemon:
        with Publisher(daemon.tcp) as publisher:
            positions = publisher.publish_many(drafts)
        assert daemon.end() == 0
    return path, {offset_of(position): draft.data for position, draft in zip(positions, drafts, strict=True)}


def damaged(source: Path, path: Path, chance: random.Random) -> None:
    """Copy ``source``, with some of its bytes changed."""
    data = bytearray(source.read_bytes())
    for _ in range(FLIPS):
        data[chance.randrange(4096, len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def pages(daemon: Daemon) -> tuple[list[dict[str, Any]], list[tuple[int, int]], int]:
    """The messages of the whole log, the gaps in them, and the last status."""
    messages: list[dict[str, Any]] = []
    gaps: list[tuple[int, int]] = []
    cursor = "first"
    while True:
        status, _, body = asked(daemon.http, "GET", f"/topics/**?transport=poll&wait=0&limit=1000&since={cursor}")
        if status != 200:
            return messages, gaps, status
        answer = json.loads(body)
        messages += answer["messages"]
        if "gap" in answer:
            gaps.append((offset_of(answer["gap"]["since"]), offset_of(answer["gap"]["until"])))
        if answer["next"] == cursor:
            return messages, gaps, status
        cursor = answer["next"]


def streamed(daemon: Daemon) -> tuple[list[dict[str, Any]], list[tuple[int, int]], int]:
    """The same of a stream, up to the last message or until it ends."""
    with subscribe(daemon.http, "/topics/**?transport=stream&since=first", "stream") as held:
        while held.read():
            if any(offset_of(message["id"]) == COUNT for message in held.messages()):
                break
        gaps = [(offset_of(gap["since"]), offset_of(gap["until"])) for gap in held.controls("gap")]
        return held.messages(), gaps, 503 if held.over else 200


@pytest.mark.parametrize("seed", range(4))
def test_damaged(filled: tuple[Path, dict[int, str]], tmp_path: Path, seed: int) -> None:
    """Some bytes of the file are not what they were: that is told at the start, or to whoever reads there; and nobody
    is given what nobody has published."""
    source, known = filled
    path = tmp_path / "comet.db"
    damaged(source, path, random.Random(seed))
    with Lives(*on(path)) as lives:
        if said := lives.try_start():
            assert_one_line(said, path)
            return
        for found in (pages(lives.daemon), streamed(lives.daemon)):
            assert_honest(found, known, lives.daemon, path)


def assert_honest(
    found: tuple[Sequence[dict[str, Any]], Sequence[tuple[int, int]], int],
    known: dict[int, str],
    daemon: Daemon,
    path: Path,
) -> None:
    """What was read is what was published, and what is missing is told of."""
    messages, gaps, status = found
    had = {offset_of(message["id"]): message["data"] for message in messages}
    assert all(known[offset] == data for offset, data in had.items())
    missing = known.keys() - had.keys()
    untold = {offset for offset in missing if not any(since < offset <= until for since, until in gaps)}
    assert status != 200 or not untold, sorted(untold)[:10]
    assert missing, "the damage is nowhere"
    until(lambda: any(str(path) in line for line in daemon.log), "the log names the file")
    assert "Traceback" not in "".join(daemon.log)


def assert_one_line(said: str, path: Path) -> None:
    """A daemon that did not start has said why."""
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if line.startswith("comet: ") or "the daemon ended: comet: " in line]
    assert str(path.parent) in line


def garbage(path: Path) -> Path:
    """It is no such file."""
    path.write_bytes(b"what is this? " * 1000)
    return path


def cut(path: Path) -> Path:
    """Only the beginning of it is there."""
    with running(*on(path)) as daemon:
        with connected(daemon.tcp) as connection:
            connection.sendall(b"PUBLISH t " + b"x" * 50_000 + b"\r\n")
            assert connection.recv(100) == b":0\r\n"
        assert daemon.end() == 0
    os.truncate(path, path.stat().st_size // 2)
    return path


def folder(path: Path) -> Path:
    """It is a directory."""
    path.mkdir()
    return path


def nowhere(path: Path) -> Path:
    """Its directory is not there."""
    return path.parent / "nowhere" / "comet.db"


def not_writable(path: Path) -> Path:
    """Nobody can write there, not even root."""
    return Path("/proc/comet.db")


@pytest.mark.parametrize("bad", [garbage, cut, folder, nowhere, not_writable])
def test_cannot_open(tmp_path: Path, bad: Any) -> None:
    """A file that cannot be used ends the daemon with one line that names it, and exit code 1."""
    path = bad(tmp_path / "comet.db")
    ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, *on(path))
    assert ended.code == 1, ended
    assert_one_line(ended.err, path)


def test_two_daemons(tmp_path: Path) -> None:
    """A second daemon on the same file ends with a line, and the first goes on."""
    path = tmp_path / "comet.db"
    with running(*on(path)) as daemon:
        ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, *on(path))
        assert ended.code == 1, ended
        assert_one_line(ended.err, path)
        assert asked(daemon.http, "POST", "/topics/t", b"x")[0] == 201


def vanish(folder: Path) -> None:
    """The directory is removed."""
    shutil.rmtree(folder)


def move(folder: Path) -> None:
    """The file is moved away."""
    (folder / "comet.db").rename(folder / "elsewhere.db")


def replace(folder: Path) -> None:
    """Another file takes its place."""
    shutil.copy(folder / "comet.db", folder / "copy.db")
    (folder / "copy.db").replace(folder / "comet.db")


@pytest.mark.parametrize("away", [vanish, move, replace])
def test_vanished(tmp_path: Path, away: Any) -> None:
    """The file of a running daemon is not where it was: nothing more is acknowledged that nobody would find again."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with running(*on(folder / "comet.db")) as daemon:
        assert asked(daemon.http, "POST", "/topics/t", b"x")[0] == 201
        away(folder)
        until(lambda: asked(daemon.http, "POST", "/topics/t", b"x")[0] == 503, "publishers are refused")
        status, _, body = asked(daemon.http, "GET", "/readyz")
        assert status == 503
        assert str(folder / "comet.db") in json.loads(body)["detail"]
        assert "Traceback" not in "".join(daemon.log)


def test_read_only(tmp_path: Path) -> None:
    """A file that may not be written ends the daemon with a line that says so."""
    folder = tmp_path / "folder"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False)
    try:
        path = folder / "comet.db"
        with running(*on(path)) as daemon:
            assert asked(daemon.http, "POST", "/topics/t", b"x")[0] == 201
            assert daemon.end() == 0
        if mounted.returncode == 0:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        elif os.geteuid() == 0:
            return  # who may write everything, and may not mount, can have no file that is read-only
        else:
            path.chmod(0o444)
        ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, *on(path))
        assert ended.code == 1, ended
        assert_one_line(ended.err, path)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
