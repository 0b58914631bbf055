"""What is written in its newest state: nobody is answered before that is kept, and never for what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from comet.latest import Latest


class Slow:
    """Writes numbers, one at a time, when it is told to."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.writing: list[tuple[int, Deferred[None]]] = []

    def write(self, value: int) -> Deferred[None]:
        assert not self.writing, "one at a time"
        done: Deferred[None] = Deferred()
        self.writing.append((value, done))
        return done

    def succeed(self) -> None:
        value, done = self.writing.pop()
        self.written.append(value)
        done.callback(None)

    def fail(self) -> None:
        self.writing.pop()[1].errback(OSError("full"))


class Answers:
    """What was answered to whom."""

    def __init__(self, latest: Latest[int]) -> None:
        self._latest = latest
        self.good: list[int] = []
        self.bad: list[int] = []

    def put(self, value: int) -> None:
        self._latest.put(value).addCallbacks(lambda _: self.good.append(value), lambda _: self.bad.append(value))


def test_written_once() -> None:
    """However much changes while it is being written, it is written once more."""
    slow = Slow()
    latest = Latest(0, slow.write)
    answers = Answers(latest)
    for value in range(1, 100):
        answers.put(value)
    assert (latest.kept, latest.newest, answers.good) == (0, 99, [])
    slow.succeed()
    assert (latest.kept, answers.good) == (1, [1])
    slow.succeed()
    assert (slow.written, latest.kept, answers.good) == ([1, 99], 99, list(range(1, 100)))
    assert slow.writing == []


def test_nothing_to_write() -> None:
    """What is kept already is answered at once."""
    slow = Slow()
    answers = Answers(Latest(7, slow.write))
    answers.put(7)
    assert (answers.good, slow.writing) == ([7], [])


def test_failure() -> None:
    """A write that fails has not been: the same value is written again, not taken for kept."""
    slow = Slow()
    latest = Latest(0, slow.write)
    answers = Answers(latest)
    answers.put(5)
    slow.fail()
    assert (latest.kept, latest.newest, answers.bad) == (0, 0, [5])
    answers.put(5)
    slow.succeed()
    assert (latest.kept, answers.good) == (5, [5])


def test_failure_with_more_to_write() -> None:
    """What came later is tried for itself."""
    slow = Slow()
    latest = Latest(0, slow.write)
    answers = Answers(latest)
    for value in (1, 2, 3):
        answers.put(value)
    slow.fail()
    assert (answers.bad, latest.kept, latest.newest) == ([1], 0, 3)
    slow.succeed()
    assert (answers.good, latest.kept) == ([2, 3], 3)


@given(st.lists(st.sampled_from(["put", "succeed", "fail"]), max_size=60))
def test_answers_are_true(steps: list[str]) -> None:
    """Whatever happens: who is told that it is kept has it kept, or something later; and everybody is told."""
    slow = Slow()
    latest = Latest(0, slow.write)
    answers = Answers(latest)
    count = 0
    for step in [*steps, "succeed", "succeed"]:
        if step == "put":
            count += 1
            answers.put(count)
        elif slow.writing:
            slow.succeed() if step == "succeed" else slow.fail()
        assert latest.kept == max(slow.written, default=0) <= latest.newest
        assert max(answers.good, default=0) <= latest.kept
    assert sorted(answers.good + answers.bad) == list(range(1, count + 1))
