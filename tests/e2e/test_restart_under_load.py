"""Restarting the daemon under load: two thousand subscribers on every transport, and four publishers that pipeline."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.daemons import LONGEST, environment, running
from tests.e2e.crowd import TRANSPORTS, Crowd, Member

SUBSCRIBERS = 2_000
PUBLISHERS = 4
TOPICS = 20
BACK_WITHIN = 10.0

PUBLISH = """
import json, sys, time
from comet.publish import Draft, Publisher

server, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
publisher = Publisher(server, patience=60)
number = 0
sys.stdin.close()
published = []
stop = sys.argv[4]
import os
while not os.path.exists(stop):
    began = time.monotonic()
    number += 1
    batch = [Draft(f"restart/{topic}", str(number)) for topic in range(first, last)]
    batch += [Draft(f"load/{first}/{index}", "x" * 100) for index in range(200)]
    published.append(publisher.publish_many(batch)[: last - first])
    time.sleep(max(0, began + 0.5 - time.monotonic()))
print(json.dumps(published))
"""


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def publishing(server: str, stop: Path) -> Iterator[list[list[str]]]:
    """Publishers that go on until the end of the block. Then the list has the positions that they were given, for each
    topic, in the order of publishing."""
    share = TOPICS // PUBLISHERS
    found: list[list[str]] = []
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PUBLISH, server, str(first), str(first + share), str(stop)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    env=environment(),
                )
            )
            for first in range(0, TOPICS, share)
        ]
        try:
            yield found
            stop.touch()
            for process in processes:
                out, _ = process.communicate(timeout=LONGEST)
                assert process.returncode == 0
                rounds = json.loads(out)
                found += [[positions[index] for positions in rounds] for index in range(share)]
        finally:
            for process in processes:
                process.kill()


def crowd(port: int) -> Crowd:
    """Two thousand subscribers, each transport on each topic."""
    return Crowd(
        port,
        [Member(TRANSPORTS[index % len(TRANSPORTS)], f"restart/{index % TOPICS}") for index in range(SUBSCRIBERS)],
    )


def assert_complete(crowd: Crowd, last: list[int]) -> None:
    """Every subscriber has every number of its topic, from its first one on, once and in order. A picture is replaced
    by the next, and its place in the log is told to nobody; it has to be the newest."""
    for member in crowd.members:
        numbers = member.numbers
        if member.transport != "multipart":
            assert all(after == before + 1 for before, after in pairwise(numbers)), (member.transport, numbers)
        assert numbers[-1] == last[int(member.topic.rpartition("/")[2])], member.transport


def histogram(crowd: Crowd) -> dict[int, int]:
    """How many subscribers were back after how many whole seconds."""
    return dict(sorted(Counter(int(member.away[-1]) for member in crowd.members).items()))


@pytest.mark.parametrize("way", ["hand-over", "stop and start"])
def test_restart(way: str, tmp_path: Path) -> None:
    """Nobody loses or repeats a message; the reconnects are spread, and all are back within ten seconds."""
    http, tcp = free_port(), free_port()
    options = [f"--http=tcp:{http}:interface=127.0.0.1", f"--tcp=tcp:{tcp}:interface=127.0.0.1"]
    options += ["--handover", str(tmp_path / "handover")]
    with ExitStack() as stack:
        old = stack.enter_context(running(*options, anywhere=()))
        everybody = stack.enter_context(crowd(http))
        with publishing(f"127.0.0.1:{tcp}", tmp_path / "stop") as published:
            everybody.until(lambda: all(len(member.numbers) > 2 for member in everybody.members), "first messages")
            if way == "hand-over":
                new = stack.enter_context(running(*options, "--replace", anywhere=()))
            else:
                assert old.end() == 0
                new = stack.enter_context(running(*options, anywhere=()))
            began = time.monotonic()
            everybody.until(lambda: all(member.away for member in everybody.members), "everybody is back")
            assert time.monotonic() - began < BACK_WITHIN
            everybody.until(lambda: time.monotonic() - began > BACK_WITHIN, "some more messages")
        assert old.process.wait(LONGEST) == 0
        last = [len(positions) for positions in published]
        everybody.until(
            lambda: all(member.numbers[-1] == last[int(member.topic[8:])] for member in everybody.members),
            "the last messages",
        )
        assert_complete(everybody, last)
        told = [member.gaps for member in everybody.members if member.transport != "multipart"]
        assert set(told) == ({0} if way == "hand-over" else {1})
        epochs = {position.partition("-")[0] for positions in published for position in positions}
        assert len(epochs) == (1 if way == "hand-over" else 2)
        returns = histogram(everybody)
        sys.stdout.write(f"{way}: back after so many seconds: {returns}\n")  # pytest -s shows it
        assert max(returns.values()) < SUBSCRIBERS / 2
        assert new.end() == 0
