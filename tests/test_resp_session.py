"""What the TCP port keeps for its publishers stays bounded, whatever they send."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from comet.config import Config
from comet.errors import PayloadTooLarge
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp import session as module
from comet.resp.session import Intake, Session, Transaction
from comet.router import Router
from comet.store.memory import MemoryStore


@pytest.fixture
def intake() -> Intake:
    metrics = Metrics()
    return Intake(Router(Config(), MemoryStore(), metrics, Clock()), Config(max_payload=10), metrics)


def test_topics_are_remembered_within_bounds(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that makes up topics does not fill the memory."""
    monkeypatch.setattr(module, "REMEMBERED_TOPICS", 2)
    for number in range(10):
        assert intake.draft(b"topic/%d" % number, b"x") == Draft(f"topic/{number}", b"x")
    assert len(intake._topics) <= 2


def test_a_remembered_topic_does_not_excuse_a_large_payload(intake: Intake) -> None:
    """The size of each payload is checked, though its topic was checked before."""
    assert intake.draft(b"a", b"x" * 10) == Draft("a", b"x" * 10)
    with pytest.raises(PayloadTooLarge):
        intake.draft(b"a", b"x" * 11)


def test_connections_are_counted(intake: Intake) -> None:
    """Each connection has its own number."""
    assert [Session(intake, "192.0.2.1:4711").number for _ in range(3)] == [1, 2, 3]


def test_the_bytes_of_a_transaction_are_bounded() -> None:
    """Commands that wait for EXEC take no more memory than one command may."""
    transaction = Transaction()
    payload = b"x" * 1000
    with pytest.raises(PayloadTooLarge):
        for _ in range(67):
            assert transaction.instead("PING", [payload], 10) == b"+QUEUED\r\n"
    assert len(transaction.commands) == 65


def test_the_commands_of_a_transaction_are_bounded() -> None:
    """Even the shortest commands cannot wait for EXEC without end."""
    transaction = Transaction()
    with pytest.raises(PayloadTooLarge):
        for _ in range(module.MOST_QUEUED + 1):
            transaction.instead("PING", [b"PING"], 10)
    assert len(transaction.commands) == module.MOST_QUEUED
