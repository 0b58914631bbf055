"""The bench of the durable log works at a small size, and what it looks at can be wrong. A C compiler is needed, as
``cc``: without it these tests fail, and say so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bench.durable.__main__ import judge
from bench.durable.bounds import BOUNDS, Bound, verdicts
from bench.durable.filling import fill
from bench.durable.reader import Count, Wanted, read
from bench.durable.replaying import judged
from bench.durable.scenarios import CASES, LEAST, scaled
from bench.durable.starting import missing
from bench.durable.stores import Log
from bench.report import Run, table
from bench.scenarios import FAULTS
from tests.daemons import ROOT, running

LONGEST = 200.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Run]:
    """What a run of everything brings, at the smallest size."""
    directory = tmp_path_factory.mktemp("bench")
    small = ("--reps", "1", "--scale", "0.0001", "--directory", str(directory))
    done = subprocess.run(
        [sys.executable, "-m", "bench.durable", "--stores", "commit", *small, "--json", str(directory / "figures")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "## In short" in done.stdout
    return [Run(**json.loads(line)) for line in (directory / "figures").read_text().splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_a_small_run_brings_figures(name: str, runs: Sequence[Run]) -> None:
    """Each scenario runs against real daemons, gives all its figures, and finds nothing wrong."""
    case = CASES[name]
    of_case = [run for run in runs if run.scenario == name]
    assert [run.face for run in of_case] == [face for face, row in case.rows.items() if row.store == "commit"]
    for run in of_case:
        assert [column.name for column in case.scenario.columns if run.figures.get(column.name) is None] == []
        assert [fault for fault in FAULTS if run.figures[fault]] == []


def test_every_bound_is_of_a_figure_that_there_is() -> None:
    """A bound that names something that is not measured would always be met."""
    for bound in BOUNDS:
        case = CASES[bound.scenario]
        assert bound.face in case.rows
        assert bound.compare is None or bound.against in case.rows
        assert bound.figure in [column.name for column in case.scenario.columns]


# -- the reader -----------------------------------------------------------------------------------------------------

OPEN = b'{"comet":"open","stream":"s","position":null,"silence":25}\n'
GAP = b'{"comet":"gap","since":"a-1","until":"a-3"}\n'


def _line(number: int) -> bytes:
    return b'{"id":"a-%d","topic":"bench/0","time":1.5,"data":"%010d%b"}\n' % (number + 1, number, b"x" * 90)


def _counted(*lines: bytes, at_once: int = 1 << 20) -> dict[str, int]:
    count = Count(Wanted(0, 1, 10))
    data = b"".join(lines)
    for begin in range(0, len(data), at_once):
        count.take(data[begin : begin + at_once])
    return {"messages": count.messages, "gaps": count.gaps, "misplaced": count.misplaced}


@pytest.mark.parametrize("at_once", [1, 7, 100, 1 << 20])
def test_a_reader_counts_however_the_bytes_come(at_once: int) -> None:
    """Ten lines are ten messages, in one block or byte by byte; what is said in-band is none."""
    lines = [OPEN, *map(_line, range(10))]
    assert _counted(*lines, at_once=at_once) == {"messages": 10, "gaps": 0, "misplaced": 0}


def test_a_reader_sees_what_was_left_out() -> None:
    """A message that is not there has those behind it in the wrong places, and one too few in all."""
    found = _counted(OPEN, *map(_line, (0, 1, 3, 4, 5, 6, 7, 8, 9)))
    assert found == {"messages": 9, "gaps": 0, "misplaced": 1}
    assert judged(found, Wanted(0, 1, 10))["lost"] == 1


def test_a_reader_sees_what_came_twice() -> None:
    """One too many is one that came twice."""
    found = _counted(OPEN, *map(_line, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9)))
    faults = judged(found, Wanted(0, 1, 10))
    assert (faults["twice"], faults["out_of_order"]) == (1, 1)


def test_a_reader_sees_another_order() -> None:
    """All of them, but the last two the other way round."""
    found = _counted(OPEN, *map(_line, (0, 1, 2, 3, 4, 5, 6, 7, 9, 8)))
    faults = judged(found, Wanted(0, 1, 10))
    assert (faults["lost"], faults["out_of_order"]) == (0, 1)


def test_a_gap_is_a_loss() -> None:
    """Who is told of a gap while everything is stored has lost."""
    assert judged(_counted(OPEN, GAP, *map(_line, range(10))), Wanted(0, 1, 10))["lost"] == 1


def test_a_reader_of_one_topic_expects_its_numbers() -> None:
    """The messages of one topic among many are so many apart."""
    count = Count(Wanted(3, 10, 2))
    count.take(_line(3) + _line(13))
    assert (count.messages, count.misplaced) == (2, 0)
    count.take(_line(14))
    assert count.misplaced == 1


def test_a_stream_that_ends_early_is_read_as_far_as_it_goes() -> None:
    """A daemon that closes the stream in the middle does not hold the reader up."""
    with _served(b"HTTP/1.1 200 OK\r\n\r\n" + OPEN + _line(0) + _line(1)) as port:
        found = read(port, "bench/0", Wanted(0, 1, 10))
    assert found["messages"] == 2
    assert judged(found, Wanted(0, 1, 10))["lost"] == 8


def test_a_refusal_of_the_stream_fails_the_run() -> None:
    """What is no stream is not measured."""
    with _served(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port, pytest.raises(SystemExit, match="503"):
        read(port, "bench/0", Wanted(0, 1, 10))


def test_a_refusal_of_a_publish_fails_the_run() -> None:
    """A log of which a message was refused is not the one that was to be measured."""
    with _served(b":0\r\n-ERR no room\r\n") as port, pytest.raises(RuntimeError, match="no room"):
        fill(port, 2, 1)


def test_messages_that_are_gone_after_a_start_are_missed() -> None:
    """The ends of a log that should be longer are not those that are there."""
    with running() as daemon:
        fill(int(daemon.tcp.rpartition(":")[2]), 20, 4)
        assert missing(daemon.http_port(), Log(20, 4, 5)) == 0
        assert missing(daemon.http_port(), Log(21, 4, 5)) == 1


@contextmanager
def _served(answer: bytes) -> Iterator[int]:
    """A server that gives its one client ``answer``, whatever it asks; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, answer))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(LONGEST)


def _answer(listener: socket.socket, answer: bytes) -> None:
    with listener.accept()[0] as client:
        client.recv(1 << 16)
        client.sendall(answer)


# -- the judge ------------------------------------------------------------------------------------------------------


def _run(face: str, repetition: int, **figures: Any) -> Run:
    return Run("latency", face, repetition, {**dict.fromkeys(FAULTS, 0), **figures})


ADDED = next(bound for bound in BOUNDS if bound.figure == "acknowledgement_p50")
LEAST_PUBLISHED = Bound("publishes", "latency", "commit", "publishes", 40_000, is_least=True)


def test_what_is_added_is_added_within_a_repetition() -> None:
    """A repetition in which the machine was slow was slow for both."""
    times = {"memory": (1.0, 50.0, 1.0), "commit": (3.0, 52.0, 3.5)}
    each = [_run(face, turn, acknowledgement_p50=ms) for face, all_ in times.items() for turn, ms in enumerate(all_)]
    (verdict,) = verdicts(each, [ADDED])
    assert verdict.seen == 2
    assert verdict.is_met


@pytest.mark.parametrize(("bound", "seen"), [(ADDED, 4.5), (LEAST_PUBLISHED, 39_999)])
def test_a_bound_can_be_missed(bound: Bound, seen: float) -> None:
    """Too slow is too slow, whether a figure is to be small or large."""
    each = [_run("memory", 0, **{bound.figure: 1.0}), _run("commit", 0, **{bound.figure: seen})]
    (verdict,) = verdicts(each, [bound])
    assert not verdict.is_met
    assert "**no**" in verdict.cells()


def test_a_fan_out_is_judged_by_the_cheapest_runs() -> None:
    """Whatever else the machine did, it made no run cheaper."""
    costs = {"memory": (8.0, 11.0, 9.0), "commit": (13.0, 8.4, 10.0)}
    each = [
        _run(face, turn, cpu_per_delivery=cost)._replace(scenario="fanout")
        for face, all_ in costs.items()
        for turn, cost in enumerate(all_)
    ]
    (verdict,) = verdicts(each)
    assert verdict.seen == pytest.approx(1.05)


def test_nothing_is_said_of_what_was_not_measured() -> None:
    """A bound without figures is no bound that was met; nor is a comparison without the other side."""
    assert list(verdicts([_run("commit", 0, acknowledgement_p50=1.0)], BOUNDS)) == []


def test_a_missed_bound_fails_the_bench_at_its_full_size_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """At a small size the figures say little."""
    slow = [_run("memory", 0, acknowledgement_p50=1.0), _run("commit", 0, acknowledgement_p50=9.0)]
    assert judge(slow, [], 0.1) == 0
    assert judge(slow, [], 1.0) == 1
    assert "not met" in capsys.readouterr().err


def test_a_loss_and_a_failure_fail_the_bench_at_any_size() -> None:
    """Whichever the store, and however short the run."""
    assert judge([_run("memory", 0, lost=1)], [], 0.1) == 1
    assert judge([], ["publish, commit: the daemon does not listen"], 0.1) == 1
    assert judge([_run("commit", 0)], [], 0.1) == 0


def test_ratios_are_to_the_memory_store() -> None:
    """The table says how much of the memory store's speed is left."""
    scenario = CASES["publish"].scenario
    figures = {column.name: 1.0 for column in scenario.columns}
    each = [
        _run("memory", 0, **{**figures, "publishes_per_second": 200.0}),
        _run("commit", 0, **{**figures, "publishes_per_second": 50.0}),
    ]
    last = next(line for line in table(scenario, each, ("memory",)) if line.startswith("| commit"))
    assert last.endswith("| 0.25 |")


def test_everything_that_scales_gets_smaller_and_nothing_else() -> None:
    """A small run is the same scenario with less of everything."""
    for case in CASES.values():
        small = scaled(case.scenario.options, 0.001)
        changed = {name for name, value in case.scenario.options.items() if small[name] != value}
        assert changed <= LEAST.keys()
        assert scaled(case.scenario.options, 1) == case.scenario.options
