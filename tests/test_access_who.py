"""Where a client is."""

from __future__ import annotations

import pytest

from comet.access.who import address_of, client_of, is_listed, is_local_peer

PROXIES = ("10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32")


@pytest.mark.parametrize("host", ["", "127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"])
def test_a_program_of_this_machine_is_local(host: str) -> None:
    """A loopback address, however it is spelt, or a UNIX socket."""
    assert is_local_peer(host, ())


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "10.0.0.1", "::2", "fe80::1%eth0", "0.0.0.0", "unknown", "127.0.0.1.example"]
)
def test_others_are_not(host: str) -> None:
    """Not even in a private network."""
    assert not is_local_peer(host, ())


def test_a_proxy_on_this_machine_speaks_for_the_world() -> None:
    """What is listed as a proxy is not local."""
    assert not is_local_peer("127.0.0.1", PROXIES)
    assert not is_local_peer("::ffff:127.0.0.1", PROXIES)
    assert is_local_peer("127.0.0.2", PROXIES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "203.0.113.5", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("10.0.0.1", "[2001:db9::7]:4711", "2001:db9::7"),
        ("10.0.0.1", "2001:db9::7", "2001:db9::7"),
        ("10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5,", "10.0.0.1"),
        ("2001:db8::1", "203.0.113.5", "203.0.113.5"),
        ("", "", ""),
        ("", "198.51.100.9, 203.0.113.5", "203.0.113.5"),
        ("", "203.0.113.5, 10.0.0.2", "203.0.113.5"),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: str, client: str) -> None:
    """X-Forwarded-For counts from its right end, as far as listed proxies wrote it."""
    assert client_of(peer, forwarded, PROXIES) == client


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "256.1.1.1", "[::1", "1.2.3.4:5:6"])
def test_what_is_no_address(text: str) -> None:
    """Nonsense is nobody's address, and in no network."""
    assert text == "[::1" or address_of(text) is None
    assert not is_listed(text, ("0.0.0.0/0",))
