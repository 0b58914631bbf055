"""``comet log`` beside a daemon, and before one that goes on with what it made."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.daemons import running
from tests.e2e.held import asked_json, publish, subscribe
from tests.e2e.shells import shell
from tests.e2e.tools import COMET, piped, run
from tests.log_files import change, fill, messages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "comet.db"


def payloads(out: str) -> list[str]:
    """What the lines of an export bring."""
    return [json.loads(line)["data"] for line in out.splitlines()]


def test_file_of_a_running_daemon(path: Path) -> None:
    """What only reads works beside the daemon that has the file; what writes is refused; the daemon notices nothing."""
    with running("--store", f"sqlite:{path}") as daemon:
        for number in range(20):
            publish(daemon.http, "a", str(number))
        verified = run(*COMET, "log", "verify", str(path))
        assert (verified.code, verified.err) == (0, "")
        assert "20 messages of 1 topic" in verified.out
        exported = run(*COMET, "log", "export", str(path), "--topic", "a")
        assert (exported.code, exported.err) == (0, "")
        assert payloads(exported.out) == [str(number) for number in range(20)]
        assert "open, or was not closed" in run(*COMET, "log", "info", str(path)).out
        refused = run(*COMET, "log", "import", str(path), stdin=exported.out)
        assert refused.code == 1
        assert f"in use by another daemon (process {daemon.process.pid})" in refused.err
        publish(daemon.http, "a", "last")
        assert len(asked_json(daemon.http, "/topics/a?since=first&wait=0")["messages"]) == 21
        assert daemon.end() == 0


def test_file_of_a_daemon_that_was_killed(path: Path) -> None:
    """What a daemon left behind that did not come to close its file is read with all of it, and left as it is."""
    with running("--store", f"sqlite:{path}") as daemon:
        for number in range(20):
            publish(daemon.http, "a", str(number))
        daemon.end(signal.SIGKILL)
    left = {each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith("-shm")}
    assert payloads(run(*COMET, "log", "export", str(path)).out) == [str(number) for number in range(20)]
    assert run(*COMET, "log", "verify", str(path)).code == 0
    assert left == {each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith("-shm")}


def test_another_machine(path: Path) -> None:
    """With ``--keep-ids`` a log goes on from a file that was made of the lines: who resumes misses nothing and is told
    of no gap, unless it asks for what was not brought along."""
    new = path.with_name("new.db")
    with running("--store", f"sqlite:{path}") as daemon:
        positions = [publish(daemon.http, "a", str(number)) for number in range(9)]
        assert daemon.end() == 0
    exported = run(*COMET, "log", "export", str(path), "--since", positions[2])
    assert run(*COMET, "log", "import", "--keep-ids", str(new), stdin=exported.out).code == 0
    with running("--store", f"sqlite:{new}") as daemon:
        last = publish(daemon.http, "a", "9")
        answer = asked_json(daemon.http, f"/topics/a?since={positions[5]}&wait=0")
        assert ([each["data"] for each in answer["messages"]], answer["next"]) == (["6", "7", "8", "9"], last)
        assert "gap" not in answer
        assert asked_json(daemon.http, f"/topics/a?since={positions[0]}&wait=0")["gap"] == {
            "since": positions[0],
            "until": positions[2],
        }
        assert daemon.end() == 0


def test_recovery(path: Path) -> None:
    """What can be saved of a damaged file makes a new one, whose daemon tells everybody of the gap."""
    epoch = fill(path, [messages(10), messages(10, first=11), messages(10, first=21)])
    change(path, "UPDATE blocks SET checksum = 1 WHERE last = 20")
    new = path.with_name("new.db")
    with piped((*COMET, "log", "export", str(path)), (*COMET, "log", "import", str(new))) as importing:
        importing.until(b"20 messages imported into ")
        assert importing.wait() == 0
    with running("--store", f"sqlite:{new}", "--keep-seconds", "87600h") as daemon:
        with subscribe(daemon.http, f"/topics/**?transport=stream&since={epoch}-5", "stream") as held:
            held.until_messages(20)
            assert held.payloads() == [str(number) for number in (*range(1, 11), *range(21, 31))]
            assert len(held.controls("gap")) == 1
        assert daemon.end() == 0


def test_stream_can_be_imported(path: Path) -> None:
    """What a daemon streams can be imported as it is."""
    with running() as daemon:
        publish(daemon.http, "a", "one")
        answer = asked_json(daemon.http, "/topics/a?since=first&wait=0")
    opening = {"comet": "open", "stream": "x", "position": answer["next"], "silence": 25.0}
    lines = "\n".join(json.dumps(each) for each in (opening, *answer["messages"]))
    assert run(*COMET, "log", "import", str(path), stdin=lines).code == 0
    assert payloads(run(*COMET, "log", "export", str(path)).out) == ["one"]


def test_on_a_terminal(path: Path, tmp_path: Path) -> None:
    """On a terminal the result is what stays; of an export that goes to a file, how much it was."""
    fill(path, [messages(100, first=first) for first in range(1, 2_000, 100)])
    new = path.with_name("new.db")
    with shell(tmp_path) as typed:
        typed.type(f"comet log verify {path}")
        assert typed.until_prompt()[0].startswith(str(path)[:60])
        assert typed.code == 0
        typed.type(f"comet log export {path} > {tmp_path}/lines")
        assert typed.until_prompt()[0].startswith("2,000 messages, up to ")
        typed.type(f"comet log import {new} < {tmp_path}/lines")
        assert typed.until_prompt()[0].startswith("2,000 messages imported into")
        typed.type(f"comet log import {new}")
        assert typed.until_prompt()[0].startswith("comet: give the messages on standard input")
        assert typed.code == 1
        assert typed.shows_cursor()
