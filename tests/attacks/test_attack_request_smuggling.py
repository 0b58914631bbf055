"""Request smuggling: the daemon takes a request in the one way in which everybody does, or not at all."""

from __future__ import annotations

import pytest

from tests.attacks.attacker import exchanged, published, serves, statuses
from tests.attacks.smuggling import REFUSED, UNDERSTOOD, UNENDED
from tests.daemons import Daemon, running


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_requests(daemon: Daemon, name: str) -> None:
    """An attacker sends a request that a proxy in front may read otherwise: it is refused once, the connection is
    closed, and what stands behind or in it is not executed."""
    answer = exchanged(daemon.http, REFUSED[name])
    assert statuses(answer) in ([400], [413]), answer
    assert published(daemon, "forbidden") == []


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_unusual_requests(daemon: Daemon, name: str) -> None:
    """A request that is unusual but unambiguous is answered, and what is hidden in it stays hidden."""
    answer = exchanged(daemon.http, UNDERSTOOD[name])
    assert statuses(answer) in ([200], [201]), answer
    assert published(daemon, "forbidden") == []


def test_promised_bodies() -> None:
    """A body that is longer than what comes is waited for; then nothing of it is executed."""
    with running("--body-timeout", "500ms") as daemon:
        for name, data in UNENDED.items():
            answer = exchanged(daemon.http, data)
            assert statuses(answer) == [408], (name, answer)
        assert published(daemon, "forbidden") == []


def test_byte_by_byte(daemon: Daemon, topic: str) -> None:
    """It makes no difference in which pieces an ambiguous request comes."""
    for name in ("a-length-and-chunks", "size-plus", "trailer-with-a-line-feed", "a-bare-line-feed"):
        answer = exchanged(daemon.http, *(bytes((byte,)) for byte in REFUSED[name]))
        assert statuses(answer) == [400], (name, answer)
    assert published(daemon, "forbidden") == []
    serves(daemon, topic)
