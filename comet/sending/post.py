"""A kept HTTP connection that publishes by POST: one message as it is, many as a batch of JSON objects.

A batch is taken whole or not at all (``docs/reference/http``), so when one is refused its messages go one by one: then
the refusal belongs to the message that it is about. The trap: what answers may be a proxy, whose errors are no problem
documents of Comet; those that proxies give while a daemon restarts are worth another try.
"""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urlsplit

from comet.sending.credentials import Token, authorization
from comet.sending.link import Lost, said
from comet.sending.wire import RETRIED, Outgoing, Reply

BATCH, BATCH_BYTES = 500, 262_144
"""Messages, and bytes of payload, of one request: many proxies allow bodies of one megabyte."""

PASSING = (408, 429, 502, 503, 504)
"""Statuses that say to try again, whoever answers."""


def url_of(server: str) -> SplitResult:
    """Return the parts of the URL ``server``; raises ValueError with what is right."""
    try:
        url = urlsplit(server)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or url.query or url.fragment or url.username is not None:
        raise ValueError(f"{server!r} cannot be used: write a URL such as http://127.0.0.1:7080/")
    return url


class Post:
    """One connection, in the shape of :class:`~comet.sending.link.Link`."""

    window, batch, batch_bytes = BATCH, BATCH, BATCH_BYTES

    def __init__(self, connection: http.client.HTTPConnection, path: str, token: Token = None) -> None:
        self._connection = connection
        self._path = path
        self._token = token
        self._batch: Sequence[Outgoing] = ()
        self._singly: deque[Outgoing] = deque()

    @classmethod
    def dialled(cls, url: SplitResult, timeout: float, token: Token = None) -> Post:
        """Connect; no wait on the connection is longer than ``timeout`` seconds. Each request says the ``token``."""
        make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = make(url.hostname or "", url.port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Lost(said(error)) from None
        return cls(connection, url.path.rstrip("/") + "/topics", token)

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Have ``batch`` published; :meth:`receive` says how that went."""
        self._batch = batch

    def receive(self) -> list[Reply]:
        """Return replies to what was sent, at least one. Raises :exc:`~comet.sending.link.Lost`."""
        batch, self._batch = self._batch, ()
        if len(batch) > 1:
            replies = self._publish_batch(batch)
            if not replies[0].code or replies[0].retry:
                return replies
        self._singly.extend(batch)
        return [self._publish(self._singly.popleft())]

    def alive(self) -> bool:
        """Whether an idle connection seems good for another message."""
        # What http.client has closed by itself, because the answer asked for it, it opens again by itself.
        if self._connection.sock is None:
            return True
        timeout = self._connection.sock.gettimeout()
        self._connection.sock.setblocking(False)
        try:
            self._connection.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self._connection.sock.settimeout(timeout)
        return False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _publish(self, outgoing: Outgoing) -> Reply:
        header: dict[str, str | bytes] = {}
        if outgoing.content_type:
            header["Content-Type"] = outgoing.content_type
        if outgoing.key:
            header["Idempotency-Key"] = outgoing.key.encode()
        status, answer = self._request(f"{self._path}/{quote(outgoing.topic)}", outgoing.payload, header)
        return Reply(str(answer["id"])) if "id" in answer else _refusal(status, answer)

    def _publish_batch(self, batch: Sequence[Outgoing]) -> list[Reply]:
        body = "\n".join(map(_object, batch)).encode()
        status, answer = self._request(self._path, body, {"Content-Type": "application/x-ndjson"})
        positions = answer.get("ids")
        if isinstance(positions, list) and len(positions) == len(batch):
            return [Reply(str(position)) for position in positions]
        return [_refusal(status, answer)] * len(batch)

    def _request(self, path: str, body: bytes, header: dict[str, str | bytes]) -> tuple[int, dict[str, object]]:
        """Return the status, and the members of the answer if it has any."""
        try:
            self._connection.request("POST", path, body, {**header, **authorization(self._token)})
            response = self._connection.getresponse()
            content = response.read()
        except OSError as error:
            raise Lost(said(error)) from None
        except http.client.HTTPException as error:
            raise Lost(f"the answer is no HTTP ({type(error).__name__})") from None
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {"detail": f"the answer is {response.status} {response.reason}"}
        return response.status, answer


def _refusal(status: int, answer: dict[str, object]) -> Reply:
    code = str(answer.get("code", f"http_{status}"))
    detail = str(answer.get("detail", f"the answer is {status}, without a reason"))
    return Reply("", code, detail, code in RETRIED or status in PASSING)


def _object(outgoing: Outgoing) -> str:
    message = {"topic": outgoing.topic}
    try:
        message["data"] = outgoing.payload.decode()
    except UnicodeDecodeError:
        message["data64"] = b64encode(outgoing.payload).decode()
    if outgoing.content_type:
        message["type"] = outgoing.content_type
    if outgoing.key:
        message["key"] = outgoing.key
    return json.dumps(message, separators=(",", ":"))
