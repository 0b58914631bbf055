"""The router: publish, subscribe, flush.

What faces call. Publishing appends to the log (``publishing.py``); from there the messages come, in order, to the rows
of the audiences that want them, flushed once per turn of the reactor (``turns.py``). There is no timer per client, but
one for all (``sweep.py``).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.audience import Interest, Subscription
from comet.audiences import Audiences
from comet.config import Config
from comet.control import UNREADABLE, Bye, Open, Topics
from comet.entrance import Entrance, Publish
from comet.errors import Draining, StoreFailed, TooManyStreams, UnknownStream, shown
from comet.history import History
from comet.holder import LOCAL, Holder
from comet.interfaces import Clock, Framing, Store, Writer
from comet.kept import Kept
from comet.keys import Keys
from comet.limits.limits import Limits
from comet.log import Log, Replay, Retention, Since
from comet.message import Draft, Gap, Page
from comet.metrics import Metrics
from comet.publishing import Publishing
from comet.records import Records
from comet.sweep import Sweep
from comet.tenure import Tenures
from comet.topics import Pattern
from comet.turns import Turns, delivery_of

LAST_TURNS = 100
"""Turns that are made at once when the daemon stops."""


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
        self.log = Log("", Retention(config.retain_messages, config.retain_seconds, config.retain_bytes))
        self.streams: dict[str, Subscription] = {}
        self.draining = False
        self.keys = Keys(config.key_window, config.max_keys)
        self.limits = Limits(config, metrics, clock)
        self._store = store
        self._clock = clock
        self._now = now
        self.history = History(self.log, store.archive)
        self.records = Records(store, lambda: self.stands_still)
        self._turns = Turns(self.history, self.streams, metrics, clock, self._cannot_read)
        self.is_flushing = self._turns.is_flushing
        self._waits = self._turns.waits
        self._publishing = Publishing(self.log, store, self.keys, metrics, self._turns.hear)
        self._sweep = Sweep(self._turns, config, metrics, clock, now)
        self._sweep.each_tick += [self._expire, self.history.forget]
        self.each_second = self._sweep.each_second
        """What else is to be done once a second."""
        self.tenures = Tenures(self.end)
        self.each_second += [self._retry_store, self.limits.each_second, lambda: self.tenures.expire(now())]
        self._turns.left += [self.tenures.over, lambda subscription: self.limits.closed(subscription.who)]
        self._entrance = Entrance(self._publish)
        self._succeeded = False

    # -- its life ---------------------------------------------------------------------------------------------------

    def start(self, inherited: Kept | None = None) -> Deferred[None]:
        """Go on with what the store has kept, or with what a predecessor leaves, and begin to sweep. Fires when
        publishers and subscribers may come. Fails with :exc:`~comet.errors.CannotOpen`."""
        started = self._store.start(succeeding=inherited is not None)
        return started.addCallback(self._started, inherited)

    def _started(self, kept: Kept, inherited: Kept | None) -> None:
        self.log.restore(kept.past, kept.messages)
        self.keys.restore(kept.keys)
        self.records.restore(kept.records)
        if inherited is not None and not self.is_durable:
            self.log.resume(inherited.past, inherited.messages)
            self.keys.restore(inherited.keys)
            self.records.restore(inherited.records)
        self._sweep.start()

    def stop(self) -> Deferred[None]:
        """Tell every subscriber that the stream ends, refuse publishers, and close the store."""
        self.draining = True
        self._entrance.shut()
        for _ in range(LAST_TURNS):  # what was acknowledged goes out first, but nobody's whole history
            if self._turns.is_busy():
                self._turns.run()
        for retry, subscription in self._retries(0 if self._succeeded else self.config.retry):
            self._say_bye(subscription, "shutdown", retry)
        self._sweep.stop()
        return self._store.stop()

    def _retries(self, first: int) -> list[tuple[int, Subscription]]:
        """After how many milliseconds each subscriber is to come back: from ``first`` on evenly spread, so that they
        do not come all at once."""
        subscriptions = list(self.streams.values())
        step = self.config.spread * 1000 / max(1, len(subscriptions))
        return [(first + round(step * number), each) for number, each in enumerate(subscriptions)]

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._sweep.configure(config)
        self._store.configure(config)
        self.config = config
        self.limits.configure(config)
        self.log.retain(Retention(config.retain_messages, config.retain_seconds, config.retain_bytes))
        self.keys.bound(config.key_window, config.max_keys)

    def _expire(self) -> None:
        now = self._now()
        self.log.expire(now)
        self.keys.expire(now)

    def _retry_store(self) -> None:
        """Find out whether a store that is in trouble can take messages again."""
        if self._store.trouble:
            self._store.append(()).addErrback(_expected)

    # -- its successor ----------------------------------------------------------------------------------------------

    def hold(self) -> Deferred[None]:
        """Let publishers wait. Fires once all that was published before is in the log, so that it stands still."""
        self._entrance.hold()
        # Answered after everything that was appended before, be it well or not.
        return self._store.append(()).addErrback(_expected)

    def release(self) -> None:
        """Let publishers go on, in the order in which they came."""
        self._entrance.open()

    def give_way(self, publish: Publish) -> None:
        """A successor has everything: from here on ``publish`` takes what publishers bring."""
        self._succeeded = True
        self._entrance.lead_to(publish)

    @property
    def stands_still(self) -> bool:
        """Whether nothing may change here: a successor is taking over, or has, or the daemon stops."""
        return not self._entrance.is_open

    # -- publishers -------------------------------------------------------------------------------------------------

    @property
    def is_durable(self) -> bool:
        """Whether the store outlives the daemon."""
        return self._store.archive is not None

    @property
    def store_name(self) -> str:
        """Where messages are kept, as the setting says it."""
        return self.config.store

    @property
    def trouble(self) -> str:
        """Why nothing can be published at the moment, in a line; empty if it can."""
        return self._store.trouble

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
        return self._entrance.publish(drafts)

    def _publish(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        return self._publishing.publish(drafts, self._now())

    def report(self, drafts: Sequence[Draft]) -> Deferred[None]:
        """Publish what the daemon says of itself: not counted, and not while the log stands still."""
        if not self._entrance.is_open:
            return succeed(None)
        return self._publishing.publish_own(drafts, self._now())

    def receivers(self, topic: str) -> int:
        """How many subscriptions want ``topic`` now."""
        receivers = 0
        for audience in self._turns.audiences.match(topic):
            receivers += audience.size
        return receivers

    # -- subscribers ------------------------------------------------------------------------------------------------

    def subscribe(self, interest: Interest, writer: Writer, head: bytes = b"", holder: Holder = LOCAL) -> Subscription:
        """Open a subscription on ``writer``, on behalf of ``holder``; ``head`` is written before anything else.

        Returns it; one that had its whole answer at once is over already. The caller tells :meth:`gone` when the client
        goes. Raises what :meth:`check_room` raises, and then nothing was written.
        """
        self.check_room()
        self.limits.opened(holder.who)
        audience = self._turns.audiences.enter(interest.key)
        subscription = Subscription(audience, writer, interest, secrets.token_urlsafe(12), holder)
        subscription.born = self._now()
        self.streams[subscription.stream] = subscription
        self.tenures.began(subscription)
        counts = self.metrics.subscribed
        counts[interest.key.transport] = counts.get(interest.key.transport, 0) + 1
        start = self.history.start(interest.since, interest.key.patterns)
        subscription.cursor, subscription.losses = start.after, start.losses
        subscription.told = max(start.told, interest.told)
        if (start.snapshot or start.last) and self.log.end:
            after = 0 if start.snapshot else start.after
            replay = Replay(interest.key.patterns, after, start.after, start.snapshot, told=start.told, last=start.last)
            subscription.replays = (replay,)
        position = None if subscription.replays else self.log.position(start.after)
        opening = head + interest.key.framing.open(Open(subscription.stream, position, self.config.silence))
        if start.gap is not None:
            page, data = self._turns.pages.gap(audience.key, subscription, start.gap)
        else:
            page, data = self._first_page(subscription)
        interest.key.delivery.spend_page(self._turns, subscription, opening + data, page)
        return subscription

    def _first_page(self, subscription: Subscription) -> tuple[Page, bytes]:
        """What a new subscription is given along with its opening: nothing yet, if that is on disk."""
        made = self._turns.next_page(subscription) if self._turns.pages.is_behind(subscription) else None
        return (Page([], self.log.position(subscription.cursor)), b"") if made is None else made

    def _cannot_read(self, subscription: Subscription, failure: Failure) -> None:
        """End a stream whose history is on a disk that fails: its client comes back, and resumes where it stands."""
        if failure.check(StoreFailed):
            self._log_.error("a stream ends: {reason}", reason=str(failure.value))
        else:
            self._log_.failure("a stream ends: its history could not be read", failure)
        self._clock.callLater(0, self._end_unreadable, subscription)  # not before its head is written

    def _end_unreadable(self, subscription: Subscription) -> None:
        if subscription.audience is not None:
            self.end(subscription, UNREADABLE)

    def check_room(self, holder: Holder = LOCAL) -> None:
        """Raise :exc:`~comet.errors.TooManyStreams`, :exc:`~comet.errors.TooManyFromOne` or
        :exc:`~comet.errors.Draining` if ``subscribe`` would."""
        if self.draining:
            raise Draining("the daemon is shutting down")
        if len(self.streams) >= self.config.max_streams:
            raise TooManyStreams(f"{len(self.streams)} streams are open (max-streams); try again later")
        self.limits.check_room(holder.who)

    def drained(self, subscription: Subscription) -> None:
        """The subscription's writer has room again."""
        self._waits.end_drain(subscription)
        if subscription.audience is not None and subscription.row is None:
            self._turns.proceed(subscription)

    def progressed(self, subscription: Subscription) -> None:
        """The subscription's writer has sent a part of what it keeps: it is slow, but not stuck."""
        self._waits.progress(subscription)

    def gone(self, subscription: Subscription) -> None:
        """The subscription's client has gone."""
        if subscription.audience is not None:
            self._turns.detach(subscription)

    def stream(self, stream: str) -> Subscription:
        """The open subscription of that id, or :exc:`~comet.errors.UnknownStream`."""
        try:
            return self.streams[stream]
        except KeyError:
            raise UnknownStream(f"there is no open stream {shown(stream)}") from None

    def change(
        self,
        subscription: Subscription,
        patterns: Sequence[Pattern],
        since: Since = "now",
        framing: Framing | None = None,
    ) -> None:
        """Make ``patterns`` those of an open stream, and ``framing`` its own if one is given. The stream says so
        in-band; from there on it carries them.

        Those that are new start at ``since``: what is older than the stream's own position comes first, as a replay.
        """
        old = subscription.audience
        assert old is not None
        added = tuple(pattern for pattern in patterns if pattern not in old.key.patterns)
        self._turns.leave_row(subscription)
        subscription.replays = _narrowed(subscription.replays, patterns)
        start = self.history.start(since, added) if added else None
        key = old.key._replace(patterns=tuple(patterns), framing=framing or old.key.framing)
        self._turns.move(subscription, key)
        if start is not None and start.gap is not None:
            self._tell_gap(subscription, start.gap)
        cursor = subscription.cursor
        if start is not None and (start.snapshot or start.last):
            after = 0 if start.snapshot else start.after
            replay = Replay(added, after, cursor, newest=start.snapshot, told=start.told, last=start.last)
            subscription.replays = (*subscription.replays, replay)
        elif start is not None and start.after < cursor:
            replay = Replay(added, start.after, cursor, newest=False, told=start.told, losses=start.losses)
            subscription.replays = (*subscription.replays, replay)
        position = None if subscription.replays else self.log.position(cursor)
        topics = Topics(tuple(pattern.text for pattern in patterns), position)
        delivery_of(subscription).say(self._turns, subscription, topics)

    def _tell_gap(self, subscription: Subscription, gap: Gap) -> None:
        audience = subscription.audience
        assert audience is not None
        page, data = self._turns.pages.gap(audience.key, subscription, gap)
        self._turns.move(subscription, audience.key._replace(framing=audience.key.framing.after(page)))
        if data and not subscription.writer.write(data):
            self._turns.await_drain(subscription)

    def end(self, subscription: Subscription, reason: str) -> None:
        """End an open stream with a ``bye``."""
        self._say_bye(subscription, reason, self.config.retry)

    def _say_bye(self, subscription: Subscription, reason: str, retry: int) -> None:
        """Say ``bye``, with the position to resume from; none if that would skip a replay."""
        position = None if subscription.replays else self.log.position(self.position_of(subscription))
        delivery_of(subscription).say(self._turns, subscription, Bye(reason, retry, position))

    def answer(self, subscription: Subscription, data: bytes) -> None:
        """Write ``data``, which the client of a stream has asked for on it, behind what was written. Nothing happens
        if the stream has ended."""
        if subscription.audience is None or subscription.writer.write(data) or self.is_stuck(subscription):
            return
        self._turns.leave_row(subscription)
        self._turns.await_drain(subscription)

    def is_stuck(self, subscription: Subscription) -> bool:
        """Whether what was written is not sent yet; the subscription's ``drained`` will be called."""
        return self._waits.is_stuck(subscription)

    # -- what people ask --------------------------------------------------------------------------------------------

    @property
    def audiences(self) -> Audiences:
        """The groups of subscriptions that share their bytes; to look at."""
        return self._turns.audiences

    def time(self) -> float:
        """The wall clock's time, in seconds since 1970."""
        return self._now()

    def next_turn(self) -> Deferred[None]:
        """Fire in the next turn of the reactor: for work that is more than one turn should do."""
        turn: Deferred[None] = deferLater(self._clock, 0)  # type: ignore[arg-type, unused-ignore]
        return turn

    def age(self, subscription: Subscription) -> float:
        """For how many seconds the subscription has been open."""
        return self._now() - subscription.born

    def reading(self) -> list[Subscription]:
        """The subscriptions that are not live, those that wait to be drained in front."""
        return self._turns.reading()

    @property
    def stuck_count(self) -> int:
        """How many subscriptions wait to be drained."""
        return self._waits.stuck_count

    def stuck_seconds(self, subscription: Subscription) -> float | None:
        """For how long the subscription has waited to be drained, or None if it does not."""
        since = self._waits.stuck_since(subscription)
        return None if since is None else self._clock.seconds() - since

    def position_of(self, subscription: Subscription) -> int:
        """The offset up to which the subscription was given everything."""
        return self._turns.position_of(subscription)


def _expected(failure: Failure) -> None:
    """A store in trouble is told by its ``trouble``."""
    failure.trap(StoreFailed)


def _narrowed(replays: Sequence[Replay], patterns: Sequence[Pattern]) -> tuple[Replay, ...]:
    """Return ``replays`` without what is not among ``patterns`` any longer."""
    kept = (tuple(pattern for pattern in replay.patterns if pattern in patterns) for replay in replays)
    return tuple(replay._replace(patterns=each) for replay, each in zip(replays, kept, strict=True) if each)
