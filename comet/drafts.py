"""The border that every publisher crosses: what it hands in becomes a :class:`~comet.message.Draft`, or is refused.

Nothing behind this module looks at a topic, a key, a content type or a payload's claim to be JSON again; the framings
rely on that (a JSON payload is copied into their output as it is).
"""

from __future__ import annotations

import re

import msgspec

from comet.errors import BadContentType, BadJSON, BadKey, BadTopic, PayloadTooLarge, shown
from comet.message import Draft
from comet.topics import check_topic

JSON = "application/json"

# What a header value may be (RFC 9110, section 5.5), less obs-text: it is repeated in part headers.
_TYPE = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?", re.ASCII)
_KEY = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")
# What HTML forms and ``curl -d`` send when nobody chose a type: no statement about the payload.
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

_decode = msgspec.json.Decoder().decode


def draft(topic: str, payload: bytes, content_type: str = "", key: str = "", *, largest: int) -> Draft:
    """Return what was handed in, checked; ``largest`` is the most bytes a payload may have.

    A form content type counts as none. Raises :exc:`~comet.errors.BadTopic`, :exc:`~comet.errors.PayloadTooLarge`,
    :exc:`~comet.errors.BadContentType`, :exc:`~comet.errors.BadJSON`, :exc:`~comet.errors.BadKey`.
    """
    check_topic(topic)
    if len(payload) > largest:
        raise PayloadTooLarge(f"the payload has {len(payload)} bytes; at most {largest} are allowed (max-payload)")
    if content_type:
        content_type = _checked_type(content_type, payload)
    if key and _KEY.fullmatch(key) is None:
        raise BadKey(f"{shown(key)} is not an idempotency key: 1 to 255 characters, none of them a control character")
    return Draft(topic, payload, content_type, key)


def topic_of(raw: bytes) -> str:
    """Return the topic that ``raw`` spells in UTF-8, or raise :exc:`~comet.errors.BadTopic`."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadTopic(f"{shown(raw)} is not a topic: it is not UTF-8") from None


def is_json(content_type: str) -> bool:
    """Whether a message of that type carries a JSON value."""
    return content_type == JSON or (content_type.startswith(JSON) and content_type[len(JSON)] in "; ")


def _checked_type(content_type: str, payload: bytes) -> str:
    if _TYPE.fullmatch(content_type) is None:
        raise BadContentType(f"{shown(content_type)} is not a content type")
    lower = content_type.lower()
    if lower.startswith(_FORMS):
        return ""
    if is_json(lower):
        try:
            _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadJSON(f"the payload says it is {JSON} but is not: {error}") from None
        return lower
    return content_type
