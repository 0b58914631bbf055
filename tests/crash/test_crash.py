"""The daemon is killed at whatever moment, and what it had acknowledged is there when the next one has started.

``CRASH_KILLS=500`` is for so many kills, instead of those of the gate, and ``CRASH_SEED=7`` chooses the moments; the
seed is printed with the test.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.crash.accounts import History
from tests.crash.scenes import TOPICS, Scene

KILLS = int(os.environ.get("CRASH_KILLS", "50"))
SEED = int(os.environ.get("CRASH_SEED", "1"))

RETAINED = 50
"""Messages of each topic that are in memory."""


def some_time(scene: Scene) -> None:
    """at some time"""
    time.sleep(scene.chance.uniform(0, 0.6))
    scene.lives.kill()
    scene.lives.buried()


def at_once(scene: Scene) -> None:
    """as soon as it listens"""
    scene.lives.kill()
    scene.lives.buried()


def acknowledged(scene: Scene) -> None:
    """right after an answer to a publisher"""
    scene.kill_at("acknowledged", scene.chance.randint(1, 40))


def delivered(scene: Scene) -> None:
    """right after a message came to a reader"""
    scene.kill_at("delivered", scene.chance.randint(1, 80))


def reported(scene: Scene) -> None:
    """right after the daemon said something of itself"""
    scene.kill_at("reported", 1)


def halfway(scene: Scene) -> None:
    """in the middle of a batch, or a little later"""

    def act() -> None:
        time.sleep(scene.chance.choice((0, scene.chance.uniform(0, 0.02))))
        scene.lives.kill()

    scene.kill_at("halfway", scene.chance.randint(1, 10), act)


def stopping(scene: Scene) -> None:
    """while it stops"""
    scene.go_on(1)
    scene.lives.daemon.process.terminate()
    time.sleep(scene.chance.uniform(0, 0.1))
    scene.lives.kill()
    scene.lives.buried()


def starting(scene: Scene) -> None:
    """while it starts"""
    scene.kill_at("acknowledged", scene.chance.randint(1, 20))
    # Before that it has only imported what it needs.
    scene.lives.kill_starting(scene.chance.uniform(0.6, 1.1))


Act = Callable[[Scene], None]
ACTS: tuple[Act, ...] = (some_time, at_once, acknowledged, delivered, reported, halfway, stopping, starting)


def tormented(scene: Scene, kills: int) -> History:
    """Kill the daemon of ``scene`` so often, and judge."""
    _say(f"CRASH_SEED={SEED}")
    acts: list[Act] = []
    with scene:
        scene.go_on(50)
        while scene.lives.kills < kills:
            acts = acts or scene.chance.sample(ACTS, len(ACTS))
            act = acts.pop()
            _say(f"{scene.acknowledged():6} acknowledged, kill {scene.lives.kills + 1} {act.__doc__}")
            act(scene)
            scene.lives.start()
        history = scene.settle()
        scene.lives.stop()
    found = scene.faults(history)
    assert not found, "\n".join(found)
    return history


def scene(path: Path, *further: str, **how: Any) -> Scene:
    """A daemon whose log is below ``path``; its memory holds little, so that the disk is read, and its heartbeats move
    the cursors of readers."""
    store = ("--store", f"sqlite:{path / 'comet.db'}", "--retain-messages", str(RETAINED))
    options = (*store, "--silence", "0.5", "--spread", "0", "--drain", "1", "--handover", "none", *further)
    return Scene(options, random.Random(SEED), **how)


def test_nothing_lost(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost, nothing is out of order or there twice, nobody saw what is not there."""
    history = tormented(scene(tmp_path), KILLS)
    assert len(history.log.items) > 2 * RETAINED * len(TOPICS), "most of it was read from the disk"


def test_nothing_lost_with_fsync(tmp_path: Path) -> None:
    """The same if each commit waits for the disk."""
    tormented(scene(tmp_path, "--durability", "fsync"), max(KILLS // 8, 1))


def test_nothing_lost_untold(tmp_path: Path) -> None:
    """While the log is trimmed the whole time, who comes too late is told which messages are gone, and of no others."""
    history = tormented(scene(tmp_path, "--keep-bytes", "256KiB", trims=True, rest=0.05), max(KILLS // 6, 1))
    assert any(reading.told() for reading in history.readings)


def _say(text: str) -> None:
    """Say it to whoever reads of a failure."""
    print(text)  # noqa: T201 - pytest shows it only then
