"""What the operating system says of a process."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from comet.stats import process


def test_descriptors_are_counted() -> None:
    """Each that is opened is one more."""
    before = process.open_descriptors()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    try:
        assert process.open_descriptors() == before + 10
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert process.look().descriptors_allowed == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_figures_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the system tells less, what is told is about right, and nothing fails."""
    memory = process.resident_bytes()
    monkeypatch.setattr(process, "_SELF", tmp_path)
    assert 0.1 * memory < process.resident_bytes() < 10 * memory
    assert 3 <= process.open_descriptors() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert process.start_time() == 0.0


def test_start_and_processor_time() -> None:
    """The process began some time ago, and has used no more of one core than there was, threads aside."""
    began = process.start_time()
    assert 0 < time.time() - began < 86_400
    before = process.cpu_seconds()
    assert 0 < before <= process.cpu_seconds()
