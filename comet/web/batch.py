"""The body of ``POST /topics``: many messages at once."""

from __future__ import annotations

from comet.errors import BadRequest
from comet.message import Draft


def read_batch(body: bytes, content_type: str, largest: int) -> list[Draft]:
    raise BadRequest("not yet")
