"""With ``--store sqlite:PATH`` a daemon goes on where the last one ended: messages, positions, keys, every client."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons import ANYWHERE, LONGEST, Daemon, running, twistd
from tests.e2e.held import asked, asked_json, publish, subscribe
from tests.e2e.waiting import until

TRANSPORTS = ("stream", "sse", "iframe", "mixed", "websocket")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"sqlite:{tmp_path / 'comet.db'}"


def texts(daemon: Daemon, query: str) -> list[str]:
    """The payloads of all pages of a poll."""
    found: list[str] = []
    answer = asked_json(daemon.http, f"{query}&wait=0")
    while answer["messages"]:
        assert "gap" not in answer, answer
        found += [message["data"] for message in answer["messages"]]
        path = query.partition("?")[0]
        answer = asked_json(daemon.http, f"{path}?since={answer['next']}&wait=0")
    return found


def publish_once(daemon: Daemon, key: str) -> tuple[int, str]:
    """Publish under an idempotency key; returns the status and the position."""
    status, _, body = asked(daemon.http, "POST", "/topics/a", key.encode(), Idempotency_Key=key)
    return status, json.loads(body)["id"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("durability", ["commit", "fsync"])
def test_daemon_goes_on(store: str, how: signal.Signals, durability: str) -> None:
    """However a daemon ends, the next has its messages under their positions, and knows its keys."""
    with running("--store", store, "--durability", durability) as daemon:
        first = publish(daemon.http, "a", "one")
        status, keyed = publish_once(daemon, "two")
        assert status == 201
        daemon.end(how)
    with running("--store", store, "--durability", durability) as daemon:
        assert publish_once(daemon, "two") == (200, keyed)
        third = publish(daemon.http, "a", "three")
        answer = asked_json(daemon.http, f"/topics/a?since={first}&wait=0")
        assert [message["id"] for message in answer["messages"]] == [keyed, third]
        assert "gap" not in answer
        assert texts(daemon, "/topics/a?since=first") == ["one", "two", "three"]
        assert daemon.end() == 0


def test_everybody_resumes(store: str) -> None:
    """After a crash who comes back with a position misses nothing, has nothing twice, and is told of no gap."""
    with running("--store", store) as daemon, ExitStack() as stack:
        held = {
            name: stack.enter_context(subscribe(daemon.http, f"/topics/a?transport={name}", name))
            for name in TRANSPORTS
        }
        publish(daemon.http, "a", "one")
        for each in held.values():
            each.until_messages(1)
        daemon.end(signal.SIGKILL)
    with running("--store", store) as daemon, ExitStack() as stack:
        publish(daemon.http, "a", "two")
        for name, each in held.items():
            resumed = stack.enter_context(
                subscribe(daemon.http, f"/topics/a?transport={name}&since={each.cursor()}", name)
            )
            resumed.until_messages(1)
            assert (resumed.payloads(), resumed.controls("gap")) == (["two"], [])


def test_memory_is_not_the_limit(store: str) -> None:
    """What memory does not have is read from disk, as if it were there; by topic and by pattern."""
    few = ("--store", store, "--retain-messages", "3", "--page-messages", "7")
    numbers = [str(number) for number in range(60)]
    with running(*few) as daemon:
        positions = [publish(daemon.http, f"t/{int(number) % 2}", number) for number in numbers]
        _read_all(daemon, numbers, positions)
    with running(*few) as daemon:
        _read_all(daemon, numbers, positions)


def _read_all(daemon: Daemon, numbers: list[str], positions: list[str]) -> None:
    assert texts(daemon, "/topics/t/*?since=first") == numbers
    assert texts(daemon, "/topics/t/1?since=first") == numbers[1::2]
    assert texts(daemon, f"/topics/t/*?since={positions[9]}") == numbers[10:]
    assert texts(daemon, "/topics/t/0?since=-12") == numbers[::2][-12:]
    assert texts(daemon, "/topics/**?since=-40") == numbers[-40:]


@pytest.fixture
def place(tmp_path: Path) -> str:
    """The socket on which daemons hand over to each other."""
    return str(tmp_path / "handover")


def test_successor(store: str, place: str) -> None:
    """A hand-over goes on the same file; who resumes misses nothing, and the daemon after it has all of it."""
    options = ("--store", store, "--handover", place, "--spread", "300ms")
    with ExitStack() as stack:
        old = stack.enter_context(running(*options))
        status, keyed = publish_once(old, "one")
        assert status == 201
        held = stack.enter_context(subscribe(old.http, "/topics/a?transport=sse&since=first", "sse"))
        held.until_messages(1)
        new = stack.enter_context(running(*options, "--replace"))
        assert old.process.wait(LONGEST) == 0
        assert publish_once(new, "one") == (200, keyed)
        publish(new.http, "a", "two")
        held.until_end()
        resumed = stack.enter_context(subscribe(new.http, f"/topics/a?transport=sse&since={held.cursor()}", "sse"))
        resumed.until_messages(1)
        assert (resumed.payloads(), resumed.controls("gap")) == (["two"], [])
        new.end(signal.SIGKILL)
        last = stack.enter_context(running(*options))
        assert texts(last, "/topics/a?since=first") == ["one", "two"]


def test_successor_elsewhere(store: str, place: str) -> None:
    """A successor that keeps its messages elsewhere takes nothing over, says why, and the daemon goes on."""
    with running("--store", store, "--handover", place) as old:
        publish(old.http, "a", "one")
        refused = twistd("-n", "--pidfile=", "comet", *ANYWHERE, "--handover", place, "--replace")
        assert refused.code == 1
        assert f"keeps its messages in {store}, not memory:" in refused.err
        until(lambda: publish(old.http, "a", "two"), "the old daemon to go on")
        assert texts(old, "/topics/a?since=first") == ["one", "two"]


def test_second_daemon_on_the_file(store: str) -> None:
    """Two daemons on one file would take each other's offsets: the second one says so, and ends."""
    with running("--store", store) as first:
        refused = twistd("-n", "--pidfile=", "comet", *ANYWHERE, "--handover", "none", "--store", store)
        assert refused.code == 1
        assert refused.err.count("\n") == 1
        assert str(first.process.pid) in refused.err or "in use" in refused.err
        publish(first.http, "a", "one")
