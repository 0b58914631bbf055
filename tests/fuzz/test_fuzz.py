"""Whatever a client sends: nothing but a refusal comes of it, what is answered is well formed, and nothing is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.fuzz.scripts import Script, in_pieces, joined, parse, written
from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"
TIMES = float(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples there are as in the gate."""


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Fail at once for a failure that is only logged, so that it is known which script brought it about."""
    seen: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            seen.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    assert not seen, "\n".join(failure.getTraceback() for failure in seen)


def played(name: str, target: Target, script: Script) -> None:
    """Play ``script``, and say how it is kept if it finds something."""
    note(f"to keep it, write to tests/fuzz/corpus/{name}/<what it is>.txt:\n{written(script)}")
    with nothing_logged():
        target.play(script)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_sent(name: str) -> None:
    """What grammars and their mutations make up does no harm."""
    target = TARGETS[name]

    @settings(max_examples=round(target.examples * TIMES), suppress_health_check=list(HealthCheck))
    @given(target.scripts)
    def play(script: Script) -> None:
        played(name, target, script)

    play()


def _kept() -> list[Path]:
    return sorted(CORPUS.glob("*/*.txt"))


@pytest.mark.parametrize("path", _kept(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_found_once(path: Path) -> None:
    """What is in the corpus does no harm, as it is, or cut in other ways."""
    target = TARGETS[path.parent.name]
    script = parse(path.read_text())
    for other in (script, *(in_pieces(joined(script), size) for size in target.sizes)):
        with nothing_logged():
            target.play(other)


def test_each_target_has_a_corpus() -> None:
    """A folder without a target would not be played; a target without a folder has nothing to start from."""
    assert {path.parent.name for path in _kept()} == set(TARGETS)


@pytest.mark.parametrize("path", _kept(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_script_is_spelt_in_one_way(path: Path) -> None:
    """What is printed of a finding can be kept as it is."""
    script = parse(path.read_text())
    assert parse(written(script)) == script
