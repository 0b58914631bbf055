"""Publishing a message while streams are listened to, over HTTP or over the TCP port."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

from comet.commands.arguments import reason
from comet.commands.doctor.case import Published
from comet.commands.doctor.requests import Requests
from comet.commands.doctor.target import Target
from comet.commands.doctor.wire import ANSWER, CONNECT, Conversation, Trust, listen

_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/]+)):([0-9]{1,5})", re.ASCII)


def server_of(text: str) -> tuple[str, int]:
    """Return host and port. Raises ValueError if ``text`` is not of both."""
    match = _SERVER.fullmatch(text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(text)
    return match[1] or match[2], int(match[3])


class Publisher(Protocol):
    """A way to publish on one topic."""

    def publish(self, payload: str, listening: Sequence[Conversation[Any]]) -> Published:
        """Publish ``payload``; meanwhile what comes on ``listening`` is read."""

    def close(self) -> None:
        """Leave."""


class OverHTTP:
    """Publishes by POST. The key makes a request that is repeated publish once."""

    def __init__(self, target: Target, trust: Trust, topic: str) -> None:
        self._target = target
        self._requests = Requests(target, trust)
        self._topic = topic

    def publish(self, payload: str, listening: Sequence[Conversation[Any]]) -> Published:
        """See :class:`Publisher`."""
        fields = {"Content-Type": "text/plain", "Idempotency-Key": payload}
        request = self._target.request(f"/topics/{self._topic}", fields, "POST", payload.encode())
        answer = self._requests.tell(request, listening)
        refused = "" if answer.status in (200, 201) else f"{answer.said()} {answer.detail()}".strip()
        stored_at = answer.sent_at + answer.seconds
        return Published(f"POST to {self._target.url()}", answer.sent_at, stored_at, refused)

    def close(self) -> None:
        """See :class:`Publisher`."""
        self._requests.close()


class Reply:
    """Reads one reply of RESP, of which the first line says whether it is a refusal."""

    def __init__(self) -> None:
        self.complete = False
        self.text = ""
        self._unread = b""

    def feed(self, data: bytes, now: float) -> None:
        """See :class:`~comet.commands.doctor.wire.Reader`."""
        del now
        self._unread += data
        self.complete = self._unread.count(b"\r\n") >= (2 if self._unread.startswith(b"$") else 1)
        self.text = self._unread.split(b"\r\n")[0].decode("latin-1")

    def end(self, now: float) -> None:
        """See :class:`~comet.commands.doctor.wire.Reader`."""
        del now
        self.complete = True


class OverTCP:
    """Publishes by ``XADD``, in the form of a line, which RESP knows too."""

    def __init__(self, server: str, topic: str) -> None:
        self._server = server
        self._topic = topic
        self._kept: Conversation[Reply] | None = None

    def publish(self, payload: str, listening: Sequence[Conversation[Any]]) -> Published:
        """See :class:`Publisher`."""
        way = f"the TCP port {self._server}"
        try:
            if self._kept is None:
                self._kept = Conversation(socket.create_connection(server_of(self._server), timeout=CONNECT), Reply())
        except OSError as error:
            return Published(way, refused=reason(error))
        conversation = self._kept
        reply = conversation.reader = Reply()
        conversation.ask(f"XADD {self._topic} * data {payload}\r\n".encode())
        listen([conversation, *listening], lambda: reply.complete, ANSWER)
        refused = "" if reply.text.startswith("$") else reply.text.removeprefix("-") or "no reply of RESP"
        return Published(way, conversation.sent_at, time.monotonic(), refused)

    def close(self) -> None:
        """See :class:`Publisher`."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
