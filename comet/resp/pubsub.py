"""The commands of Redis Pub/Sub: subscribing on the TCP port, and asking what is subscribed to.

What changes a subscription is done in its turn, behind the replies to everything before, and confirmed name by name:
messages follow the confirmation of their topic, and none follows that of its end. Either all names of a command are
taken or none.

The traps: the wildcards of Redis are not those of Comet. A pattern that only Redis would understand is refused, because
taken by its letters it would bring nothing, and nobody would be told. And a connection that speaks RESP2 is in another
mode while it has subscribed (:class:`~comet.resp.session.SubscribedMode`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from comet.drafts import topic_of
from comet.errors import BadPattern, BadTopic, WrongArguments, shown
from comet.resp.replies import NULL, array, bulk, integer, push
from comet.resp.session import Later, Session, SubscribedMode, Words
from comet.resp.subscribing import Connection, Names, Subscriber
from comet.topics import Pattern

MOST_TOPICS = 10_000
"""Topics that PUBSUB CHANNELS looks through: 5 ms."""

_ALL = b"*"
"""Of PUBSUB CHANNELS this means every topic, as in Redis: it is what redis-py sends if it is given no pattern."""

_REDIS_ONLY = re.compile(r"[?\[\\]")


def _topic(raw: bytes) -> Pattern:
    text = topic_of(raw)
    if "*" in text:
        raise BadTopic(f"{shown(text)} is not a topic: it has a '*'; PSUBSCRIBE takes patterns")
    return Pattern.parse(text)


def _pattern(raw: bytes) -> Pattern:
    text = topic_of(raw)
    if _REDIS_ONLY.search(text):
        raise BadPattern(
            f"{shown(text)} is not a pattern: '?', '[' and '\\' are Redis'; here '*' stands for a segment between "
            "slashes, and '**' for the last ones; SUBSCRIBE takes a topic as it is"
        )
    return Pattern.parse(text)


class Kind(NamedTuple):
    """Topics, or patterns: how confirmations call their beginning and their end, which of the :class:`Names` they are,
    how one is read."""

    begun: str
    ended: str
    place: int
    parse: Callable[[bytes], Pattern]


TOPICS = Kind("subscribe", "unsubscribe", 0, _topic)
PATTERNS = Kind("psubscribe", "punsubscribe", 1, _pattern)


# -- changing a subscription -----------------------------------------------------------------------------------------


def subscribe(session: Session, words: Words) -> Later:
    """``SUBSCRIBE topic [topic ...]``."""
    return _adding(TOPICS, session, words)


def psubscribe(session: Session, words: Words) -> Later:
    """``PSUBSCRIBE pattern [pattern ...]``."""
    return _adding(PATTERNS, session, words)


def unsubscribe(session: Session, words: Words) -> Later:
    """``UNSUBSCRIBE [topic ...]``."""
    return _removing(TOPICS, session, words)


def punsubscribe(session: Session, words: Words) -> Later:
    """``PUNSUBSCRIBE [pattern ...]``."""
    return _removing(PATTERNS, session, words)


def _adding(kind: Kind, session: Session, words: Words) -> Later:
    wanted = [(bytes(word), kind.parse(word)) for word in words[1:]]

    def add(connection: Connection) -> bytes:
        subscriber = session.subscriber or Subscriber(session.intake.router, connection, session.peer)
        names = subscriber.names.copy()
        confirmations = []
        for name, pattern in wanted:
            names[kind.place][name] = pattern
            confirmations.append(_confirmation(kind.begun, name, names, session))
        subscriber.change(names, session.version, session.holder)
        session.subscriber = subscriber
        _choose_mode(session)
        return b"".join(confirmations)

    return add


def _removing(kind: Kind, session: Session, words: Words) -> Later:
    def remove(connection: Connection) -> bytes:  # noqa: ARG001
        subscriber = session.subscriber
        names = Names({}, {}) if subscriber is None else subscriber.names.copy()
        unwanted = words[1:] or list(names[kind.place])
        confirmations = []
        for name in unwanted:
            names[kind.place].pop(name, None)
            confirmations.append(_confirmation(kind.ended, name, names, session))
        if subscriber is not None:
            subscriber.change(names, session.version, session.holder)
        _choose_mode(session)
        return b"".join(confirmations) or _confirmation(kind.ended, None, names, session)

    return remove


def _confirmation(word: str, name: bytes | None, names: Names, session: Session) -> bytes:
    """How many names there are once ``word`` was done for ``name``; that is None if there was none to do it for."""
    said = NULL[session.version] if name is None else bulk(name)
    return push((bulk(word), said, integer(names.total)), session.version)


def _choose_mode(session: Session) -> None:
    if session.version == 2:
        session.mode = SubscribedMode() if session.is_subscribed else None


# -- asking ----------------------------------------------------------------------------------------------------------


def channels(session: Session, words: Words) -> bytes:
    """``PUBSUB CHANNELS [pattern]``: the topics that somebody has subscribed to by name, over whichever transport."""
    if len(words) > 3:
        raise WrongArguments("PUBSUB CHANNELS: at most one pattern is wanted")
    topics = session.intake.router.audiences.topics
    if len(words) == 3 and words[2] != _ALL:
        pattern = _pattern(words[2])
        if pattern.exact:
            return array([bulk(pattern.text)] if pattern.text in topics else [])
        _check_number(len(topics))
        return array(bulk(topic) for topic in sorted(filter(pattern.matches, topics)))
    _check_number(len(topics))
    return array(map(bulk, sorted(topics)))


def _check_number(topics: int) -> None:
    if topics > MOST_TOPICS:
        raise WrongArguments(
            f"PUBSUB CHANNELS: {topics} topics have subscribers, too many to look through (at most {MOST_TOPICS}); "
            "PUBSUB NUMSUB asks for single ones"
        )


def numsub(session: Session, words: Words) -> bytes:
    """``PUBSUB NUMSUB [topic ...]``: each topic, and how many subscriptions name it."""
    named = session.intake.router.audiences.named
    return array(reply for word in words[2:] for reply in (bulk(word), integer(named(topic_of(word)))))


def numpat(session: Session, words: Words) -> bytes:  # noqa: ARG001
    """``PUBSUB NUMPAT``: how many patterns with a wildcard are subscribed to, by anybody."""
    return integer(session.intake.router.audiences.wildcards)
