"""Turns: what happens in a turn of the reactor. Marked rows get their block, drained readers get a page.

Both are bounded, and what is left over comes in the next turn, so that publishers and new clients are not starved. Here
subscriptions change their seats: live in a row, or reading; a delivery says which, by the moves that it is offered
(:class:`comet.delivery.Moves`).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

from msgspec import Struct
from twisted.python.failure import Failure

from comet.audience import NEWS, NEWS_BYTES, Audience, Block, Key, Row, Subscription, newest_per_topic, send_all
from comet.audiences import Audiences
from comet.control import Beat
from comet.delivery import Delivery, Short
from comet.history import History
from comet.interfaces import Clock, Writer
from comet.message import Message, Page
from comet.metrics import Metrics
from comet.pages import Pages
from comet.waits import Waits

SENDS = 2_000
"""About as many writes to live subscribers as one turn makes."""

PAGES = 50
"""Pages that one turn hands to readers."""


class Flush(Struct, frozen=True, gc=False):
    """What a row is about to be given: ``data``, made of ``block``; a heartbeat if that is None."""

    row: Row
    data: bytes
    block: Block | None


class Turns:
    """Seats the subscriptions of ``streams``, and spends the log on them. ``unreadable`` is told of one whose history
    cannot be read from disk."""

    def __init__(
        self,
        history: History,
        streams: dict[str, Subscription],
        metrics: Metrics,
        clock: Clock,
        unreadable: Callable[[Subscription, Failure], None],
    ) -> None:
        self.audiences = Audiences(metrics, clock)
        self.pages = Pages(history, metrics, self._page_is_ready)
        self._unreadable = unreadable
        self.waits = Waits(clock)
        self._log = history.log
        self._streams = streams
        self.left: list[Callable[[Subscription], None]] = []
        self._metrics = metrics
        self._clock = clock
        self._marked: deque[Row] = deque()
        self._readers: deque[Subscription] = deque()
        self._due = False

    def hear(self, messages: Sequence[Message]) -> None:
        """Mark who wants ``messages``, which the log has just taken in. The flush follows in this reactor turn."""
        match = self.audiences.match
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
                        self.queue(audience)
                if audience.news_bytes > NEWS_BYTES or len(audience.news) > NEWS:
                    self._overflow(audience)

    # -- the moves of a delivery ------------------------------------------------------------------------------------

    def fall_behind(self, subscription: Subscription, cursor: int) -> None:
        assert subscription.row is not None
        subscription.row.remove(subscription)
        subscription.cursor = subscription.told = cursor
        self._metrics.slow += 1
        self.await_drain(subscription)

    def await_drain(self, subscription: Subscription) -> None:
        self.waits.begin_drain(subscription)

    def proceed(self, subscription: Subscription) -> None:
        if self.waits.is_stuck(subscription):
            return
        if self.pages.is_behind(subscription):
            if not subscription.queued:
                subscription.queued = True
                self._readers.append(subscription)
                self._arrange_turn()
        else:
            delivery_of(subscription).caught_up(self, subscription)

    def join(self, subscription: Subscription) -> None:
        audience = subscription.audience
        assert audience is not None
        row = audience.row_for(subscription.writer.descriptor >= 0)
        row.add(subscription)
        row.position = self._log.end

    def await_messages(self, subscription: Subscription) -> None:
        self.join(subscription)
        self.waits.begin_wait(subscription)

    def detach(self, subscription: Subscription) -> None:
        if subscription.row is not None:
            subscription.row.remove(subscription)
        self.waits.forget(subscription)
        del self._streams[subscription.stream]
        audience = subscription.audience
        assert audience is not None
        subscription.audience = None
        self.audiences.leave(audience)
        for tell in self.left:
            tell(subscription)

    def await_end(self, writer: Writer) -> None:
        self.waits.begin_end(writer)

    def empty_page(self, subscription: Subscription) -> Page:
        return Page([], self._log.position(self.position_of(subscription)))

    def oldest(self) -> Subscription | None:
        """The subscription that has been open for the longest time."""
        return next(iter(self._streams.values()), None)

    # -- seats ------------------------------------------------------------------------------------------------------

    def move(self, subscription: Subscription, key: Key) -> None:
        """Put a reading subscription under another key."""
        old = subscription.audience
        assert old is not None
        subscription.audience = self.audiences.enter(key)
        self.audiences.leave(old)

    def leave_row(self, subscription: Subscription) -> None:
        """Make a live subscription a reading one, its cursor where it stands."""
        row = subscription.row
        if row is not None:
            subscription.cursor = subscription.told = self.position_of(subscription)
            row.remove(subscription)

    def position_of(self, subscription: Subscription) -> int:
        """The offset up to which the subscription was given everything."""
        row = subscription.row
        if row is None:
            return subscription.cursor
        assert subscription.audience is not None
        return self._log.end if row.sent == subscription.audience.heard else row.reached()

    def _overflow(self, audience: Audience) -> None:
        """Keep no more news than is good: conflate them, or have the members read them from the log."""
        if audience.key.conflate and all(row.sent == audience.heard - len(audience.news) for row in audience.rows):
            before = len(audience.news)
            audience.news = newest_per_topic(audience.news)
            audience.news_bytes = sum(len(message.payload) for message in audience.news)
            audience.heard -= before - len(audience.news)
            audience.forget_block()
            self._metrics.conflated += before - len(audience.news)
            if len(audience.news) <= NEWS // 2 and audience.news_bytes <= NEWS_BYTES // 2:
                return
        for row in list(audience.rows):
            reached = row.reached()
            for member in row.clear():
                member.cursor = member.told = reached
                self.proceed(member)
        audience.forget_news()

    # -- the turn ---------------------------------------------------------------------------------------------------

    def reading(self) -> list[Subscription]:
        """The subscriptions that are not live: those that wait to be drained, then those that wait for their page."""
        queued = (each for each in self._readers if each.audience is not None and each.row is None)
        return list(dict.fromkeys((*self.waits.stuck, *queued)))

    def is_flushing(self) -> bool:
        """Whether rows are left for another turn."""
        return bool(self._marked)

    def is_busy(self) -> bool:
        """Whether something is left for another turn."""
        return bool(self._marked or self._readers)

    def _queue_at_pace(self, audience: Audience) -> None:
        """Have the rows flushed once the audience's pace allows."""
        if audience.tick is None:
            delay = audience.wrote + audience.key.pace - self._clock.seconds()
            audience.tick = self._clock.callLater(max(0.0, delay), self._pace_is_over, audience)

    def _pace_is_over(self, audience: Audience) -> None:
        audience.tick = None
        self.queue(audience)

    def queue(self, audience: Audience) -> None:
        """Have the rows flushed in this turn."""
        rows = audience.rows
        for row in rows:
            if not row.queued:
                row.queued = True
                self._marked.append(row)
        audience.queued = len(rows)
        if not self._due:
            self._arrange_turn()

    def _arrange_turn(self) -> None:
        if not self._due:
            self._due = True
            # Delayed calls run after everything that this poll of the reactor has brought: one flush for all of it.
            self._clock.callLater(0, self.run)

    def run(self) -> None:
        """Flush marked rows and serve readers, as far as one turn goes."""
        self._due = False
        if self._marked:
            began = perf_counter()
            self._flush_marked()
            self._metrics.flush_seconds.observe(perf_counter() - began)
        for _ in range(min(PAGES, len(self._readers))):
            self._serve(self._readers.popleft())
        self.pages.forget()
        if self._marked or self._readers:
            self._arrange_turn()

    def _flush_marked(self) -> None:
        """Make the bytes of all rows first, then send them in one loop: a client that wakes up for the first of many
        sends is awake for the others, which saves the kernel waking it each time (a third of the cost of a publish
        when each has one subscriber)."""
        flushes = self._next_flushes()
        descriptors: array[int] = array("i")
        pieces: list[bytes] = []
        for flush in flushes:
            direct = flush.row.descriptors
            if direct is not None:
                descriptors += direct
                pieces += [flush.data] * len(direct)
        short = deque(send_all(descriptors, pieces))
        first = 0
        for flush in flushes:
            direct = flush.row.descriptors
            end = first + (0 if direct is None else len(direct))
            mine = []
            while short and short[0][0] < end:
                index, sent = short.popleft()
                mine.append((index - first, sent))
            first = end
            self._settle(flush, mine)

    def _next_flushes(self) -> list[Flush]:
        """Take as many of the marked rows as one turn flushes, with what each is to be given."""
        now = self._clock.seconds()
        epoch, end = self._log.epoch, self._log.end
        flushes: list[Flush] = []
        marked, sends = self._marked, SENDS
        while marked and sends > 0:
            row = marked.popleft()
            if not row.queued:  # emptied since
                continue
            audience = row.audience
            row.queued = False
            audience.queued -= 1
            sends -= len(row.members)
            if row.sent != audience.heard:
                audience.wrote = now
                block = audience.block(row.sent, epoch, end)
                flushes.append(Flush(row, block.data, block))
            elif row.beat:
                row.position = end
                beat = audience.key.framing.control(Beat(self._log.position(end))) or self._repeated(audience.key)
                if beat:
                    flushes.append(Flush(row, beat, None))
            row.beat = False
        return flushes

    def _settle(self, flush: Flush, short: Short) -> None:
        """Note what became of a flush; ``short`` are those that did not take all."""
        row, block = flush.row, flush.block
        audience = row.audience
        key, taken = audience.key, len(row.members)
        if block is None:
            self._metrics.heartbeats += taken
            key.delivery.spend_block(self, row, flush.data, row.position, short)
            return
        changes = block.framing is not key.framing and block.framing != key.framing
        members = list(row.members) if changes else ()
        taken -= key.delivery.spend_block(self, row, block.data, block.offset, short)
        row.sent = block.stop
        row.position = block.offset
        tally = audience.tally
        tally.messages += block.messages * taken
        tally.bytes += len(block.data) * taken
        if block.conflated:
            self._metrics.conflated += block.conflated * taken
        if changes:
            self._reframe(members, key._replace(framing=block.framing), block.offset)
        elif block.full and row.members:
            row.queued = True
            audience.queued += 1
            self._marked.append(row)
        if not audience.queued:
            audience.forget_old_news()

    def _repeated(self, key: Key) -> bytes:
        """The newest message once more, for a format that cannot say that nothing happened (an image is shown again,
        which changes nothing)."""
        newest = self._log.newest(key.patterns) if key.framing.repeats else None
        if newest is None:
            return b""
        page = Page([newest], self._log.position(self._log.end))
        return key.framing.page(page) if key.framing.after(page) == key.framing else b""

    def _reframe(self, members: Sequence[Subscription], key: Key, offset: int) -> None:
        """The format goes on in another state: the members that took the block, if only in part, read on, and join
        the audience of that state."""
        for member in members:
            if member.row is not None:
                member.row.remove(member)
                member.cursor = member.told = offset
            if member.audience is not None and member.cursor == offset:
                self.move(member, key)
                self.proceed(member)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _serve(self, subscription: Subscription) -> None:
        subscription.queued = False
        if subscription.audience is None or subscription.row is not None or self.waits.is_stuck(subscription):
            return
        if self.pages.is_behind(subscription):
            made = self.next_page(subscription)
            if made is not None:
                page, data = made
                delivery_of(subscription).spend_page(self, subscription, data, page)
        else:
            self.proceed(subscription)

    def _page_is_ready(self, subscription: Subscription, failure: Failure | None) -> None:
        """What a reader asked for is here from disk, or will not come."""
        if subscription.audience is None or subscription.row is not None:
            return
        if failure is None:
            self.proceed(subscription)
        else:
            self._unreadable(subscription, failure)

    def next_page(self, subscription: Subscription) -> tuple[Page, bytes] | None:
        """The next page of a reading subscription; None if it comes from disk, and the reader goes on by itself."""
        audience = subscription.audience
        assert audience is not None
        made = self.pages.next(audience.key, subscription)
        if made is None:
            return None
        page, data = made
        framing = audience.key.framing.after(page)
        if framing is not audience.key.framing and framing != audience.key.framing:
            self.move(subscription, audience.key._replace(framing=framing))
        return page, data


def delivery_of(subscription: Subscription) -> Delivery:
    """The delivery of an open subscription."""
    assert subscription.audience is not None
    delivery: Delivery = subscription.audience.key.delivery
    return delivery
