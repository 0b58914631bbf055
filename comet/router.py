"""The router: publish, subscribe, flush.

Publishing appends to the log; the router hears only from the log, in order, and marks the rows of the audiences that
want a message. Once per reactor turn it flushes: marked rows get their block, drained readers get a page; both are
bounded, and what is left over comes in the next turn, so that publishers and new clients are not starved. There is no
timer per client: one sweep finds heartbeats, waits that are over, and writes that stay stuck.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from comet.audience import NEWS, NEWS_BYTES, Audience, Interest, Key, Row, Subscription, newest_per_topic
from comet.audiences import Audiences
from comet.config import Config
from comet.control import Beat, Bye, Open, Topics
from comet.delivery import ONE_SHOT, Delivery
from comet.errors import Draining, TooManyStreams, UnknownStream, shown
from comet.interfaces import Clock, Store, Writer
from comet.keys import Keys
from comet.log import Log, Replay, Retention, Since
from comet.message import Draft, Gap, Message, Page
from comet.metrics import Metrics
from comet.pages import Pages
from comet.publishing import Publishing
from comet.topics import Pattern

SENDS = 2_000
"""About as many writes to live subscribers as one turn makes."""

PAGES = 200
"""Pages that one turn hands to readers."""

LAST_TURNS = 100
"""Turns that are made at once when the daemon stops."""

SWEEP = 0.25
"""Seconds between two sweeps: how precisely a poll's wait ends."""


class Router:
    """Brings messages from publishers to subscribers. Started and stopped by the service."""

    _log_ = Logger()

    def __init__(
        self,
        config: Config,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.metrics = metrics
        self.log = Log(store.epoch, Retention(config.retain_messages, config.retain_seconds, config.retain_bytes))
        self.streams: dict[str, Subscription] = {}
        self.draining = False
        self.keys = Keys(config.key_window, config.max_keys)
        self._store = store
        self._clock = clock
        self._now = now
        self._audiences = Audiences(metrics, clock)
        self._pages = Pages(self.log, metrics)
        self._publishing = Publishing(self.log, store, self.keys, metrics, self._hear)
        self._marked: deque[Row] = deque()
        self._readers: deque[Subscription] = deque()
        self._ending: deque[tuple[float, Writer]] = deque()
        self._stuck: dict[Subscription, float] = {}
        self._waits: dict[int, dict[Subscription, None]] = {}
        self._turn_due = False
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock  # type: ignore[assignment, unused-ignore]
        self._swept = 0.0
        self._beats_due = 0.0

    # -- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Restore what the store has kept and begin to sweep. Fires when publishers and subscribers may come."""
        started = self._store.start()
        started.addCallback(self._started)
        return started  # type: ignore[return-value]

    def _started(self, messages: Sequence[Message]) -> None:
        self.log.restore(messages)
        self._swept = self._clock.seconds()
        self._sweeping.start(SWEEP, now=False)

    def stop(self) -> Deferred[None]:
        """Tell every subscriber that the stream ends, refuse publishers, and close the store."""
        self.draining = True
        for _ in range(LAST_TURNS):  # what was acknowledged goes out first, but nobody's whole history
            if self._marked or self._readers:
                self._turn()
        for subscription in list(self.streams.values()):
            self._say_bye(subscription, "shutdown")
        if self._sweeping.running:
            self._sweeping.stop()
        return self._store.stop()

    # -- publishers -------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """The log's epoch: with an offset it makes a position."""
        return self.log.epoch

    def publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        """Store ``drafts``, all or none, and bring them to their subscribers in this turn.

        Fires, once they are stored, with the offset of each. A draft whose key is known has the offset that the key
        first got, and is not published again: that offset is below the log's ``next_offset`` at the call. Fails with
        :exc:`~comet.errors.Draining`, :exc:`~comet.errors.StoreFailed` or :exc:`~comet.errors.TooManyKeys`.
        """
        if self.draining:
            return fail(Draining("the daemon is shutting down"))
        return self._publishing.publish(drafts, self._now())

    def receivers(self, topic: str) -> int:
        """How many subscriptions want ``topic`` now."""
        receivers = 0
        for audience in self._audiences.match(topic):
            receivers += audience.size
        return receivers

    def _hear(self, messages: Sequence[Message]) -> None:
        """Mark who wants ``messages``, which the log has just taken in. The flush follows in this reactor turn."""
        match = self._audiences.match
        for message in messages:
            for audience in match(message.topic):
                rows = audience.rows
                if not rows:
                    continue
                audience.news.append(message)
                audience.news_bytes += len(message.payload)
                audience.heard += 1
                if audience.queued != len(rows):
                    if audience.key.pace:
                        self._queue_at_pace(audience)
                    else:
                        self._queue(audience)
                if audience.news_bytes > NEWS_BYTES or len(audience.news) > NEWS:
                    self._overflow(audience)

    # -- subscribers ------------------------------------------------------------------------------------------------

    def subscribe(self, interest: Interest, writer: Writer, head: bytes = b"") -> Subscription:
        """Open a subscription on ``writer``; ``head`` is written before anything else.

        Returns it, unless the writer has been finished already (a poll that had its answer at once): the caller tells
        :meth:`gone` when the client goes. Raises :exc:`~comet.errors.TooManyStreams` or
        :exc:`~comet.errors.Draining`, and then nothing was written.
        """
        self.check_room()
        audience = self._audiences.enter(interest.key)
        subscription = Subscription(audience, writer, interest, secrets.token_urlsafe(12))
        subscription.born = self._now()
        self.streams[subscription.stream] = subscription
        counts = self.metrics.subscribed
        counts[interest.key.transport] = counts.get(interest.key.transport, 0) + 1
        start = self.log.start(interest.since, interest.key.patterns)
        subscription.cursor, subscription.told, subscription.losses = start.after, start.told, start.losses
        if start.snapshot and self.log.end:
            subscription.replays = (Replay(interest.key.patterns, 0, start.after, newest=True, told=start.told),)
        position = None if subscription.replays else self.log.position(start.after)
        opening = head + interest.key.framing.open(Open(subscription.stream, position, self.config.silence))
        if start.gap is not None:
            page, data = self._pages.gap(audience.key, subscription, start.gap)
        elif self._pages.is_behind(subscription):
            page, data = self._next_page(subscription)
        else:
            page, data = Page([], self.log.position(start.after)), b""
        interest.key.delivery.spend_page(self, subscription, opening + data, page)
        return subscription

    def check_room(self) -> None:
        """Raise :exc:`~comet.errors.TooManyStreams` or :exc:`~comet.errors.Draining` if ``subscribe`` would."""
        if self.draining:
            raise Draining("the daemon is shutting down")
        if len(self.streams) >= self.config.max_streams:
            raise TooManyStreams(f"{len(self.streams)} streams are open (max-streams); try again later")

    def drained(self, subscription: Subscription) -> None:
        """The subscription's writer has room again."""
        self._stuck.pop(subscription, None)
        if subscription.audience is not None and subscription.row is None:
            self.proceed(subscription)

    def progressed(self, subscription: Subscription) -> None:
        """The subscription's writer has sent a part of what it keeps: it is slow, but not stuck."""
        if self._stuck.pop(subscription, None) is not None:
            self._stuck[subscription] = self._clock.seconds()

    def gone(self, subscription: Subscription) -> None:
        """The subscription's client has gone."""
        if subscription.audience is not None:
            self.detach(subscription)

    def stream(self, stream: str) -> Subscription:
        """The open subscription of that id, or :exc:`~comet.errors.UnknownStream`."""
        try:
            return self.streams[stream]
        except KeyError:
            raise UnknownStream(f"there is no open stream {shown(stream)}") from None

    def change(self, subscription: Subscription, patterns: Sequence[Pattern], since: Since = "now") -> None:
        """Make ``patterns`` those of an open stream. The stream says so in-band; from there on it carries them.

        Those that are new start at ``since``: what is older than the stream's own position comes first, as a replay.
        """
        old = subscription.audience
        assert old is not None
        added = tuple(pattern for pattern in patterns if pattern not in old.key.patterns)
        self._leave_row(subscription)
        subscription.replays = _narrowed(subscription.replays, patterns)
        start = self.log.start(since, added) if added else None
        self._move(subscription, old.key._replace(patterns=tuple(patterns)))
        if start is not None and start.gap is not None:
            self._tell_gap(subscription, start.gap)
        cursor = subscription.cursor
        if start is not None and start.snapshot:
            replay = Replay(added, 0, cursor, newest=True, told=start.told)
            subscription.replays = (*subscription.replays, replay)
        elif start is not None and start.after < cursor:
            replay = Replay(added, start.after, cursor, newest=False, told=start.told, losses=start.losses)
            subscription.replays = (*subscription.replays, replay)
        position = None if subscription.replays else self.log.position(cursor)
        topics = Topics(tuple(pattern.text for pattern in patterns), position)
        self._delivery(subscription).say(self, subscription, topics)

    def _tell_gap(self, subscription: Subscription, gap: Gap) -> None:
        audience = subscription.audience
        assert audience is not None
        page, data = self._pages.gap(audience.key, subscription, gap)
        self._move(subscription, audience.key._replace(framing=audience.key.framing.after(page)))
        if data and not subscription.writer.write(data):
            self.await_drain(subscription)

    def end(self, subscription: Subscription, reason: str) -> None:
        """End an open stream with a ``bye``."""
        self._say_bye(subscription, reason)

    def _say_bye(self, subscription: Subscription, reason: str) -> None:
        """Say ``bye``, with the position to resume from; none if that would skip a replay."""
        position = None if subscription.replays else self.log.position(self.position_of(subscription))
        self._delivery(subscription).say(self, subscription, Bye(reason, self.config.retry, position))

    def answer(self, subscription: Subscription, data: bytes) -> None:
        """Write ``data``, which the client of a stream has asked for on it, behind what was written. Nothing happens
        if the stream has ended."""
        if subscription.audience is None or subscription.writer.write(data) or subscription in self._stuck:
            return
        self._leave_row(subscription)
        self.await_drain(subscription)

    def is_stuck(self, subscription: Subscription) -> bool:
        """Whether what was written is not sent yet; the subscription's ``drained`` will be called."""
        return subscription in self._stuck

    # -- the moves of a delivery ------------------------------------------------------------------------------------

    def fall_behind(self, subscription: Subscription, cursor: int) -> None:
        assert subscription.row is not None
        subscription.row.remove(subscription)
        subscription.cursor = subscription.told = cursor
        self.metrics.slow += 1
        self.await_drain(subscription)

    def await_drain(self, subscription: Subscription) -> None:
        # Of those that wait already the time stands, and with it the order in which they are found to be stuck.
        self._stuck.setdefault(subscription, self._clock.seconds())

    def proceed(self, subscription: Subscription) -> None:
        if subscription in self._stuck:
            return
        if self._pages.is_behind(subscription):
            if not subscription.queued:
                subscription.queued = True
                self._readers.append(subscription)
                self._arrange_turn()
        else:
            self._delivery(subscription).caught_up(self, subscription)

    def join(self, subscription: Subscription) -> None:
        audience = subscription.audience
        assert audience is not None
        row = audience.row_for(subscription.writer.descriptor >= 0)
        row.add(subscription)
        row.position = self.log.end

    def await_messages(self, subscription: Subscription) -> None:
        self.join(subscription)
        subscription.deadline = round((self._clock.seconds() + subscription.wait) / SWEEP)
        self._waits.setdefault(subscription.deadline, {})[subscription] = None

    def detach(self, subscription: Subscription) -> None:
        if subscription.row is not None:
            subscription.row.remove(subscription)
        if subscription.deadline:
            self._waits.get(subscription.deadline, {}).pop(subscription, None)
        self._stuck.pop(subscription, None)
        del self.streams[subscription.stream]
        audience = subscription.audience
        assert audience is not None
        subscription.audience = None
        self._audiences.leave(audience)

    def await_end(self, writer: Writer) -> None:
        self._ending.append((self._clock.seconds(), writer))

    def empty_page(self, subscription: Subscription) -> Page:
        return Page([], self.log.position(self.position_of(subscription)))

    # -- membership -------------------------------------------------------------------------------------------------

    def _move(self, subscription: Subscription, key: Key) -> None:
        """Put a reading subscription under another key."""
        old = subscription.audience
        assert old is not None
        subscription.audience = self._audiences.enter(key)
        self._audiences.leave(old)

    def _leave_row(self, subscription: Subscription) -> None:
        """Make a live subscription a reading one, its cursor where it stands."""
        row = subscription.row
        if row is not None:
            subscription.cursor = subscription.told = self.position_of(subscription)
            row.remove(subscription)

    def _delivery(self, subscription: Subscription) -> Delivery:
        assert subscription.audience is not None
        delivery: Delivery = subscription.audience.key.delivery
        return delivery

    def _overflow(self, audience: Audience) -> None:
        """Keep no more news than is good: conflate them, or have the members read them from the log."""
        if audience.key.conflate and all(row.sent == audience.heard - len(audience.news) for row in audience.rows):
            before = len(audience.news)
            audience.news = newest_per_topic(audience.news)
            audience.news_bytes = sum(len(message.payload) for message in audience.news)
            audience.heard -= before - len(audience.news)
            audience.forget_block()
            self.metrics.conflated += before - len(audience.news)
            if len(audience.news) <= NEWS // 2 and audience.news_bytes <= NEWS_BYTES // 2:
                return
        for row in list(audience.rows):
            reached = row.reached()
            for member in row.clear():
                member.cursor = member.told = reached
                self.proceed(member)
        audience.forget_news()

    # -- the turn ---------------------------------------------------------------------------------------------------

    def _queue_at_pace(self, audience: Audience) -> None:
        """Have the rows flushed once the audience's pace allows."""
        if audience.tick is None:
            delay = audience.wrote + audience.key.pace - self._clock.seconds()
            audience.tick = self._clock.callLater(max(0.0, delay), self._pace_is_over, audience)

    def _pace_is_over(self, audience: Audience) -> None:
        audience.tick = None
        self._queue(audience)

    def _queue(self, audience: Audience) -> None:
        """Have the rows flushed in this turn."""
        rows = audience.rows
        for row in rows:
            if not row.queued:
                row.queued = True
                self._marked.append(row)
        audience.queued = len(rows)
        if not self._turn_due:
            self._arrange_turn()

    def _arrange_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            # Delayed calls run after everything that this poll of the reactor has brought: one flush for all of it.
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        """Flush marked rows and serve readers, as far as one turn goes."""
        self._turn_due = False
        now = self._clock.seconds()
        sends = SENDS
        marked = self._marked
        while marked and sends > 0:
            row = marked.popleft()
            sends -= len(row.members) + 1
            self._flush(row, now)
        for _ in range(min(PAGES, len(self._readers))):
            self._serve(self._readers.popleft())
        self._pages.forget()
        if marked or self._readers:
            self._arrange_turn()

    def _flush(self, row: Row, now: float) -> None:
        if not row.queued:  # emptied since
            return
        audience = row.audience
        row.queued = False
        audience.queued -= 1
        if row.sent != audience.heard:
            audience.wrote = now
            self._flush_news(audience, row)
        elif row.beat:
            self._flush_beat(audience, row)
        row.beat = False
        if not audience.queued and audience.news:
            for each in audience.rows:
                if each.sent != audience.heard:
                    return
            audience.forget_news()

    def _flush_news(self, audience: Audience, row: Row) -> None:
        key, tally = audience.key, audience.tally
        block = audience.block(row.sent, self.log.epoch, self.log.end)
        changes = block.framing is not key.framing and block.framing != key.framing
        members = list(row.members) if changes else []
        taken = len(row.members)
        taken -= key.delivery.spend_block(self, row, block.data, block.offset)
        row.sent = block.stop
        row.position = block.offset
        tally.messages += block.messages * taken
        tally.bytes += len(block.data) * taken
        if block.conflated:
            self.metrics.conflated += block.conflated * taken
        if changes:
            self._reframe(members, key._replace(framing=block.framing), block.offset)
        elif row.sent != audience.heard and row.members:
            row.queued = True
            audience.queued += 1
            self._marked.append(row)

    def _flush_beat(self, audience: Audience, row: Row) -> None:
        data = audience.key.framing.control(Beat(self.log.position(self.log.end))) or self._repeated(audience.key)
        row.position = self.log.end
        if data:
            self.metrics.heartbeats += len(row.members)
            audience.key.delivery.spend_block(self, row, data, self.log.end)

    def _repeated(self, key: Key) -> bytes:
        """The newest message once more, for a format that cannot say that nothing happened (an image is shown again,
        which changes nothing)."""
        newest = self.log.newest(key.patterns)
        if newest is None:
            return b""
        page = Page([newest], self.log.position(self.log.end))
        return key.framing.page(page) if key.framing.after(page) == key.framing else b""

    def _reframe(self, members: Sequence[Subscription], key: Key, offset: int) -> None:
        """The format goes on in another state: the members that took the block, if only in part, read on, and join
        the audience of that state."""
        for member in members:
            if member.row is not None:
                member.row.remove(member)
                member.cursor = member.told = offset
            if member.audience is not None and member.cursor == offset:
                self._move(member, key)
                self.proceed(member)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _serve(self, subscription: Subscription) -> None:
        subscription.queued = False
        if subscription.audience is None or subscription.row is not None or subscription in self._stuck:
            return
        if self._pages.is_behind(subscription):
            page, data = self._next_page(subscription)
            self._delivery(subscription).spend_page(self, subscription, data, page)
        else:
            self.proceed(subscription)

    def _next_page(self, subscription: Subscription) -> tuple[Page, bytes]:
        audience = subscription.audience
        assert audience is not None
        page, data = self._pages.next(audience.key, subscription)
        framing = audience.key.framing.after(page)
        if framing is not audience.key.framing and framing != audience.key.framing:
            self._move(subscription, audience.key._replace(framing=framing))
        return page, data

    # -- the sweep --------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        try:
            self._look_around()
        except Exception:  # a mistake of ours must not end heartbeats, expiry and waits for good
            self._log_.failure("a sweep failed")

    def _look_around(self) -> None:
        now = self._clock.seconds()
        self.metrics.reactor_lag = max(0.0, now - self._swept - SWEEP)
        self._swept = now
        wall = self._now()
        self.log.expire(wall)
        self.keys.expire(wall)
        self._pages.forget()
        self._end_waits(now)
        if now >= self._beats_due:
            self._beats_due = now + 1
            self._mark_beats(now)
            self._abort_stuck(now)

    def _end_waits(self, now: float) -> None:
        due = int(now / SWEEP)
        for deadline in [deadline for deadline in self._waits if deadline <= due]:
            for subscription in list(self._waits.pop(deadline)):
                self._delivery(subscription).wait_over(self, subscription)

    def _mark_beats(self, now: float) -> None:
        quiet_since = now - self.config.silence
        for audience in self._audiences:
            if audience.wrote <= quiet_since and audience.rows and audience.key.delivery is not ONE_SHOT:
                audience.wrote = now
                for row in audience.rows:
                    row.beat = True
                self._queue(audience)

    def _abort_stuck(self, now: float) -> None:
        for subscription, since in list(self._stuck.items()):
            if since > now - self.config.stall:
                break
            self.metrics.stalled += 1
            self.detach(subscription)
            subscription.writer.abort()
        while self._ending and self._ending[0][0] <= now - self.config.stall:
            self._ending.popleft()[1].abort()

    # -- what people ask --------------------------------------------------------------------------------------------

    @property
    def audiences(self) -> Audiences:
        """The groups of subscriptions that share their bytes; to look at."""
        return self._audiences

    def age(self, subscription: Subscription) -> float:
        """For how many seconds the subscription has been open."""
        return self._now() - subscription.born

    def reading(self) -> Iterator[Subscription]:
        """Yield the subscriptions that are not live."""
        return (subscription for subscription in self.streams.values() if subscription.row is None)

    def position_of(self, subscription: Subscription) -> int:
        """The offset up to which the subscription was given everything."""
        row = subscription.row
        if row is None:
            return subscription.cursor
        assert subscription.audience is not None
        return self.log.end if row.sent == subscription.audience.heard else row.reached()


def _narrowed(replays: Sequence[Replay], patterns: Sequence[Pattern]) -> tuple[Replay, ...]:
    """Return ``replays`` without what is not among ``patterns`` any longer."""
    kept = (tuple(pattern for pattern in replay.patterns if pattern in patterns) for replay in replays)
    return tuple(replay._replace(patterns=each) for replay, each in zip(replays, kept, strict=True) if each)
