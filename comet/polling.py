"""Polling from within: how parts of the daemon read the log, as subscribers like any other.

A back end's ``XREAD`` and a webhook are polls: they are answered from memory or from disk, wait for messages, and are
told of a gap, all by what serves the browsers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from comet.audience import Interest, Key, Subscription
from comet.control import UNREADABLE
from comet.delivery import ONE_SHOT
from comet.errors import CometError, Draining, StoreFailed
from comet.framing.packed import Packed, unpacked
from comet.holder import LOCAL, Holder
from comet.log import Since
from comet.message import Page, Position
from comet.router import Router
from comet.topics import Pattern

PACKED = Packed()


class _Taker:
    """A writer that keeps what it is given until it is finished."""

    descriptor = -1

    def __init__(self, answer: Deferred[Page], limit: int, peer: str) -> None:
        self._answer = answer
        self._limit = limit
        self._peer = peer
        self._data = b""

    def write(self, data: bytes, sent: int = 0) -> bool:
        self._data += data[sent:]
        return True

    def wait(self) -> None:
        raise AssertionError("there is always room")

    def finish(self) -> None:
        page = unpacked(self._data)
        if isinstance(page, Page):
            self._answer.callback(_limited(page, self._limit))
        elif page == UNREADABLE:
            self._answer.errback(StoreFailed("what was published cannot be read from disk; the daemon's log says why"))
        else:
            self._answer.errback(Draining(f"nothing more can be read: {page}"))

    def abort(self) -> None:
        self._answer.errback(Draining("nothing more can be read"))

    def peer(self) -> str:
        return self._peer


def poll(  # noqa: PLR0913 (they are keywords)
    router: Router,
    patterns: Sequence[Pattern],
    since: Since,
    *,
    limit: int,
    wait: float = 0.0,
    transport: str,
    told: int = 0,
    peer: str = "within",
    seat: Callable[[Subscription], None] | None = None,
    holder: Holder = LOCAL,
) -> Deferred[Page]:
    """Read the first page of ``patterns`` from ``since`` on: at most ``limit`` messages.

    Fires at once if ``wait`` is 0, else when there is a message (or a gap to tell), and after so many seconds with an
    empty page. Cancelling it gives it up. Fails with :exc:`~comet.errors.TooManyStreams`,
    :exc:`~comet.errors.Draining` or :exc:`~comet.errors.StoreFailed`. ``transport`` is what it is counted as; losses
    up to ``told`` are no news. ``peer`` is for whom it is, for people, and ``holder`` on whose behalf; ``seat`` is
    called with the subscription.
    """

    def give_up(_: Deferred[Page]) -> None:
        if subscription is not None:
            router.gone(subscription)

    subscription = None
    answer: Deferred[Page] = Deferred(give_up)
    interest = Interest(Key(tuple(patterns), PACKED, transport, ONE_SHOT), since, limit, wait, told)
    try:
        subscription = router.subscribe(interest, _Taker(answer, limit, peer), holder=holder)
    except CometError as refusal:
        answer.errback(refusal)
    else:
        if seat is not None:
            seat(subscription)
    return answer


def _limited(page: Page, limit: int) -> Page:
    """Return no more than ``limit`` messages: what is told to all who wait may be more."""
    if len(page.messages) <= limit:
        return page
    messages = page.messages[:limit]
    return Page(messages, Position(page.position.epoch, messages[-1].offset), page.gap)
