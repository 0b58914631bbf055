"""For how long a subscription may stay: until its grant is over, is revoked, or is renewed.

No timer per client: subscriptions whose grant ends in the same second are found together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from comet.access.grant import Grant
from comet.audience import Subscription
from comet.errors import Forbidden

EXPIRED = "expired"
REVOKED = "revoked"
"""Reasons of a ``bye``."""

AT_ONCE = 2_000
"""Streams that are ended in one second, so that those of one moment do not hold up the others."""


class Tenures:
    """Knows when each subscription has to ``end``, which is given a reason."""

    def __init__(self, end: Callable[[Subscription, str], None]) -> None:
        self._end = end
        self._until: dict[int, dict[Subscription, None]] = {}
        self._due = inf
        """The second before which nothing ends."""

    def began(self, subscription: Subscription) -> None:
        """``subscription`` is open."""
        expires = subscription.grant.expires
        if expires != inf:
            second = int(expires) + 1
            self._until.setdefault(second, {})[subscription] = None
            self._due = min(self._due, second)

    def over(self, subscription: Subscription) -> None:
        """``subscription`` has ended."""
        expires = subscription.grant.expires
        if expires != inf:
            same = self._until.get(int(expires) + 1, {})
            same.pop(subscription, None)
            if not same:
                self._until.pop(int(expires) + 1, None)

    def renew(self, subscription: Subscription, grant: Grant) -> None:
        """Let ``subscription`` go on under ``grant``. Raises :exc:`~comet.errors.Forbidden`, and then the old one
        stands, if that is somebody else's or does not allow all that is subscribed to."""
        if grant.subject != subscription.grant.subject:
            raise Forbidden("this token is of another subject than the one that the stream was opened with")
        assert subscription.audience is not None
        grant.check_subscribe(subscription.audience.key.patterns)
        self.over(subscription)
        subscription.grant = grant
        self.began(subscription)

    def expire(self, now: float) -> None:
        """End those whose grant is over."""
        if now < self._due:
            return
        left = AT_ONCE
        for second in sorted(second for second in self._until if second <= now):
            for subscription in list(self._until[second])[:left]:
                self._end(subscription, EXPIRED)
                self.over(subscription)
                left -= 1
        self._due = min(self._until, default=inf)

    def revoke(self, subscriptions: Iterable[Subscription], covers: Callable[[Grant], bool]) -> int:
        """End those whose grant is one that ``covers`` says; returns how many these were."""
        revoked = [each for each in subscriptions if covers(each.grant)]
        for subscription in revoked:
            self._end(subscription, REVOKED)
        return len(revoked)
