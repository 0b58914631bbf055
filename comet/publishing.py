"""The way in: drafts get their offsets, the store keeps them, and only then the log has them.

A draft with an idempotency key that is known gets the offset that the key first got and is not published again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail

from comet.errors import CometError, StoreFailed
from comet.interfaces import Store
from comet.kept import Entry
from comet.keys import Keys
from comet.log import Log
from comet.message import Draft, Message
from comet.metrics import Metrics


class Publishing:
    """Takes batches of drafts; ``hear`` is given the messages of each, in order, once they are in the log."""

    def __init__(
        self, log: Log, store: Store, keys: Keys, metrics: Metrics, hear: Callable[[Sequence[Message]], None]
    ) -> None:
        self._log = log
        self._store = store
        self._keys = keys
        self._metrics = metrics
        self._hear = hear

    def publish(self, drafts: Sequence[Draft], now: float) -> Deferred[Sequence[int]]:
        """See :meth:`comet.router.Router.publish`; ``now`` is in seconds since 1970."""
        for draft in drafts:
            if draft.key:
                return self._publish_keyed(drafts, now)
        messages = self._log.number(drafts, now)
        offsets: Sequence[int] = range(messages[0].offset, self._log.next_offset) if messages else ()
        stored = self._store.append(messages)
        stored.addCallback(self._take_in, messages)
        return stored.addCallback(lambda _: offsets)

    def publish_own(self, drafts: Sequence[Draft], now: float) -> Deferred[None]:
        """Publish what the daemon says itself: it is not counted."""
        messages = self._log.number(drafts, now)
        return self._store.append(messages).addCallback(self._take_in_own, messages)

    def _take_in(self, _: None, messages: Sequence[Message]) -> None:
        self._log.extend(messages)
        metrics = self._metrics
        metrics.published += len(messages)
        for message in messages:
            metrics.published_bytes += len(message.payload)
        self._hear(messages)

    def _take_in_own(self, _: None, messages: Sequence[Message]) -> None:
        self._log.extend(messages)
        self._hear(messages)

    def _publish_keyed(self, drafts: Sequence[Draft], now: float) -> Deferred[Sequence[int]]:
        fresh: list[Draft] = []
        offsets: list[int] = []
        upcoming = self._log.next_offset
        try:
            for draft in drafts:
                known = self._keys.known(draft) if draft.key else None
                if known is None:
                    known = upcoming + len(fresh)
                    if draft.key:
                        self._keys.remember(draft, known, now)
                    fresh.append(draft)
                offsets.append(known)
        except CometError as error:
            self._forget_keys(fresh, upcoming)
            return fail(error)
        self._metrics.repeated += len(drafts) - len(fresh)
        messages = self._log.number(fresh, now)
        stored = self._store.append(
            messages, [Entry(m.topic, d.key, m.offset, now) for d, m in zip(fresh, messages, strict=True) if d.key]
        )
        stored.addCallbacks(self._take_in, self._not_stored, callbackArgs=(messages,), errbackArgs=(fresh, upcoming))
        repeats = [(draft, offset) for draft, offset in zip(drafts, offsets, strict=True) if offset < upcoming]
        stored.addCallback(self._confirm, repeats)
        return stored.addCallback(lambda _: offsets)

    def _not_stored(self, failure: object, fresh: Sequence[Draft], first: int) -> object:
        self._forget_keys(fresh, first)
        return failure

    def _forget_keys(self, fresh: Sequence[Draft], first: int) -> None:
        for offset, draft in enumerate(fresh, first):
            if draft.key:
                self._keys.forget(draft, offset)

    def _confirm(self, _: None, repeats: Sequence[tuple[Draft, int]]) -> None:
        """Refuse if a key stood for a publish that was still on its way to the store, and then failed."""
        for draft, offset in repeats:
            if self._keys.known(draft) != offset:
                raise StoreFailed("the publish that this one repeats was not stored; try again")
