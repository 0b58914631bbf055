"""A turn of the reactor hears a bounded number of sockets, and accepts a bounded number of connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor

from comet.intake import ACCEPTS, EVENTS, EVENTS_IN_FLUSH, bound_accepts, bound_events

CLIENTS = 3 * EVENTS


class Talker:
    """A socket on which there is always something to hear; counts how often it was heard."""

    def __init__(self, stack: ExitStack) -> None:
        self._here, there = (stack.enter_context(each) for each in socket.socketpair())
        there.send(b"!")
        self.fileno = self._here.fileno
        self.heard = 0

    def doRead(self) -> None:
        self.heard += 1

    def logPrefix(self) -> str:
        return "a test"

    def connectionLost(self, reason: object) -> None:
        raise AssertionError(reason)


@pytest.fixture
def reactor() -> Iterator[Any]:
    """A reactor beside that of the tests, which turns when it is told to."""
    reactor: Any = EPollReactor()
    yield reactor
    for reader in reactor.removeAll():
        reader.connectionLost(None)


@pytest.fixture
def talkers(reactor: Any) -> Iterator[list[Talker]]:
    with ExitStack() as stack:
        talkers = [Talker(stack) for _ in range(CLIENTS)]
        for talker in talkers:
            reactor.addReader(talker)
        yield talkers
        for talker in talkers:
            reactor.removeReader(talker)


def heard(talkers: list[Talker]) -> int:
    return sum(talker.heard for talker in talkers)


def test_bounded_turns_hear_everybody(reactor: Any, talkers: list[Talker]) -> None:
    """However many talk at once: each has its turn before any has its second."""
    bound_events(reactor, lambda: False)
    reactor.doIteration(0)
    assert heard(talkers) == EVENTS
    for _ in range(CLIENTS // EVENTS - 1):
        reactor.doIteration(0)
    assert {talker.heard for talker in talkers} == {1}


def test_subscribers_go_first(reactor: Any, talkers: list[Talker]) -> None:
    """Between the turns of a flush fewer are heard."""
    rows = [1, 1]
    bound_events(reactor, lambda: bool(rows))
    reactor.doIteration(0)
    assert heard(talkers) == EVENTS_IN_FLUSH
    rows.clear()
    reactor.doIteration(0)
    assert heard(talkers) == EVENTS_IN_FLUSH + EVENTS


def test_unbounded_turn(reactor: Any, talkers: list[Talker]) -> None:
    """What the bound is for: of itself a turn hears everybody."""
    reactor.doIteration(0)
    assert heard(talkers) == CLIENTS


def test_bound_twice(reactor: Any, talkers: list[Talker]) -> None:
    """A daemon that is started twice in one process has one bound."""
    bound_events(reactor, lambda: False)
    poller = reactor._poller
    bound_events(reactor, lambda: False)
    assert reactor._poller is poller
    reactor.removeReader(talkers[0])
    reactor.addReader(talkers[0])
    reactor.doIteration(0)
    assert heard(talkers) == EVENTS


def test_other_reactors_are_left_alone() -> None:
    """They have no such poller."""
    reactor: Any = SelectReactor()
    before = dict(vars(reactor))
    bound_events(reactor, lambda: False)
    assert vars(reactor) == before
    for reader in reactor.removeAll():
        reader.connectionLost(None)


def test_bounded_accepts(reactor: Any) -> None:
    """Of a flood some are accepted in each turn, and all in the end."""
    accepted: list[Protocol] = []

    class Counted(Protocol):
        def connectionMade(self) -> None:
            accepted.append(self)

    port = reactor.listenTCP(0, Factory.forProtocol(Counted), interface="127.0.0.1", backlog=CLIENTS)
    bound_accepts(port)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port.getHost().port)))
        turns = [_accepted_by_a_turn(reactor, accepted) for _ in range(CLIENTS // ACCEPTS)]
        assert turns == [ACCEPTS] * len(turns)
        for each in accepted:
            assert each.transport is not None
            each.transport.abortConnection()
    port.stopListening()
    reactor.runUntilCurrent()


def _accepted_by_a_turn(reactor: Any, accepted: list[Protocol]) -> int:
    before = len(accepted)
    reactor.doIteration(0)
    return len(accepted) - before


def test_what_accepts_nothing_is_left_alone() -> None:
    """Such as an endpoint that is no socket."""
    port = object()
    bound_accepts(port)
    assert not hasattr(port, "doRead")
