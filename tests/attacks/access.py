"""Daemons to which a client on this machine is nobody in particular, and tokens for them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemons import Daemon, running
from tests.e2e.held import asked
from tests.minting import SECRET, minted

OPEN = {"subscribe": ["open/**"], "publish": ["open/**"]}
"""What an honest token allows."""

Answer = tuple[int, Mapping[str, str], bytes]


@contextmanager
def guarded(*options: str, key: str = SECRET) -> Iterator[Daemon]:
    """A daemon that checks tokens with ``key`` and lets nobody do anything without one."""
    with tempfile.NamedTemporaryFile("w", suffix=".key") as file:
        Path(file.name).write_text(key)
        with running("--local", "anonymous", "--key", file.name, *options) as daemon:
            yield daemon


def token(subject: str = "alice", **further: Any) -> str:
    """A token of ``subject`` for :data:`OPEN`, unless ``further`` claims say otherwise."""
    return minted(**{"sub": subject, "comet": OPEN, **further})


def asks(daemon: Daemon, method: str, target: str, bearer: str = "", body: bytes = b"", **header: str) -> Answer:
    """Ask with the token ``bearer``, if there is one."""
    carried = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return asked(daemon.http, method, target, body, **carried, **header)


def code_of(answer: Answer) -> tuple[int, str]:
    """The status of a refusal, and its code."""
    status, _, body = answer
    return status, json.loads(body)["code"] if status >= 400 else ""


def retained(daemon: Daemon, topic: str) -> list[Any]:
    """What is on ``topic``, as who may subscribe to everything sees it."""
    everything = token("auditor", comet={"subscribe": ["**"]})
    status, _, body = asks(daemon, "GET", f"/topics/{topic}?since=first&wait=0", everything)
    assert status == 200, body
    return [message.get("data", message.get("data64")) for message in json.loads(body)["messages"]]
