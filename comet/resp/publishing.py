"""Publishing over TCP: ``PUBLISH``, ``XADD``. Each gives a message; its reply is made once that is stored."""

# Every row's function has the same arguments, whether it needs them or not.
# ruff: noqa: ARG001

from __future__ import annotations

from comet.drafts import draft, topic_of
from comet.errors import BadKey, WrongArguments
from comet.message import Draft, Position
from comet.resp.about import shown_text
from comet.resp.replies import bulk, integer
from comet.resp.session import Session, Words
from comet.router import Router


def publish(session: Session, words: Words) -> Draft:
    """``PUBLISH topic payload``."""
    return session.intake.draft(words[1], words[2])


def receivers(router: Router, published: Draft, offset: int) -> bytes:
    """The reply to PUBLISH: how many subscriptions it goes to."""
    return integer(router.receivers(published.topic))


def xadd(session: Session, words: Words) -> Draft:
    """``XADD topic * data payload [type t] [key k]``: the one that knows content types and idempotency keys."""
    if words[2] != b"*":
        raise WrongArguments(
            f"XADD: {shown_text(words[2])} where '*' was expected; the daemon chooses positions, "
            "and its settings say how much is retained (no MAXLEN, MINID, NOMKSTREAM)"
        )
    if len(words) == 5 and words[3] == b"data":
        return session.intake.draft(words[1], words[4])
    fields = _fields(words[3:])
    # Neither is text that a check would let pass if these bytes were no UTF-8.
    content_type, key = (fields.get(name, b"").decode(errors="surrogateescape") for name in (b"type", b"key"))
    if b"key" in fields and not key:
        raise BadKey("the idempotency key is empty; leave the field out if the publish need not be safe to repeat")
    topic = topic_of(words[1])
    return draft(topic, fields[b"data"], content_type, key, largest=session.intake.max_payload)


def _fields(words: Words) -> dict[bytes, bytes]:
    fields = dict(zip(words[::2], words[1::2], strict=False))
    unknown = fields.keys() - {b"data", b"type", b"key"}
    if unknown:
        raise WrongArguments(f"XADD: no field {shown_text(min(unknown))}; there are data, type and key")
    if len(fields) * 2 != len(words) or b"data" not in fields:
        raise WrongArguments("XADD: wanted is data and a payload, then type and key if need be, each once")
    return fields


def position(router: Router, published: Draft, offset: int) -> bytes:
    """The reply to XADD: the position under which it is kept."""
    return bulk(str(Position(router.epoch, offset)))
