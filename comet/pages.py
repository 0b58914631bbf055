"""Pages: how a reading subscription goes through the log.

Each call reads the next page and moves the cursor behind it. A page is made once for all who ask for the same one
within a turn: ten thousand clients that reconnect with the same few cursors cost a few reads.
"""

from __future__ import annotations

from comet.audience import Key, Subscription
from comet.log import Log, Replay
from comet.message import Gap, Page
from comet.metrics import Metrics

REMEMBERED = 64
"""Pages that are kept for the turn. One can have a megabyte, if its messages are many and tiny."""


class Pages:
    """Reads pages of ``log``."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._made: dict[object, tuple[Page, bytes]] = {}

    def forget(self) -> None:
        """The turn is over."""
        if self._made:
            self._made.clear()

    def is_behind(self, subscription: Subscription) -> bool:
        """Whether there is a next page."""
        return subscription.cursor < self._log.end or bool(subscription.replays)

    def next(self, key: Key, subscription: Subscription) -> tuple[Page, bytes]:
        """Return the subscription's next page and its bytes, and move its cursor behind them."""
        replay = subscription.replays[0] if subscription.replays else None
        told = self._told(subscription)
        asked = (key, subscription.limit, replay, subscription.cursor, told, self._log.end)
        made = self._made.get(asked)
        if made is None:
            page = (
                self._cursor_page(key, subscription, told)
                if replay is None
                else self._replay_page(replay, subscription)
            )
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

    def _replay_page(self, replay: Replay, subscription: Subscription) -> Page:
        log = self._log
        if replay.newest:
            told = max(replay.after, replay.told)
            lost = min(log.lost_newest(replay.patterns, told), replay.until)
            messages, reached = log.snapshot(replay, subscription.limit)
        else:
            told = max(replay.after, replay.told if replay.losses in (None, log.losses) else 0)
            lost = min(log.lost(replay.patterns, told), replay.until)
            messages, reached = log.read(replay.patterns, replay.after, subscription.limit)
            messages = [message for message in messages if message.offset <= replay.until]
        gap = Gap(log.position(replay.after), log.position(lost)) if lost > told else None
        # The last page of a replay brings a reader to its cursor.
        done = reached >= replay.until
        return Page(messages, log.position(max(subscription.cursor, replay.until) if done else reached), gap)

    def _cursor_page(self, key: Key, subscription: Subscription, told: int) -> Page:
        log, cursor = self._log, subscription.cursor
        lost = (log.lost_newest if key.conflate else log.lost)(key.patterns, told)
        gap = Gap(log.position(cursor), log.position(lost)) if lost > told else None
        if key.conflate:
            messages, reached = log.snapshot(Replay(key.patterns, cursor, log.end, newest=True), subscription.limit)
        else:
            messages, reached = log.read(key.patterns, cursor, subscription.limit)
        return Page(messages, log.position(reached), gap)
