"""Reading over TCP, with history: ``XREAD``, ``XRANGE``, ``XREVRANGE``, ``XLEN``.

A topic is what Redis calls a stream. It is read as browsers read it, from memory or from disk, by
:func:`comet.polling.poll`, a page at a time with turns of the reactor in between.

The trap: a reply without bound. What is too much for one reply of ``XREAD`` comes with the next, which begins behind
the last entry. Of a range it is refused, because who gets fewer entries than there are would take them for all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred

from comet.errors import Draining, PayloadTooLarge, WrongArguments
from comet.log import Since
from comet.message import Message, Page, Position
from comet.polling import poll
from comet.resp import entries, ids
from comet.resp.entries import Entries
from comet.resp.replies import array, integer
from comet.resp.session import Later, Session, Words
from comet.topics import Pattern
from comet.transports import RESP

PAGE = 1_000
"""Messages that are read at once: some milliseconds."""

UNASKED = 1_000
"""Entries of one topic in a reply of XREAD, if COUNT does not say how many."""

READ_BYTES = 1_048_576
"""What a reply of XREAD ends with: the page that makes it so many bytes, or more."""

RANGE_BYTES = 4_194_304
"""The most bytes of a range, unless it is one message."""

FOR_EVER = 3e9
"""Seconds."""

_NO_END = 1 << 62
_ALL = ids.MOST + 1


class Span(NamedTuple):
    """What is wanted of a topic: at most ``limit`` messages after ``since``, up to the offset ``until``; if ``only`` is
    not None, only those at these offsets."""

    topic: Pattern
    since: Since
    limit: int
    until: int = _NO_END
    only: Collection[int] | None = None

    def wants(self, message: Message) -> bool:
        """Whether ``message``, which is one of the topic's after ``since``, is wanted."""
        return message.offset <= self.until and (self.only is None or message.offset in self.only)


class Found(NamedTuple):
    """What there was: gaps, too, which ``messages`` does not count. ``size`` is in bytes."""

    entries: Entries
    messages: int
    size: int


def page_of(session: Session, topics: Sequence[Pattern], since: Since, limit: int, wait: float = 0.0) -> Deferred[Page]:
    """One page of ``topics``, for a connection."""
    router = session.intake.router
    return poll(router, topics, since, limit=limit, wait=wait, transport=RESP, peer=session.peer, holder=session.holder)


async def read(session: Session, span: Span, room: int) -> Found:
    """Read ``span``, until there are ``room`` bytes."""
    log = session.intake.router.log
    found: Entries = []
    since, left, size = span.since, span.limit, 0
    while True:
        page = await page_of(session, (span.topic,), since, min(left, PAGE))
        if page.gap is not None:
            found.append(entries.gap_entry(page.gap))
        before = len(found)
        found += (entries.entry(log.epoch, message) for message in page.messages if span.wants(message))
        size += sum(map(len, found[before:]))
        left -= len(found) - before
        since = page.position
        if left <= 0 or size >= room or since.offset >= min(span.until, log.end):
            return Found(found, span.limit - left, size)
        await session.intake.router.next_turn()


async def awaited(session: Session, polling: Deferred[Page]) -> Page:
    """The page of a poll that waits; it is given up if ``polling``'s client is not to wait any longer. Raises
    :exc:`~comet.errors.Unauthorized` if its token is over by then."""
    session.is_waiting = True
    try:
        return await polling
    except Draining:
        session.check_current()
        raise
    finally:
        session.is_waiting = False


# -- XREAD -----------------------------------------------------------------------------------------------------------


def xread(session: Session, words: Words) -> Later:
    """``XREAD [COUNT n] [BLOCK ms] STREAMS topic… id…``."""
    options = ids.options(words[1:])
    topics, raw_ids = ids.streams(options.rest, session.intake.router.config.max_patterns)
    limit = min(options.limit or UNASKED, ids.MOST)
    wait = seconds(session, options.wait)

    def answer(_: object) -> Deferred[bytes]:
        log = session.intake.router.log
        spans = [Span(each, ids.since(raw, log), limit) for each, raw in zip(topics, raw_ids, strict=True)]
        return Deferred.fromCoroutine(_xread(session, spans, wait))

    return answer


def seconds(session: Session, wait: float | None) -> float:
    """For how long a command waits: not at all between MULTI and EXEC, as in Redis."""
    return 0.0 if wait is None or not session.may_wait else wait or FOR_EVER


async def _xread(session: Session, spans: Sequence[Span], wait: float) -> bytes:
    log = session.intake.router.log
    here = log.position(log.end)
    found: dict[str, Entries] = {span.topic.text: [] for span in spans}
    room = READ_BYTES
    # Those that are furthest behind come first: a busy topic must not keep a reader from the others.
    for span in sorted(spans, key=lambda span: _begins_at(span, session)):
        if span.since != here and room > 0:
            part = await read(session, span, room)
            found[span.topic.text] = part.entries
            room -= part.size
    if wait and not any(found.values()):
        topics = sorted(span.topic for span in spans)
        page = await awaited(session, page_of(session, topics, here, spans[0].limit, wait))
        _sort(page, found)
    return entries.streams({topic: each for topic, each in found.items() if each}, session.version)


def _sort(page: Page, found: dict[str, Entries]) -> None:
    """Add each message of ``page`` to its topic's. A gap may be one of each of them."""
    if page.gap is not None:
        for each in found.values():
            each.append(entries.gap_entry(page.gap))
    for message in page.messages:
        found[message.topic].append(entries.entry(page.position.epoch, message))


# -- ranges ----------------------------------------------------------------------------------------------------------


def xrange(session: Session, words: Words) -> Later:
    """``XRANGE topic start end [COUNT n]``."""
    topic, count = ids.topic(words[1]), _count(words)

    def answer(_: object) -> Deferred[bytes]:
        log = session.intake.router.log
        since, until = ids.after(words[2], log), ids.until(words[3], log)
        reading = Deferred.fromCoroutine(_range(session, Span(topic, since, count, until)))
        return reading.addCallback(lambda found: array(found.entries))

    return answer


def xrevrange(session: Session, words: Words) -> Later:
    """``XREVRANGE topic end start [COUNT n]``: the newest in front."""
    topic, count = ids.topic(words[1]), _count(words)

    def answer(_: object) -> Deferred[bytes]:
        log = session.intake.router.log
        since, until = ids.after(words[3], log), ids.until(words[2], log)
        reading = Deferred.fromCoroutine(_newest(session, Span(topic, since, count, until)))
        return reading.addCallback(lambda found: array(reversed(found.entries)))

    return answer


def _count(words: Words) -> int:
    """How many entries of a range are wanted; :data:`_ALL`, if COUNT is not there."""
    if len(words) == 4:
        return _ALL
    if len(words) != 6 or words[4].upper() != b"COUNT":
        raise WrongArguments(f"{ids.text_of(words[0]).upper()}: behind the ids there can only be COUNT n")
    count = ids.number(words[5], "COUNT")
    if count > ids.MOST:
        raise WrongArguments(f"COUNT {count}: at most {ids.MOST}; go on behind the id of the last entry, with (id")
    return count


async def _range(session: Session, span: Span) -> Found:
    """What there is of ``span``, the oldest in front."""
    if span.limit == 0 or _begins_at(span, session) >= span.until:
        return Found([], 0, 0)
    found = await read(session, span, RANGE_BYTES)
    if found.messages == _ALL:
        raise WrongArguments(f"there are more than {ids.MOST} entries; ask for some of them with COUNT")
    if found.size >= RANGE_BYTES and found.messages > 1:
        raise PayloadTooLarge(f"more than {RANGE_BYTES} bytes in one range; ask for fewer entries with COUNT")
    return found


async def _newest(session: Session, span: Span) -> Found:
    """The newest of ``span``, the oldest of them in front. Only what is wanted is read."""
    router = session.intake.router
    if 0 < span.limit < _ALL:
        before = await router.history.before_newest((span.topic,), span.until, span.limit)
        if before >= _begins_at(span, session):
            found = await _range(session, span._replace(since=router.log.position(before)))
            if found.messages == span.limit or span.since == "first":
                return found
    # There are not so many. Then it is to be told, too, whether some were lost.
    return await _range(session, span)


def _begins_at(span: Span, session: Session) -> int:
    """The offset behind which ``span`` begins; that of another life of the log says nothing."""
    since = span.since
    return since.offset if isinstance(since, Position) and since.epoch == session.intake.router.epoch else 0


# -- asking ----------------------------------------------------------------------------------------------------------


def xlen(session: Session, words: Words) -> Later:
    """``XLEN topic``: how many messages are kept of it."""
    topic = ids.topic(words[1]).text
    return lambda _: session.intake.router.history.count(topic).addCallback(integer)
