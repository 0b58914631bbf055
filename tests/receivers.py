"""Receivers of hooks: HTTP servers in threads that answer as a test wants them to, and remember what was posted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.daemons import LONGEST


def reply(status: int = 204, body: bytes = b"", **headers: str) -> bytes:
    """A whole response. ``retry_after`` is the header Retry-After."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Act:
    """What a receiver does with a post: sends ``data``, and then closes the connection, or keeps it as it is."""

    data: bytes = b""
    hangs: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted. The names of ``headers`` are in lower case."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    def data(self) -> list[Any]:
        """The data of each message."""
        return [message["data"] for message in self.json()["messages"]]


Answering = Callable[[Post], Act]


class Receiver:
    """Plays ``acts``, one for each post, and from then on answers 204. It speaks TLS if it is given a ``context``."""

    def __init__(self, *acts: Act | bytes, context: ssl.SSLContext | None = None) -> None:
        self.acts = [act if isinstance(act, Act) else Act(act) for act in acts]
        self.posts: list[Post] = []
        self.most_at_once = 0
        self._at_once = 0
        self._context = context
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._late = b""
        self._threads: list[threading.Thread] = []
        self._server: socket.socket | None = None
        self.port = 0
        self.up()

    def url(self, path: str = "/hook") -> str:
        """Where it listens."""
        return f"http{'s' * bool(self._context)}://127.0.0.1:{self.port}{path}"

    def up(self) -> None:
        """Listen, at the port where it listened before."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._begin(self._accept, self._server)

    def down(self) -> None:
        """Be gone until it is up again."""
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()

    def let_go(self, data: bytes) -> None:
        """Have those who hang send ``data`` and close."""
        self._late = data
        self._over.set()

    def data(self) -> list[Any]:
        """The data of every message so far."""
        return [data for post in self.posts for data in post.data()]

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self.down()
        for thread in self._threads:
            thread.join(LONGEST)

    def _begin(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self._begin(self._serve, connection)

    def _secured(self, connection: socket.socket) -> socket.socket:
        connection.settimeout(LONGEST)
        return self._context.wrap_socket(connection, server_side=True) if self._context else connection

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), self._secured(connection) as secured:
            post = _read(secured)
            if post is None:
                return
            with self._lock:
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                act = self.acts.pop(0) if self.acts else Act(reply())
                self.posts.append(post)
            try:
                secured.sendall(act.data)
                if act.hangs:
                    _wait_for_the_end(secured, self._over)
                    secured.sendall(self._late)
            finally:
                with self._lock:
                    self._at_once -= 1


def _wait_for_the_end(connection: socket.socket, over: threading.Event) -> None:
    connection.settimeout(0.05)
    while not over.is_set():
        try:
            if not connection.recv(1024):
                return
        except TimeoutError:
            continue


def _read(connection: socket.socket) -> Post | None:
    """Read one request, which has a ``Content-Length`` if it has a body."""
    stream = connection.makefile("rb")
    first = stream.readline().decode("latin-1").split()
    if not first:
        return None
    headers = {}
    for line in iter(stream.readline, b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Post(first[1], headers, stream.read(int(headers.get("content-length", "0"))))


@contextmanager
def receiving(*acts: Act | bytes, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for as long as the block takes."""
    receiver = Receiver(*acts, context=context)
    try:
        yield receiver
    finally:
        receiver.close()


def verified(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether a post is signed with ``secret``, as the specification has it (and no line of ours)."""
    key = base64.b64decode(secret[len("whsec_") :])
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(
        version == "v1" and hmac.compare_digest(signature, wanted)
        for version, _, signature in (each.partition(",") for each in headers["webhook-signature"].split(" "))
    )
