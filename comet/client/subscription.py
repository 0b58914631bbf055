"""A subscription as a program holds it: an asynchronous iterator of messages and gaps.

It holds its connections (``following.py``) and they do not hold it. So when a program leaves a loop over a subscription
that it holds nowhere else, the subscription is gone, and its connection with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TypeVar

from twisted.internet.defer import Deferred

from comet.client.following import Following
from comet.client.values import Gap, Message, State

T = TypeVar("T")


class Subscription(AsyncIterator[Message | Gap]):
    """What comes on some topics: each message once, in the order of the log, and a gap where some are lost.

    Made by :meth:`comet.client.Client.subscribe`, and connected at once. It ends when it is closed: by :meth:`aclose`,
    by leaving ``async with``, by cancelling the Deferred that waits for the next item, or when nobody holds it any
    longer, as after leaving ``async for item in client.subscribe(…)``. The iterator raises
    :exc:`~comet.client.Refused` if the daemon refuses it, and :exc:`~comet.client.Unreachable` if no daemon is there
    to begin with; afterwards it resumes by itself, for as long as it takes.
    """

    def __init__(self, following: Following) -> None:
        self._following = following

    def __aiter__(self) -> Subscription:
        return self

    def __anext__(self) -> Deferred[Message | Gap]:
        return self._held_by(self._following.next())

    async def __aenter__(self) -> Subscription:
        await self.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._following.close()

    @property
    def state(self) -> State:
        """Where it stands with its daemon."""
        return self._following.state

    @property
    def cursor(self) -> str:
        """The position up to which the program has been given everything: a ``since`` to go on from, even in another
        process. Before anything is known it is the ``since`` that was asked for. The histories that :meth:`change` has
        asked for are left out of it while they come."""
        return self._following.reached

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics and patterns that are wanted."""
        return tuple(self._following.cursor.patterns())

    def opened(self) -> Deferred[None]:
        """Fires while the stream is open: what is published from then on will come. Fails as the iterator does."""
        return self._held_by(self._following.opened())

    def change(
        self, *, subscribe: Iterable[str] = (), unsubscribe: Iterable[str] = (), since: str = "now"
    ) -> Deferred[None]:
        """Change what is wanted, on the open stream. Fires when the daemon has agreed.

        ``since`` is where the new topics start, as in :meth:`comet.client.Client.subscribe`; their history comes first.
        Fails with :exc:`~comet.client.Refused`, and with :exc:`~comet.client.Unreachable` if there is no stream for as
        long as the subscription's ``patience``; then nothing is changed.
        """
        changing = Deferred.fromCoroutine(self._following.change(list(subscribe), list(unsubscribe), since))
        return self._held_by(changing)

    def ack(self, item: Message | str) -> Deferred[None]:
        """Have everything up to ``item``, a message or a position, done: it does not come again to a reader of the same
        consumer. Fires once the daemon has stored that. Fails with :exc:`~comet.client.Refused`, and with
        :exc:`~comet.client.Unreachable` after the subscription's ``patience``; it may be stored then or not."""
        position = item if isinstance(item, str) else item.id
        return self._held_by(Deferred.fromCoroutine(self._following.ack(position)))

    def aclose(self) -> Deferred[None]:
        """Close it, and its connection at once. Fires when that is gone."""
        return self._following.close()

    def _held_by(self, waiting: Deferred[T]) -> Deferred[T]:
        """Be there as long as somebody waits, though nobody else may hold this."""
        return waiting if waiting.called else waiting.addBoth(self._pass)

    def _pass(self, result: T) -> T:
        return result
