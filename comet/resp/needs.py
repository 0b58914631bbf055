"""What the sender of each command must be allowed: the functions in the column ``needs`` of the table of commands.

They read the words as the command itself will, so a topic that is none is refused as such. What they are asked is
whether the grant covers it; programs of this machine are not asked.
"""

# Every need has the same arguments, whether it needs them or not.
# ruff: noqa: ARG001

from __future__ import annotations

from comet.resp import ids
from comet.resp.guard import Guard, Need
from comet.resp.pubsub import PATTERNS, TOPICS
from comet.resp.session import Words
from comet.resp.subscribing import GAP_TOPIC
from comet.topics import Pattern

MOST = 1024
"""Topics of one command: as many as it may have arguments. Whether they are too many, the command says."""


def publish(guard: Guard, words: Words) -> None:
    """To publish on the topic that is the second word."""
    guard.check_publish(words[1])


def subscribe(guard: Guard, words: Words) -> None:
    """To subscribe to each of the topics; to be told of one's own gaps takes nothing."""
    guard.grant.check_subscribe(each for each in map(TOPICS.parse, words[1:]) if each != GAP_TOPIC)


def psubscribe(guard: Guard, words: Words) -> None:
    """To subscribe to all that the patterns can match."""
    guard.grant.check_subscribe(map(PATTERNS.parse, words[1:]))


def topic(index: int) -> Need:
    """To subscribe to the topic that is the word at ``index``."""

    def need(guard: Guard, words: Words) -> None:
        guard.grant.check_subscribe((ids.topic(words[index]),))

    return need


def group(topic_at: int, name_at: int) -> Need:
    """To subscribe to a topic, and to read as the consumer that a group is."""

    def need(guard: Guard, words: Words) -> None:
        guard.grant.check_consumer(ids.text_of(words[name_at]))
        guard.grant.check_subscribe((ids.topic(words[topic_at]),))

    return need


def xread(guard: Guard, words: Words) -> None:
    """To subscribe to what stands behind STREAMS."""
    guard.grant.check_subscribe(_streams(words[1:]))


def xreadgroup(guard: Guard, words: Words) -> None:
    """The same, and to read as the group."""
    guard.grant.check_consumer(ids.text_of(words[2]))
    guard.grant.check_subscribe(_streams(words[4:], b"NOACK"))


def numsub(guard: Guard, words: Words) -> None:
    """To subscribe to each of the topics that are counted."""
    guard.grant.check_subscribe(map(ids.topic, words[2:]))


def admin(what: str) -> Need:
    """To be an administrator: it tells of what others do."""

    def need(guard: Guard, words: Words) -> None:
        guard.grant.check_admin(what)

    return need


def _streams(words: Words, *flags: bytes) -> list[Pattern]:
    return ids.streams(ids.options(words, *flags).rest, MOST)[0]
