"""What can be asked about a topic: ``XINFO STREAM``, ``XINFO GROUPS``."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from comet.consumer import LOOKED_AT, Consumer
from comet.errors import CometError
from comet.resp import ids
from comet.resp.entries import entry
from comet.resp.groups import Member, is_group
from comet.resp.reading import page_of
from comet.resp.replies import NULL, NULL_ARRAY, array, bulk, integer, mapping
from comet.resp.session import Later, Session, Words
from comet.topics import Pattern

MOST = 1_000
"""Groups that are described."""


def stream(session: Session, words: Words) -> Later:
    """``XINFO STREAM topic``."""
    topic = ids.topic(words[2])
    return lambda _: Deferred.fromCoroutine(_stream(session, topic))


async def _stream(session: Session, topic: Pattern) -> bytes:
    router, none = session.intake.router, NULL_ARRAY[session.version]
    length = await router.history.count(topic.text)
    oldest = (await page_of(session, (topic,), "first", 1)).messages
    newest = (await page_of(session, (topic,), 1, 1)).messages
    described = {
        "length": integer(length),
        "last-generated-id": bulk(str(router.log.position(newest[0].offset if newest else router.log.end))),
        "groups": integer(len(_groups(session, topic))),
        "first-entry": entry(router.epoch, oldest[0]) if oldest else none,
        "last-entry": entry(router.epoch, newest[0]) if newest else none,
    }
    return mapping(described, session.version)


def groups(session: Session, words: Words) -> Later:
    """``XINFO GROUPS topic``."""
    topic = ids.topic(words[2])

    def answer(_: object) -> bytes:
        found = _groups(session, topic)[:MOST]
        return array(mapping(_described(session, consumer), session.version) for consumer in found)

    return answer


def _groups(session: Session, topic: Pattern) -> list[Consumer]:
    """The groups of ``topic`` that the client may use."""
    found = (consumer for consumer in session.intake.consumers or () if is_group(consumer, topic))
    return [consumer for consumer in found if _may_use(session, consumer)]


def _may_use(session: Session, consumer: Consumer) -> bool:
    try:
        session.grant.check_consumer(consumer.name)
    except CometError:
        return False
    return True


def _described(session: Session, consumer: Consumer) -> dict[str, bytes]:
    reads = isinstance(consumer.sitting, Member) or consumer.reader is not None
    lag = _lag(session, consumer)
    return {
        "name": bulk(consumer.name),
        "consumers": integer(int(reads)),
        "pending": integer(len(consumer.pending)),
        "last-delivered-id": bulk(str(consumer.delivered)),
        "entries-read": NULL[session.version],
        "lag": NULL[session.version] if lag is None else integer(lag),
    }


def _lag(session: Session, consumer: Consumer) -> int | None:
    """How many messages were not delivered yet; None if they are too many to count, or not in memory."""
    log, delivered = session.intake.router.log, consumer.delivered
    if delivered.epoch != log.epoch or log.has_lost(consumer.patterns, delivered.offset):
        return None
    messages, reached = log.look(consumer.patterns, delivered.offset, LOOKED_AT)
    return len(messages) if reached >= log.end else None
