"""Which addresses hooks may post to, in all the ways in which an address can be written."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.errors import AddressRefused
from comet.hooks.addresses import check_address, check_host, literal

REFUSED = """
127.0.0.1 127.1 127.0.1 0177.0.0.1 0x7f.0.0.1 0x7f000001 2130706433 017700000001 127.0.0.1. 0 0.0.0.0 0x
10.0.0.1 10.1 172.16.0.1 172.31.255.255 192.168.1.1 0xc0a80101 169.254.169.254 2852039166 100.64.0.1
192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.7 203.0.113.7 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255
::1 :: ::ffff:127.0.0.1 ::ffff:7f00:1 0:0:0:0:0:ffff:10.0.0.1 ::127.0.0.1 fe80::1 fec0::1 fc00::1 fd12:3456::1 ff02::1
64:ff9b::127.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 4000::1
localhost LOCALHOST localhost. printer.localhost
"""

PUBLIC = """
1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.255.255 223.255.255.255 2606:4700::1111 64:ff9b::8.8.8.8 ::ffff:8.8.8.8
example.org localhost.example.org 1.2.3.4.5 0x7g.1
"""


@pytest.mark.parametrize("host", REFUSED.split())
def test_refused(host: str) -> None:
    """What is not of the public internet is refused, however it is spelt."""
    with pytest.raises(AddressRefused, match="--hook-private"):
        check_host(host)


@pytest.mark.parametrize("host", PUBLIC.split())
def test_public(host: str) -> None:
    """Public addresses may be posted to, and names may be looked up."""
    check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9", "::ffff:127.0.0.1", "localhost", "::1", "10.1.2.3"])
def test_allowed(host: str) -> None:
    """The operator can allow networks."""
    check_host(host, ("127.0.0.0/8", "::1/128", "10.0.0.0/8"))


def test_only_what_is_allowed() -> None:
    """Allowing one network allows no other."""
    with pytest.raises(AddressRefused, match=r"^169\.254\.169\.254 is link-local"):
        check_address("169.254.169.254", ("127.0.0.0/8",))


def test_scopes() -> None:
    """The system may name the interface of a link-local address."""
    with pytest.raises(AddressRefused):
        check_address("fe80::1%2")


SPELLINGS = ("{0}", "0x{0:x}", "0{0:o}", "0X{0:X}")


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(SPELLINGS), min_size=4, max_size=4), st.integers(1, 4))
def test_literal_as_the_system_has_it(value: int, spellings: list[str], count: int) -> None:
    """Every way to write an IPv4 address is understood as the system understands it."""
    bytes_ = value.to_bytes(4, "big")
    numbers = [*bytes_[: count - 1], int.from_bytes(bytes_[count - 1 :], "big")]
    text = ".".join(spelling.format(number) for spelling, number in zip(spellings, numbers, strict=False))
    assert literal(text) == ip_address(value) == IPv4Address(socket.inet_aton(text))


@given(st.text("0123456789abcdefx.", max_size=12))
def test_literal_never_misses(text: str) -> None:
    """Whatever the system takes for an address is taken for one."""
    try:
        wanted = IPv4Address(socket.inet_aton(text))
    except OSError:
        return
    assert literal(text) == wanted
