"""The service: in which order it starts and stops, and what becomes of a failure."""

from __future__ import annotations

import re
import resource
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from comet.config import BadSetting, Config
from comet.handover.places import addresses_of
from comet.listening import Face, Opened
from comet.service import Daemon, make_daemon, raise_descriptor_limit, welcome
from tests.daemons import ANYWHERE, command

CONFIG = Config(http=("tcp:7080", "tcp:7090"), tcp=("tcp:7081",), drain=2.0, anonymous=("subscribe:**",))


class Port:
    """A listening port at an address."""

    def __init__(self, address: IPv4Address | IPv6Address | UNIXAddress) -> None:
        self._address = address

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        return self._address


def started(reactor: MemoryReactorClock) -> Daemon:
    """Return a daemon that runs on ``reactor``."""
    daemon = make_daemon(CONFIG, reactor)
    daemon.startService()
    return daemon


def test_listens_where_it_is_told() -> None:
    """Every endpoint of ``http`` serves HTTP, every one of ``tcp`` takes publishers."""
    reactor = MemoryReactorClock()
    started(reactor)
    factories = [(server[0], type(server[1]).__name__) for server in reactor.tcpServers]
    assert factories == [(7080, "CometSite"), (7090, "CometSite"), (7081, "RespFactory")]


def test_stop_waits_for_what_is_unsent() -> None:
    """The daemon goes once everything is sent."""
    reactor = MemoryReactorClock()
    daemon = started(reactor)
    unsent = object()
    reactor.addWriter(unsent)
    stopping = daemon.stopService()
    reactor.pump([0.05] * 10)
    assert not stopping.called
    reactor.removeWriter(unsent)
    reactor.advance(0.05)
    assert stopping.called


def test_stop_waits_no_longer_than_drain() -> None:
    """A client that does not read holds the daemon up for the seconds of ``drain``, and no longer."""
    reactor = MemoryReactorClock()
    daemon = started(reactor)
    reactor.addWriter(object())
    stopping = daemon.stopService()
    reactor.pump([0.05] * 38)
    assert not stopping.called
    reactor.pump([0.05] * 4)
    assert stopping.called


def test_leaves_no_calls_behind() -> None:
    """Once the daemon has stopped, nothing of it is scheduled any more."""
    reactor = MemoryReactorClock()
    started(reactor).stopService()
    reactor.advance(0)
    assert reactor.getDelayedCalls() == []


def test_bad_endpoint() -> None:
    """An endpoint that is none is found before anything starts."""
    with pytest.raises(BadSetting, match="--tcp: 'tcp:x' cannot be used"):
        make_daemon(Config(tcp=("tcp:x",)), MemoryReactorClock())


def test_descriptor_limit() -> None:
    """The process may hold as many sockets as the system lets it."""
    raise_descriptor_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


LATE = """
import sys
from twisted.internet.task import deferLater
from twisted.scripts import twistd
import comet.service
from comet.errors import CannotOpen

class Store:
    archive = None

    def start(self, succeeding):
        from twisted.internet import reactor
        return deferLater(reactor, 0.01, self.fail)

    def fail(self):
        raise {error}

    def stop(self):
        from twisted.internet.defer import succeed
        return succeed(None)

comet.service.open_store = lambda config, metrics, reactor: Store()
sys.argv[:] = ["twistd", "-n", "--pidfile=", "comet", *sys.argv[1:]]
twistd.run()
"""


def test_late_failure() -> None:
    """A store that fails when the reactor runs already ends the daemon with one line and exit code 1 all the same."""
    ended = command("-c", LATE.format(error="CannotOpen('the file is not a database')"), *ANYWHERE)
    assert (ended.code, ended.err) == (1, "comet: the file is not a database\n")
    assert "Traceback" not in ended.out


def test_own_mistake() -> None:
    """A mistake of our own ends the daemon too, and its traceback is in the log."""
    ended = command("-c", LATE.format(error="ZeroDivisionError()"), *ANYWHERE)
    assert ended.code == 1
    assert ended.err == "comet: cannot start: ZeroDivisionError(); this is a mistake in Comet, and its log says more\n"
    assert "Traceback" in ended.out


@pytest.mark.parametrize(
    ("setting", "text", "address", "line"),
    [
        ("http", "tcp:80", IPv4Address("TCP", "0.0.0.0", 80), "console    http://127.0.0.1:80/"),
        ("http", "tcp:80", IPv6Address("TCP", "::", 80), "console    http://[::1]:80/"),
        ("http", "tls:443", IPv4Address("TCP", "10.0.0.1", 443), "console    https://10.0.0.1:443/"),
        ("http", "unix:/run/c", UNIXAddress("/run/c"), "curl -N --unix-socket /run/c 'http://localhost/topics/"),
        ("tcp", "unix:/run/c", UNIXAddress("/run/c"), "comet pub news hello --server /run/c"),
    ],
)
def test_welcome(setting: str, text: str, address: IPv4Address | IPv6Address | UNIXAddress, line: str) -> None:
    """The addresses that are shown can be typed, wherever the daemon listens."""
    face = Face(setting, text, serverFromString(MemoryReactorClock(), "tcp:0"))
    assert line in "\n".join(welcome([Opened(face, Port(address))]))


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({"handover": "none"}, ()),
        ({"handover": "/run/comet/handover"}, ("/run/comet/handover",)),
        ({"http": ("tcp:0",), "tcp": ("haproxy:tcp:port=0:interface=127.0.0.1",)}, ()),
        ({"http": ("systemd:domain=INET:index=0",), "tcp": ()}, ()),
    ],
)
def test_handover_addresses(settings: dict[str, Any], addresses: tuple[str, ...]) -> None:
    """A daemon offers itself where the setting says, and nowhere if its own ports are not known beforehand."""
    assert addresses_of(Config(**settings)) == addresses


def test_own_handover_addresses() -> None:
    """Left to itself, a daemon is found by who has one of its endpoints, and by nobody else."""
    mine, similar, other = (
        set(addresses_of(config))
        for config in (Config(), Config(http=("tcp:80",)), Config(http=("tcp:80",), tcp=("tcp:81",)))
    )
    assert all(re.fullmatch("@comet-[0-9]+-[0-9a-f]{16}", address) for address in mine)
    assert len(mine & similar) == 1
    assert not mine & other
