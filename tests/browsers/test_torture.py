"""Four tabs that share a connection while everything happens to it: each message comes once and in order, or a gap says
what is missing.

What happens is drawn by chance; the seed is printed with the test, and ``TORTURE_SEED=7`` sets it. ``TORTURE=20000`` is
for so many messages, instead of the thousand of the gate. The memory store loses what it has when the daemon ends; then
there are gaps, and otherwise none at all.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browsers.browser import Browser
from tests.browsers.gate import Treatment
from tests.browsers.pages import TRANSPORTS
from tests.browsers.scene import TOPICS, Scene

MESSAGES = int(os.environ.get("TORTURE", "1000"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))

HANG = 8
"""Seconds for which a tab does not answer: more than it takes the others to do without it."""

TREATMENTS: tuple[Treatment, ...] = ("mute", "page", "refuse", "slow", "slow")


def terminate(scene: Scene) -> None:
    """The daemon is restarted."""
    scene.restart(signal.SIGTERM)


def kill(scene: Scene) -> None:
    """The daemon dies, and is started again."""
    scene.restart(signal.SIGKILL)


def replace(scene: Scene) -> None:
    """Another daemon takes over."""
    scene.replace()


def lose_proxy(scene: Scene) -> None:
    """The proxy dies, and comes back."""
    scene.gate.shut()
    scene.flow.go_on(scene.chance.randint(1, 40))
    scene.gate.open()


def cut(scene: Scene) -> None:
    """All connections break."""
    scene.gate.cut()


def lose_network(scene: Scene) -> None:
    """The network of a tab goes, and comes back."""
    page = scene.tabs[scene.leader() or scene.any_tab()]
    page.offline(True)
    if scene.chance.random() < 0.5:
        scene.gate.cut()
    scene.flow.go_on(scene.chance.randint(1, 40))
    page.offline(False)


def block(scene: Scene) -> None:
    """The proxy lets other transports through than before."""
    names = scene.chance.sample(TRANSPORTS[:-1], scene.chance.randint(0, 4))
    scene.gate.treat.clear()
    scene.gate.treat.update({name: scene.chance.choice(TREATMENTS) for name in names})
    scene.gate.cut()


def close_leader(scene: Scene) -> None:
    """The tab that leads is closed, and another is opened."""
    scene.close_tab(scene.leader() or scene.any_tab())
    scene.flow.go_on(scene.chance.randint(1, 20))
    scene.open_tab()


def close_follower(scene: Scene) -> None:
    """A tab is opened, and some tab closed."""
    scene.open_tab()
    scene.close_tab(scene.any_tab())


def freeze_leader(scene: Scene) -> None:
    """The tab that leads is frozen for a while."""
    page = scene.tabs[scene.leader() or scene.any_tab()]
    page.freeze(True)
    scene.flow.go_on(scene.chance.randint(1, 60))
    page.freeze(False)
    page.show()


def hang_leader(scene: Scene) -> None:
    """The tab that leads does not answer for a long time, while the rest goes on."""
    if not scene.busy and (leader := scene.leader()):
        scene.hang(leader, HANG)


def subscribe(scene: Scene) -> None:
    """Subscriptions come and go in a tab."""
    page = scene.tabs[scene.any_tab()]
    names = page.run("Object.keys(records).filter((name) => !records[name].closed)")
    if len(names) > 1:
        page.run(f"unwatch('{scene.chance.choice(names)}')")
    scene.watch(page)


def say(scene: Scene) -> None:
    """Pages publish."""
    for name in scene.awake():
        said = [f"said by {name}, {scene.number()}" for _ in range(3)]
        scene.tabs[name].do(f"for (const text of {said}) void say('{scene.chance.choice(TOPICS)}', text)")


Act = Callable[[Scene], None]
ENDS: tuple[Act, ...] = (terminate, kill)
"""They cost a memory store what it has."""
ACTS: tuple[Act, ...] = (
    replace,
    lose_proxy,
    cut,
    lose_network,
    block,
    close_leader,
    close_follower,
    freeze_leader,
    hang_leader,
    subscribe,
    say,
)


@pytest.mark.cannot("firefox", "its driver cannot freeze a page")
@pytest.mark.cannot("webkit", "its driver cannot freeze a page")
@pytest.mark.parametrize("ends", [ENDS, ()], ids=["daemon ends", "daemon is replaced"])
def test_torture(browser: Browser, tmp_path: Path, ends: tuple[Act, ...]) -> None:
    """Whatever happens, a subscription has each message once and in order, or a gap; tabs end with one connection."""
    _say(f"TORTURE_SEED={SEED}")
    chance = random.Random(SEED)
    scene = Scene(browser, chance, tmp_path)
    acts: list[Act] = []
    with scene.begun():
        while len(scene.flow.sent) < MESSAGES:
            acts = acts or chance.sample(ACTS + ends, len(ACTS + ends))
            act = acts.pop()
            _say(f"{len(scene.flow.sent):5} {act.__doc__}")
            act(scene)
            scene.flow.go_on(chance.randint(1, 60))
            scene.look()
        scene.calm()
        faults = scene.faults()
        assert not faults, "\n".join(faults)
        if not ends:
            assert scene.gaps() == []
            assert scene.published_twice() == []


def _say(text: str) -> None:
    """Say it to whoever reads of a failure."""
    print(text)  # noqa: T201 - pytest shows it only then
