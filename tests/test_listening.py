"""Where the daemon listens, and what that takes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import MemoryReactorClock, StringTransport

from comet.config import BadSetting, Config
from comet.listening import Announced, CannotListen, faces, is_guarded, open_face
from comet.web.channel import Channel
from tests.web_faces import Face


class Reactor(MemoryReactorClock):
    """Listens where it is told, or at least says so."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        listening = super().listenTCP(port, factory, backlog, interface)  # type: ignore[no-untyped-call]
        listening._hostAddress = IPv4Address("TCP", interface or "0.0.0.0", 7080)
        return listening


def opening(endpoint: str, **settings: Any) -> Any:
    """What comes of listening on ``endpoint``: where it does, or why it does not."""
    config = Config(http=(endpoint,), tcp=(), **settings)
    (face,) = faces(config, Reactor())  # type: ignore[no-untyped-call]
    results: list[Any] = []
    open_face(face, Face().site, config).addBoth(results.append)
    (result,) = results
    return getattr(result, "value", result)


@pytest.mark.parametrize(
    "endpoint", ["tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.9", "tcp6:0:interface=\\:\\:1"]
)
def test_the_loopback_needs_nothing(endpoint: str) -> None:
    """Only programs of this machine reach it."""
    assert opening(endpoint).is_local


EVERYWHERE = ["tcp:0", "tcp:0:interface=192.0.2.1", "tcp6:0"]


@pytest.mark.parametrize("endpoint", EVERYWHERE)
def test_elsewhere_something_must_say_who_may_do_what(endpoint: str) -> None:
    """Or the daemon does not start, and says how it would."""
    refused = opening(endpoint)
    assert isinstance(refused, CannotListen)
    for hint in ("--key", "--authorize-url", "--anonymous subscribe:", "interface=127.0.0.1"):
        assert hint in str(refused)
    assert "\n" not in str(refused)


@pytest.mark.parametrize("endpoint", EVERYWHERE)
@pytest.mark.parametrize(
    "settings", [{"anonymous": ("subscribe:news/**",)}, {"authorize_url": "http://127.0.0.1:9/"}, {"key": ("/k",)}]
)
def test_then_it_listens_everywhere(endpoint: str, settings: Any) -> None:
    """One of these is enough."""
    assert is_guarded(Config(**settings))
    assert not opening(endpoint, **settings).is_local


def test_who_believes_announcements_says_whose() -> None:
    """An endpoint for the PROXY protocol needs the addresses of proxies."""
    with pytest.raises(BadSetting, match=r"--proxy 127\.0\.0\.1"):
        opening("haproxy:tcp:0:interface=127.0.0.1")
    refused = opening("haproxy:tcp:0:interface=127.0.0.1", proxy=("127.0.0.1/32",))
    assert isinstance(refused, CannotListen), "behind a proxy is the world"
    assert not opening(
        "haproxy:tcp:0:interface=127.0.0.1", proxy=("127.0.0.1/32",), anonymous=("subscribe:a",)
    ).is_local


def test_only_a_listed_proxy_announces() -> None:
    """Others are disconnected; what comes from a listed one, or on a UNIX socket, is marked."""
    factory = Announced(Face(Config(proxy=("10.0.0.0/8",))).site)
    for address in (IPv4Address("TCP", "10.0.0.1", 1), UNIXAddress(None)):
        channel = factory.buildProtocol(address)
        assert isinstance(channel, Channel)
        assert channel.announced
    refused = factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 1))
    transport = StringTransport()
    refused.makeConnection(transport)
    assert transport.disconnecting or transport.disconnected
