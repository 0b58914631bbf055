"""Rates: how many commands, and how many messages, a connection may send that is not of a program on this machine.

What one read of the socket brings is counted at once, before any of it is executed. What is over a rate is refused,
each command with a reply of its own, so that nothing is lost in silence.

The trap is a transaction: whatever the rate, its frame is executed. A client that was told that its EXEC was refused
would take the transaction for over, and ``QUEUED`` for the answers to what it sends next.
"""

from __future__ import annotations

from collections.abc import Callable

from comet.errors import CometError, TooManyRequests
from comet.limits.limits import Limits, Who
from comet.resp.session import Transaction
from comet.resp.wire import Request

PUBLISHING = (b"PUBLISH", b"XADD")
"""Commands that are counted as what they publish."""

_NEVER_REFUSED = frozenset(name.encode() for name in Transaction.AT_ONCE)


def within_rates(requests: list[Request], who: Who, limits: Limits) -> list[Request]:
    """Count ``requests``, and return them, with a refusal in the place of each that is over a rate. Of those that
    publish, and of the others, all are or none."""
    names = [b"" if isinstance(request, CometError) else request[0].upper() for request in requests]
    publishing = sum(name in PUBLISHING for name in names)
    others = len(names) - publishing
    over_publishes = _refusal(limits.publish, who, publishing)
    over_requests = _refusal(limits.requests, who, others)
    if over_publishes is None and over_requests is None:
        return requests
    return [
        request if name in _NEVER_REFUSED else (over_publishes if name in PUBLISHING else over_requests) or request
        for request, name in zip(requests, names, strict=True)
    ]


def _refusal(take: Callable[[Who, int], None], who: Who, count: int) -> TooManyRequests | None:
    try:
        if count:
            take(who, count)
    except TooManyRequests as refusal:
        return refusal
    return None
