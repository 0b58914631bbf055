"""Reloading what says who may do what, and how much: each setting takes effect while the daemon runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jwt
import pytest

from comet.config import settings
from tests.http_wires import get, post
from tests.test_reloading import Running

OLD, NEW = b"o" * 32, b"n" * 32
NOBODY = "local = 'anonymous'\n"
ANYBODY = NOBODY + "anonymous = ['subscribe:**', 'publish:**']\n"


class Case(NamedTuple):
    """A setting: what else is set, its value before and after, as it stands in the file, and what shows which is in
    force. The files of two keys are where OLD and NEW stand."""

    further: str
    before: str
    after: str
    shows: Callable[[Running], object]


def token(**claims: object) -> str:
    """A token that allows to subscribe to everything, signed with the old key."""
    return jwt.encode({"sub": "alice", "comet": {"subscribe": ["**"]}, **claims}, OLD, algorithm="HS256")


def status(daemon: Running, *lines: str, target: str = "/topics/a?wait=0") -> int:
    """How the daemon answers."""
    return daemon.get(target, *lines).status


def bearing(**claims: object) -> Callable[[Running], object]:
    """How it answers somebody with a token."""
    return lambda daemon: status(daemon, f"Authorization: Bearer {token(**claims)}")


def cookie(daemon: Running) -> object:
    return status(daemon, f"Cookie: __Host-a={token()}", "Sec-Fetch-Site: same-origin")


def forwarded(daemon: Running) -> object:
    stream = daemon.face.held(get("/topics/a?transport=stream", "X-Forwarded-For: 203.0.113.5"))
    stream.take()
    return [each.who.address for each in daemon.router.streams.values()]


def streams(daemon: Running) -> object:
    return [daemon.face.held(get("/topics/a?transport=stream")).take()[:12] for _ in range(3)]


def streams_of_alice(daemon: Running) -> object:
    asking = get("/topics/a?transport=stream", f"Authorization: Bearer {token()}")
    return [daemon.face.held(asking).take()[:12] for _ in range(3)]


def requests(daemon: Running) -> object:
    return [status(daemon) for _ in range(30)]


def requests_of_alice(daemon: Running) -> object:
    return [bearing()(daemon) for _ in range(30)]


def publishes(daemon: Running) -> object:
    return daemon.publish(30)


def publishes_of_alice(daemon: Running) -> object:
    bearer = f"Authorization: Bearer {token(comet={'publish': ['a']})}"
    return [daemon.face.ask(post("/topics/a", b"x", bearer)).status for _ in range(30)]


def connections(daemon: Running) -> object:
    wires = [daemon.face.connect() for _ in range(4)]
    taken = [wire.take()[:12] for wire in wires]
    for wire in wires:
        wire.leave()
    return taken


def max_url(daemon: Running) -> object:
    return status(daemon, target=f"/topics/a?wait=0&_={'x' * 500}")


def looked_up(name: str) -> Callable[[Running], object]:
    """What is looked up each time that it is needed."""
    return lambda daemon: getattr(daemon.router.config, name)


KEYED = NOBODY + "key = ['OLD']\n"

CASES = {
    "proxy": Case(ANYBODY, "['10.0.0.1']", "['127.0.0.1']", forwarded),
    "key": Case(NOBODY, "['NEW']", "['OLD']", bearing()),
    "audience": Case(KEYED, "'comet'", "'other'", bearing(aud="comet")),
    "issuer": Case(KEYED, "'shop'", "'other'", bearing(iss="shop")),
    "cookie": Case(KEYED, "'none'", "'__Host-a'", cookie),
    "key-refresh": Case("", "60", "70", looked_up("key_refresh")),
    "authorize-url": Case("", "''", "'http://127.0.0.1:9/'", looked_up("authorize_url")),
    "authorize-header": Case("", "['cookie']", "['x-session']", looked_up("authorize_header")),
    "authorize-timeout": Case("", "5", "6", looked_up("authorize_timeout")),
    "anonymous": Case(NOBODY, "['subscribe:b']", "['subscribe:*']", status),
    "local": Case("", "'all'", "'anonymous'", status),
    "max-connections": Case("", "3", "2", connections),
    "max-connections-per-address": Case(ANYBODY, "3", "2", connections),
    "max-streams-per-address": Case(ANYBODY, "2", "1", streams),
    "max-streams-per-subject": Case(KEYED, "2", "1", streams_of_alice),
    "requests-per-address": Case(ANYBODY + "burst = 1\n", "20", "10", requests),
    "requests-per-subject": Case(KEYED + "burst = 1\n", "20", "10", requests_of_alice),
    "publishes-per-address": Case(ANYBODY + "burst = 1\n", "20", "10", publishes),
    "publishes-per-subject": Case(KEYED + "burst = 1\n", "20", "10", publishes_of_alice),
    "burst": Case(ANYBODY + "requests-per-address = 10\n", "2", "1", requests),
    "max-url": Case("", "400", "1000", max_url),
    "max-bodies": Case("", "1000", "2000", looked_up("max_bodies")),
    "max-waiting": Case("", "1000", "2000", looked_up("max_waiting")),
    "max-commands-unknown": Case("", "5", "6", looked_up("max_commands_unknown")),
    "auth-timeout": Case("", "5", "6", looked_up("auth_timeout")),
}

FIELDS = {setting.name for setting in settings()}


@pytest.mark.parametrize("name", sorted(CASES))
def test_access_takes_effect(tmp_path: Path, name: str) -> None:
    """After a reload the daemon does what one does that was started with the new value."""
    for key, secret in (("OLD", OLD), ("NEW", NEW)):
        (tmp_path / key).write_bytes(secret)
    case = CASES[name]
    texts = [
        f"{case.further}{name} = {value}\n".replace("OLD", f"{tmp_path}/OLD").replace("NEW", f"{tmp_path}/NEW")
        for value in (case.before, case.after)
    ]
    file = tmp_path / "comet.toml"
    before, wanted = (case.shows(Running(file, text)) for text in texts)
    assert name in FIELDS
    assert before != wanted
    daemon = Running(file, texts[0])
    daemon.reload(texts[1])
    assert case.shows(daemon) == wanted
