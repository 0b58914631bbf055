"""Signatures of the Standard Webhooks specification [1]_: how a receiver knows that a post is the daemon's. Pure.

What is signed is ``<id>.<timestamp>.<body>``, with HMAC-SHA256 and a key that receiver and daemon share; it is written
``whsec_`` and base64. The trap: the parts are joined by dots, so the id must have none.

.. [1] https://github.com/standard-webhooks/standard-webhooks, version 1.0.0
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode

from comet.errors import BadHook

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a key."""


def secret_of(key: bytes) -> str:
    """The way in which ``key`` is written."""
    return PREFIX + b64encode(key).decode()


def key_of(secret: str) -> bytes:
    """The key that ``secret`` writes, or :exc:`~comet.errors.BadHook`, which does not show it."""
    try:
        key = b64decode(secret.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise BadHook(
            f"the secret cannot be used: write {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64, "
            "or leave it out to be given one"
        )
    return key


def signed_headers(key: bytes, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a post of ``body`` that is called ``identity``, at ``timestamp`` (seconds since 1970)."""
    assert "." not in identity
    signed = b"%b.%d.%b" % (identity.encode(), timestamp, body)
    signature = b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"webhook-id": identity, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
