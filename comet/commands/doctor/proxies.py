"""What stands between the client and Comet, as far as heads tell.

Comet names no server and writes its fields with capitals. HAProxy names itself nowhere, but writes all fields in small
letters; so do a few that do name themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from comet.commands.doctor.case import Fields, header


class Mark(NamedTuple):
    """A row: a field by whose value, which ``pattern`` finds, a proxy is known."""

    proxy: str
    field: str
    pattern: re.Pattern[str]


def _mark(proxy: str, field: str, pattern: str = "") -> Mark:
    return Mark(proxy, field, re.compile(pattern, re.IGNORECASE))


MARKS = (
    _mark("nginx", "server", r"nginx|openresty"),
    _mark("Apache", "server", r"apache"),
    _mark("Apache", "via", r"apache"),
    _mark("Varnish", "via", r"varnish"),
    _mark("Varnish", "x-varnish"),
    _mark("Squid", "via", r"squid"),
    _mark("Squid", "server", r"squid"),
    _mark("Squid", "x-squid-error"),
    _mark("Caddy", "server", r"caddy"),
    _mark("Caddy", "via", r"caddy"),
    _mark("Envoy", "server", r"envoy"),
    _mark("Envoy", "x-envoy-upstream-service-time"),
    _mark("Cloudflare", "server", r"cloudflare"),
    _mark("Cloudflare", "cf-ray"),
    _mark("CloudFront", "via", r"cloudfront"),
    _mark("CloudFront", "x-amz-cf-id"),
    _mark("AWS load balancer", "server", r"awselb"),
    _mark("Fastly", "x-served-by", r"cache-"),
    _mark("IIS", "server", r"microsoft-iis"),
)

HAPROXY = "HAProxy"
_SMALL_LETTERS = ("Envoy", "Cloudflare", "CloudFront", "AWS load balancer", "Fastly")


def proxies_of(heads: Iterable[Fields]) -> tuple[str, ...]:
    """The names of the proxies that ``heads`` tell of, the most certain first."""
    heads = list(heads)
    found = [mark.proxy for mark in MARKS for fields in heads if _has(fields, mark)]
    small = any(fields and all(name == name.lower() for name, _ in fields) for fields in heads)
    if small and not any(proxy in _SMALL_LETTERS for proxy in found):
        found.append(HAPROXY)
    return tuple(dict.fromkeys(found))


def named(heads: Iterable[Fields]) -> str:
    """What stands between as people are told it: as it calls itself, if it does."""
    heads = list(heads)
    values = [header(fields, name) for name in ("server", "via") for fields in heads]
    known = proxies_of(heads)
    said = ", ".join(dict.fromkeys(filter(None, values)))
    return " and ".join(filter(None, (said, *(proxy for proxy in known if proxy.lower() not in said.lower()))))


def _has(fields: Fields, mark: Mark) -> bool:
    return any(name.lower() == mark.field and mark.pattern.search(value) for name, value in fields)
