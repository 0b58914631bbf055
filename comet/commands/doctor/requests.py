"""Plain requests, one after the other, on a connection that is kept for as long as the peer keeps it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from comet.commands.doctor.case import Answer
from comet.commands.doctor.responses import Response
from comet.commands.doctor.target import Target
from comet.commands.doctor.wire import ANSWER, Conversation, Trust, Unreachable, connect, listen

CLOSED = "the connection was closed without an answer"


class Requests:
    """Asks ``target``. ``connections`` and ``asked`` count what that took."""

    def __init__(self, target: Target, trust: Trust) -> None:
        self._target = target
        self._trust = trust
        self._kept: Conversation[Response] | None = None
        self.asked = 0
        self.connections = 0

    def ask(
        self, path: str, fields: Mapping[str, str] | None = None, listening: Sequence[Conversation[Any]] = ()
    ) -> Answer:
        """Return the answer to a GET of ``path`` below the URL. Meanwhile what comes on ``listening`` is read."""
        return self.tell(self._target.request(path, fields), listening)

    def tell(self, request: bytes, listening: Sequence[Conversation[Any]] = ()) -> Answer:
        """Return the answer to ``request``; if a kept connection was closed instead, it is made once more."""
        try:
            answer = self._ask(request, listening)
            if answer is None:
                answer = self._ask(request, listening)
        except (Unreachable, ssl.SSLError) as error:
            return Answer(trouble=str(error))
        self.asked += 1
        return answer or Answer(trouble=CLOSED)

    def close(self) -> None:
        """Leave."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _ask(self, request: bytes, listening: Sequence[Conversation[Any]]) -> Answer | None:
        """The answer, or None if the connection had been kept, and was closed instead."""
        kept = self._kept is not None
        if self._kept is None:
            self._kept = Conversation(connect(self._target, self._trust), Response())
            self.connections += 1
        conversation = self._kept
        response = conversation.reader = Response()
        conversation.ask(request)
        listen([conversation, *listening], lambda: response.complete, ANSWER)
        if not response.complete or response.ended_at is not None or "close" in response.header("connection").lower():
            self.close()
        dropped = kept and response.ended_at is not None and not response.status
        return None if dropped else answer_of(conversation)


def answer_of(conversation: Conversation[Response]) -> Answer:
    """What has come so far."""
    response, now = conversation.reader, time.monotonic()
    trouble = conversation.trouble
    if not response.status and not trouble:
        trouble = CLOSED if response.complete else f"no answer within {now - conversation.sent_at:.1f} s"
    seconds = (response.last_at() or response.head_at or now) - conversation.sent_at
    return Answer(
        response.status,
        response.phrase,
        response.fields,
        bytes(response.body),
        conversation.sent_at,
        seconds,
        trouble,
    )
