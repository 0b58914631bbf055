"""Which addresses a hook may post to: those of the public internet, and networks that the operator allows. Pure.

Whoever may make a hook chooses where the daemon connects to. Without a check that is a way to services that trust the
daemon's machine or network: a database's port, a router's page, the credentials that clouds serve on 169.254.169.254
(server-side request forgery). So only what IANA's registries of special-purpose addresses [1]_ leave as global unicast
is allowed. The trap is that one address has many spellings: ``127.1``, ``0177.0.0.1``, ``2130706433`` and
``::ffff:7f00:1`` are all 127.0.0.1, and so is any name that resolves to it. What counts is therefore the address that a
connection is made to, at the moment it is made (``posting.py``); looking at the URL before only tells people sooner.

.. [1] https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry (RFC 6890)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from comet.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier's customers",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_SPECIAL_V6 = {
    "::1/128": "loopback",
    "::/128": "unspecified",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    # Within the global unicast addresses: tunnels lead to any IPv4 address (Teredo is in 2001::/23).
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "2002::/16": "a 6to4 tunnel",
    "3fff::/20": "for documentation",
}
_SPECIAL = tuple((ip_network(text), what) for text, what in (*_SPECIAL_V4.items(), *_SPECIAL_V6.items()))
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_NUMBER = re.compile("0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*", re.ASCII)


def check_address(text: str, allowed: Iterable[str] = ()) -> None:
    """Raise :exc:`~comet.errors.AddressRefused` unless ``text``, an address as the system writes it, is public or in
    one of the ``allowed`` networks."""
    address = _unmapped(ip_address(text))
    if any(address in network for network in _networks(tuple(allowed))):
        return
    what = _special(address)
    if what:
        raise AddressRefused(
            f"{address} is {what}, and hooks post to public addresses; the operator can allow more with --hook-private"
        )


def check_host(host: str, allowed: Iterable[str] = ()) -> None:
    """Raise :exc:`~comet.errors.AddressRefused` if ``host``, as a URL has it, is an address that ``check_address``
    refuses, or a name of the loopback. Any other name may pass."""
    address = literal(host)
    if address is None and re.fullmatch(r"(.+\.)?localhost\.?", host.lower()):
        address = IPv4Address("127.0.0.1")
    if address is not None:
        check_address(str(address), allowed)


def literal(host: str) -> Address | None:
    """The address that ``host`` spells without being looked up, or None if it is a name.

    IPv4 may have one to four parts in decimal, octal or hexadecimal, of which the last fills what is left
    (``inet_aton``, as getaddrinfo and every browser understand it).
    """
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError:
            return None
    parts = host.removesuffix(".").split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [_number(part) for part in parts]
    value = sum(number << (24 - 8 * place) for place, number in enumerate(numbers[:-1])) + numbers[-1]
    fits = all(number < 256 for number in numbers[:-1]) and numbers[-1] < 256 ** (5 - len(numbers))
    return IPv4Address(value) if fits else None


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8 if part[0] == "0" else 10)


def _unmapped(address: Address) -> Address:
    """``address``, or the IPv4 address mapped into it (RFC 4291, section 2.5.5.2): the kernel connects to that."""
    return getattr(address, "ipv4_mapped", None) or address


def _special(address: Address) -> str:
    """What ``address`` is if it is none of the public internet."""
    for network, what in _SPECIAL:
        if address in network:
            return what
    if isinstance(address, IPv6Address):
        if address in _NAT64:  # leads to the IPv4 address at its end (RFC 6052): fine where that is fine
            return _special(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_V6:
            return "reserved"
    return ""


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(_each_network(texts))


def _each_network(texts: Iterable[str]) -> Iterator[Network]:
    for text in texts:
        yield ip_network(text)
