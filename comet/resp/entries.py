"""Messages as entries of what Redis calls a stream::

    entry   = array(2) bulk(id) array(2 / 4) bulk("data") bulk(payload) [bulk("type") bulk(content type)]
    gap     = array(2) bulk(id) array(2) bulk("gap") bulk({"since":…,"until":…})
    streams = map(n) n * ( bulk(topic) array(m) m * entry )                 ; RESP3
            / array(n) n * ( array(2) bulk(topic) array(m) m * entry )      ; RESP2
            / null                                                          ; if there is no topic

The id of a gap is where reading goes on: who reads behind the id of the last entry, whatever that was, misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comet.message import Gap, Message
from comet.resp.replies import NULL_ARRAY, array, bulk, mapping

Entries = list[bytes]
"""Entries of one topic, each as it is written."""


def entry(epoch: str, message: Message) -> bytes:
    """Return a message."""
    fields = b"$4\r\ndata\r\n" + bulk(message.payload)
    count = 2
    if message.content_type:
        fields += b"$4\r\ntype\r\n" + bulk(message.content_type)
        count = 4
    return b"*2\r\n%b*%d\r\n%b" % (bulk(f"{epoch}-{message.offset}"), count, fields)


def gap_entry(gap: Gap) -> bytes:
    """Return a gap."""
    told = f'{{"since":"{gap.since}","until":"{gap.until}"}}'
    return b"*2\r\n%b*2\r\n$3\r\ngap\r\n%b" % (bulk(str(gap.until)), bulk(told))


def streams(found: Mapping[str, Sequence[bytes]], version: int) -> bytes:
    """Return topics with their entries."""
    if not found:
        return NULL_ARRAY[version]
    replies = {topic: array(entries) for topic, entries in found.items()}
    if version == 3:
        return mapping(replies, version)
    return array(array((bulk(topic), reply)) for topic, reply in replies.items())
