"""Where a client is: on this machine, or at which address. Pure.

A connection comes from its peer; behind a reverse proxy that is the proxy, which says in ``X-Forwarded-For`` whom it
speaks for. The traps: anybody can send that header, so it counts only if the peer is a proxy that the operator has
listed, and is read from its right end, for a client may have written its beginning; and a proxy on this machine must
not make the whole world local.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = tuple[str, ...]

FORWARDING = frozenset(
    (b"forwarded", b"via", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")
)
"""Headers that only a proxy adds."""


def address_of(text: str) -> Address | None:
    """The address that ``text`` is, with a port or without, or None."""
    bare, bracket, _ = text.strip().removeprefix("[").partition("]")
    if not bracket and bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def is_listed(host: str, networks: Networks) -> bool:
    """Whether ``host``, an address, is in one of ``networks``."""
    address = address_of(host)
    return address is not None and any(address in network for network in _parsed(networks))


@lru_cache(maxsize=4096)
def is_local_peer(host: str, proxies: Networks) -> bool:
    """Whether a connection from ``host`` is of a program on this machine; empty is a UNIX socket. What the operator
    has listed as a proxy is not, for it speaks for others."""
    if not host:
        return True
    address = address_of(host)
    return address is not None and address.is_loopback and not is_listed(host, proxies)


def client_of(host: str, forwarded: str, proxies: Networks) -> str:
    """The address of the client whose connection comes from ``host``, with this ``X-Forwarded-For``. Who sends that on
    a UNIX socket (``host`` is empty) is a proxy."""
    items = forwarded.split(",") if forwarded else []
    while items and (not host or is_listed(host, proxies)):
        address = address_of(items.pop())
        if address is None:
            break
        host = str(address)
    return host


@lru_cache(maxsize=16)
def _parsed(networks: Networks) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, networks))
