"""Groups over TCP: ``XGROUP``, ``XREADGROUP``, ``XACK``, ``XPENDING``.

A group of a topic is the acknowledged consumer of that name which has that one topic, the same that HTTP knows. What it
has acknowledged is kept; what it was delivered is known only of the connection that reads, and forgotten with it. So a
new connection is given, with ``>``, everything that is not acknowledged: again, but never too little.

The trap: two connections that read as one group. In Redis they would share the work, and what one of them was given
when it died would wait until somebody asks for it. Here a group has one reader: who comes takes over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from comet.consumer import MOST_PENDING, Consumer
from comet.consumers import Consumers
from comet.errors import BadSince, CometError, Draining, NoGroup, Replaced, WrongArguments, shown
from comet.message import Message, Page, Position
from comet.polling import poll
from comet.resp import entries, ids
from comet.resp.about import OK
from comet.resp.reading import PAGE, READ_BYTES, UNASKED, Span, awaited, read, seconds
from comet.resp.replies import NULL, NULL_ARRAY, array, bulk, integer
from comet.resp.session import Later, Session, Words
from comet.topics import Pattern
from comet.transports import RESP


class Member(NamedTuple):
    """Who reads as a group: a connection, and the name that it gives itself."""

    connection: int
    name: bytes


class Asked(NamedTuple):
    """An ``XREADGROUP``: ``wait`` is how many seconds it may wait, ``raw_id`` behind which entry to begin."""

    group: bytes
    member: Member
    topic: Pattern
    raw_id: bytes
    limit: int
    wait: float
    acknowledges: bool


# -- which group -----------------------------------------------------------------------------------------------------


def is_group(consumer: Consumer, topic: Pattern) -> bool:
    """Whether ``consumer`` is a group of ``topic``. One of a hook is not: it has its reader."""
    return consumer.patterns == (topic,) and not consumer.owner and not consumer.leaving


def group(consumers: Consumers, topic: Pattern, raw: bytes) -> Consumer:
    """Return the consumer that is a group of ``topic``, or raise :exc:`~comet.errors.NoGroup`."""
    name = ids.text_of(raw)
    consumer = consumers.get(name)
    if consumer is None or not is_group(consumer, topic):
        raise NoGroup(f"there is no group {shown(name)} of {shown(topic.text)}; XGROUP CREATE makes it")
    return consumer


def _consumers(session: Session) -> Consumers:
    assert session.intake.consumers is not None
    return session.intake.consumers


# -- XGROUP ----------------------------------------------------------------------------------------------------------


def xgroup_create(session: Session, words: Words) -> Later:
    """``XGROUP CREATE topic group id [MKSTREAM]``. Every topic is there, so MKSTREAM says nothing."""
    if [word.upper() for word in words[5:]] not in ([], [b"MKSTREAM"]):
        raise WrongArguments("XGROUP CREATE: behind the id there can only be MKSTREAM")
    topic, name = ids.topic(words[2]), ids.text_of(words[3])

    def create(_: object) -> Deferred[bytes]:
        since = ids.since(words[4], session.intake.router.log)
        return _consumers(session).create(name, (topic,), since).addCallback(lambda _: OK)

    return create


def xgroup_destroy(session: Session, words: Words) -> Later:
    """``XGROUP DESTROY topic group``: whether there was one."""
    topic = ids.topic(words[2])

    def destroy(_: object) -> Deferred[bytes] | bytes:
        try:
            consumer = group(_consumers(session), topic, words[3])
        except NoGroup:
            return integer(0)
        return _consumers(session).remove(consumer.name).addCallback(lambda _: integer(1))

    return destroy


# -- XREADGROUP ------------------------------------------------------------------------------------------------------


def xreadgroup(session: Session, words: Words) -> Later:
    """``XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS topic >|id``."""
    if words[1].upper() != b"GROUP":
        raise WrongArguments("XREADGROUP: first comes GROUP, then the group and the name of the reader")
    options = ids.options(words[4:], b"NOACK")
    topics, raw_ids = ids.streams(options.rest, session.intake.router.config.max_patterns)
    if len(topics) > 1:
        raise WrongArguments("XREADGROUP: a group has one topic; read as each group with a command of its own")
    member = Member(session.number, words[3])
    limit = min(options.limit or UNASKED, PAGE)
    wait = seconds(session, options.wait)
    asked = Asked(words[2], member, topics[0], raw_ids[0], limit, wait, b"NOACK" not in options.flags)
    return lambda _: Deferred.fromCoroutine(_xreadgroup(session, asked))


async def _xreadgroup(session: Session, asked: Asked) -> bytes:
    consumer = group(_consumers(session), asked.topic, asked.group)
    sitting = _sit(consumer, asked.member)
    if asked.raw_id != b">":
        found = await _delivered(session, asked, consumer)
        return entries.streams({asked.topic.text: found}, session.version)
    page = await _next(session, asked, consumer)
    if consumer.sitting is not sitting:
        raise _replaced(consumer)
    gap = [] if page.gap is None else [entries.gap_entry(page.gap)]
    found = gap + [entries.entry(page.position.epoch, message) for message in consumer.deliver(page)]
    if not asked.acknowledges:
        await _acknowledge(consumer, page.messages)
    return entries.streams({asked.topic.text: found} if found else {}, session.version)


def _sit(consumer: Consumer, member: Member) -> object:
    """Have ``member`` read, from what is not acknowledged, unless its connection did so last."""
    sitting = consumer.sitting
    if not isinstance(sitting, Member) or sitting.connection != member.connection:
        consumer.begin_again()
        consumer.sitting = member
    return consumer.sitting


async def _next(session: Session, asked: Asked, consumer: Consumer) -> Page:
    """What was not delivered yet. Who reads already is told that it is over."""
    router = session.intake.router
    room = MOST_PENDING - len(consumer.pending)
    if room <= 0:
        raise WrongArguments(f"XREADGROUP: {MOST_PENDING} entries are not acknowledged; XACK some of them first")
    polling = poll(
        router,
        consumer.patterns,
        consumer.delivered,
        limit=min(asked.limit, room),
        wait=asked.wait,
        transport=RESP,
        told=consumer.told,
        peer=session.peer,
        seat=consumer.seat,
        holder=session.holder,
    )
    try:
        return await (awaited(session, polling) if asked.wait else polling)
    except Draining:
        if router.draining:
            raise
        group(_consumers(session), asked.topic, asked.group)  # or it was destroyed
        raise _replaced(consumer) from None


def _replaced(consumer: Consumer) -> Replaced:
    return Replaced(
        f"another reader has come, and the group {shown(consumer.name)} has one at a time; give each a group of its own"
    )


async def _acknowledge(consumer: Consumer, messages: Iterable[Message]) -> None:
    """Acknowledge what is delivered in this moment. If that fails it has not been delivered."""
    sitting = consumer.sitting
    try:
        await consumer.ack_each([message.offset for message in messages])
    except CometError:
        if consumer.sitting is sitting:
            consumer.begin_again()
        raise


async def _delivered(session: Session, asked: Asked, consumer: Consumer) -> entries.Entries:
    """What this connection was given after an id, and has not acknowledged."""
    log = session.intake.router.log
    since = ids.since(asked.raw_id, log)
    if isinstance(since, int) or asked.raw_id == b"$":
        raise BadSince(f"XREADGROUP: {shown(ids.text_of(asked.raw_id))} is neither '>' nor the id of an entry, nor 0")
    after = since.offset if isinstance(since, Position) and since.epoch == log.epoch else 0
    offsets = [offset for offset in consumer.pending if offset > after][: asked.limit]
    if not offsets:
        return []
    span = Span(asked.topic, log.position(offsets[0] - 1), len(offsets), offsets[-1], frozenset(offsets))
    return (await read(session, span, READ_BYTES)).entries


# -- XACK, XPENDING --------------------------------------------------------------------------------------------------


def xack(session: Session, words: Words) -> Later:
    """``XACK topic group id…``: how many of them were delivered and not acknowledged yet."""
    topic = ids.topic(words[1])
    positions = [Position.parse(ids.text_of(raw)) for raw in words[3:]]

    def acknowledge(_: object) -> Deferred[bytes]:
        consumer = group(_consumers(session), topic, words[2])
        offsets = [each.offset for each in positions if each.epoch == session.intake.router.epoch]
        return consumer.ack_each(offsets).addCallback(integer)

    return acknowledge


def xpending(session: Session, words: Words) -> Later:
    """``XPENDING topic group``: how much was delivered and is not acknowledged, from where to where, and to whom."""
    topic = ids.topic(words[1])

    def answer(_: object) -> bytes:
        consumer = group(_consumers(session), topic, words[2])
        pending, version = consumer.pending, session.version
        if not pending:
            return array((integer(0), NULL[version], NULL[version], NULL_ARRAY[version]))
        first, last = (
            str(Position(consumer.delivered.epoch, each)) for each in (next(iter(pending)), next(reversed(pending)))
        )
        name = consumer.sitting.name if isinstance(consumer.sitting, Member) else b""
        reader = array((bulk(name), bulk(str(len(pending)))))
        return array((integer(len(pending)), bulk(first), bulk(last), array((reader,))))

    return answer
