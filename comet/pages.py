"""Pages: how a reading subscription goes through the log.

Each call reads the next page and moves the cursor behind it. A page is made once for all who ask for the same one
within a turn: ten thousand clients that reconnect with the same few cursors cost a few reads. A page that is on disk is
not at hand at once: its readers are called again when it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.python.failure import Failure

from comet.audience import Key, Subscription
from comet.history import Ask, History
from comet.log import Replay
from comet.message import Gap, Page
from comet.metrics import Metrics

REMEMBERED = 64
"""Pages that are kept for the turn. One can have a megabyte, if its messages are many and tiny."""

Ready = Callable[[Subscription, Failure | None], None]


class Pages:
    """Reads pages of ``history``. ``ready`` is called with a subscription whose page is at hand now,
    or cannot be read."""

    def __init__(self, history: History, metrics: Metrics, ready: Ready) -> None:
        self._log = history.log
        self._history = history
        self._metrics = metrics
        self._ready = ready
        self._made: dict[object, tuple[Page, bytes]] = {}

    def forget(self) -> None:
        """The turn is over."""
        if self._made:
            self._made.clear()

    def is_behind(self, subscription: Subscription) -> bool:
        """Whether there is a next page."""
        return subscription.cursor < self._log.end or bool(subscription.replays)

    def next(self, key: Key, subscription: Subscription) -> tuple[Page, bytes] | None:
        """Return the subscription's next page and its bytes, and move its cursor behind them; None if ``ready`` will be
        called."""
        replay = subscription.replays[0] if subscription.replays else None
        told = self._told(subscription)
        asked = (key, subscription.limit, replay, subscription.cursor, told, self._log.end)
        made = self._made.get(asked)
        if made is None:
            if replay is not None and replay.last:
                self._look_back(subscription, replay)
                return None
            page = (
                self._cursor_page(key, subscription, told)
                if replay is None
                else self._replay_page(replay, subscription)
            )
            if page is None:
                return None
            made = page, key.framing.page(page) if page.messages or page.gap else b""
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            self._made[asked] = made
        self._advance(subscription, made[0])
        tally = self._metrics.tally(key.transport)
        tally.messages += len(made[0].messages)
        tally.bytes += len(made[1])
        return made

    def gap(self, key: Key, subscription: Subscription, gap: Gap) -> tuple[Page, bytes]:
        """Return a page that says only that there is a gap, and its bytes."""
        self._metrics.gaps += 1
        page = Page([], self._log.position(subscription.cursor), gap)
        return page, key.framing.page(page)

    def _told(self, subscription: Subscription) -> int:
        """Up to where losses are no news to a subscription that reads on."""
        if subscription.losses is not None and subscription.losses != self._log.losses:
            subscription.told, subscription.losses = 0, None
        return max(subscription.told, subscription.cursor)

    def _advance(self, subscription: Subscription, page: Page) -> None:
        reached = page.position.offset
        if page.gap is not None:
            self._metrics.gaps += 1
        if subscription.replays:
            replay, *rest = subscription.replays
            if page.gap is not None:
                replay = replay._replace(told=page.gap.until.offset, losses=None)
            more = () if reached >= replay.until else (replay._replace(after=reached),)
            subscription.replays = (*more, *rest)
            return
        subscription.cursor = reached
        if page.gap is not None:
            subscription.told, subscription.losses = page.gap.until.offset, None

    def _replay_page(self, replay: Replay, subscription: Subscription) -> Page | None:
        log = self._log
        holds = replay.newest or replay.losses in (None, log.losses)
        told = max(replay.after, replay.told if holds else 0)
        ask = Ask(replay.patterns, replay.after, replay.until, subscription.limit, replay.newest)
        piece = self._history.at_hand(ask, told)
        if piece is None:
            self._history.fetch(ask, partial(self._ready, subscription))
            return None
        lost = min(piece.trimmed, replay.until)
        gap = Gap(log.position(replay.after), log.position(lost)) if lost > told else None
        # The last page of a replay brings a reader to its cursor.
        done = piece.reached >= replay.until
        reached = max(subscription.cursor, replay.until) if done else piece.reached
        return Page(piece.messages, log.position(reached), gap)

    def _cursor_page(self, key: Key, subscription: Subscription, told: int) -> Page | None:
        log, cursor = self._log, subscription.cursor
        ask = Ask(key.patterns, cursor, log.end, subscription.limit, key.conflate)
        piece = self._history.at_hand(ask, told)
        if piece is None:
            self._history.fetch(ask, partial(self._ready, subscription))
            return None
        gap = Gap(log.position(cursor), log.position(piece.trimmed)) if piece.trimmed > told else None
        return Page(piece.messages, log.position(piece.reached), gap)

    def _look_back(self, subscription: Subscription, replay: Replay) -> None:
        """Find out where the newest ``last`` messages of a replay begin: some may come after its end."""

        def found(after: int) -> None:
            if replay in subscription.replays:
                place = subscription.replays.index(replay)
                known = (replay._replace(after=after, last=0),) if after < replay.until else ()
                subscription.replays = (*subscription.replays[:place], *known, *subscription.replays[place + 1 :])
            self._ready(subscription, None)

        looking = self._history.before_newest(replay.patterns, replay.after, replay.last)
        looking.addCallbacks(found, lambda failure: self._ready(subscription, failure))
