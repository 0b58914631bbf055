"""The disk is full: publishers are told, readers read on, and once there is room again all is as before."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.crash.scenes import Scene
from tests.crash.small_disks import SmallDisk, limited, mounted
from tests.crash.writers import Batches, Keyless, Pipeline, Posting, Telling
from tests.e2e.held import asked
from tests.e2e.waiting import until

WRITERS = (
    ("pipeline", Pipeline),
    ("keyless", Keyless),
    ("telling", Telling),
    ("posting", Posting),
    ("batches", Batches),
)
"""The library does not tell what was refused before it was taken."""

BYTES = 512 * 1024
"""What is published before the disk is full, so that the files are large enough to meet the limit."""


def on(disk: SmallDisk) -> Scene:
    """A daemon on ``disk``."""
    options = ("--store", f"sqlite:{disk.path / 'comet.db'}", "--retain-messages", "50", "--silence", "0.5")
    further = ("--spread", "0", "--drain", "1", "--handover", "none")
    return Scene((*options, *further), random.Random(1), WRITERS, rest=0.1)


def refusals(scene: Scene) -> list[str]:
    """All that publishers were refused with."""
    return [text for writer in scene.writers for each in writer.publications for text in each.refusals]


def published(scene: Scene) -> int:
    """How many bytes were acknowledged."""
    return sum(len(each.payload) for writer in scene.writers for each in writer.publications if each.positions)


def until_refused(scene: Scene) -> None:
    """Publish until each publisher was refused anew."""
    before = [sum(len(each.refusals) for each in writer.publications) for writer in scene.writers]
    until(
        lambda: all(
            sum(len(each.refusals) for each in writer.publications) > count
            for writer, count in zip(scene.writers, before, strict=True)
        ),
        "every publisher is refused",
    )


def trouble(scene: Scene) -> str:
    """What ``/readyz`` says is wrong; nothing if the daemon is ready."""
    status, _, body = asked(scene.lives.http, "GET", "/readyz")
    assert status in (200, 503)
    return "" if status == 200 else str(json.loads(body)["detail"])


def assert_troubled(scene: Scene) -> None:
    """The daemon says what is wrong, and goes on giving what is in memory."""
    # What is small enough may still be stored in what the files have already: for a moment there is no trouble then.
    detail = until(lambda: trouble(scene), "the daemon says that it is not ready")
    assert "comet.db" in detail
    assert "\n" not in detail
    status, _, body = asked(scene.lives.http, "GET", "/topics/crash/a?transport=poll&since=-1&wait=0")
    assert status == 200
    assert len(json.loads(body)["messages"]) == 1


@pytest.mark.parametrize("disk", [mounted, limited])
def test_full_disk(tmp_path: Path, disk: Callable[[Path], AbstractContextManager[SmallDisk]]) -> None:
    """Who publishes on a full disk is told so; when there is room again publishing goes on by itself, and all that was
    acknowledged is there, though the daemon may have been killed meanwhile."""
    with disk(tmp_path / "disk") as small, on(small) as scene:
        for kills in (0, 1, 0, 1):
            until(lambda: published(scene) > BYTES, "enough is published")
            small.fill(scene.lives)
            until_refused(scene)
            assert_troubled(scene)
            if kills:
                scene.lives.kill()
                scene.lives.buried()
                start(scene, small)
            else:
                small.free(scene.lives)
            until(lambda: not trouble(scene), "the daemon is ready again")
            scene.go_on(100)
        history = scene.settle()
        log = scene.lives.text()
        scene.lives.stop()
        found = scene.faults(history)
        assert not found, "\n".join(found)
        assert {text.split()[0] for text in refusals(scene)} == {"store_failed"}
        assert len([line for line in log.splitlines() if "comet.db" in line]) < 10, log


def start(scene: Scene, disk: SmallDisk) -> None:
    """Start on the full disk. The daemon does not start, and says why in a line; or it does, and waits for room."""
    said = disk.start(scene.lives)
    if said:
        assert "Traceback" not in said
        assert "comet.db" in said
        disk.free(scene.lives)
        scene.lives.start()
    else:
        disk.free(scene.lives)
