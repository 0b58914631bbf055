"""A subscriber behind a proxy: :class:`~tests.e2e.held.Held` over HTTP/1.1 as proxies speak it, or over HTTP/2."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.e2e.held import Held
from tests.framing_readers import READERS
from tests.recipes.wires import Http2, Wire


class Answer(NamedTuple):
    """A response that is over."""

    status: int
    header: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client(Held):
    """A connection through a proxy, and the next one where the proxy ends it. ``name`` is the host that it asks for;
    ``prefix`` stands before each path.

    ``taken`` counts the bytes of the bodies that have come.
    """

    def __init__(self, connect: Callable[[], Wire], name: str, prefix: str = "") -> None:
        self.wire = connect()
        super().__init__(self.wire.socket)
        self.taken = 0
        self._connect = connect
        self._name = name
        self.prefix = prefix

    def __enter__(self) -> Client:
        return self

    def begin(self, target: str, transport: str, **header: str) -> Client:
        """Send a request for ``target`` and wait for nothing."""
        if self.header.get("connection") == "close":
            self.socket.close()
            self.wire = self._connect()
            self.socket = self.wire.socket
        fields = self._fields(header)
        if transport == "websocket":
            self.wire.send_websocket(self.prefix + target, fields)
        else:
            self.wire.send("GET", self.prefix + target, fields, b"")
        return self

    def beside(self) -> Client:
        """Another client on the same connection, as HTTP/2 allows it."""
        wire = self.wire
        assert isinstance(wire, Http2)
        return Client(lambda: Http2(wire.connection), self._name, self.prefix)

    def arrive(self, transport: str) -> Client:
        """Wait for the head of the response."""
        self.status, self.header = self.wire.head()
        self.over = False
        assert self.status in (101, 200), f"{self.status} {self.header}: {self._body()!r}"
        assert "content-encoding" not in self.header, "compressed: the proxy collects what it sends"
        # Over HTTP/2 a WebSocket is a response of no type; Apache gives it one.
        self.reader = READERS[transport]("" if transport == "websocket" else self.header.get("content-type", ""))
        return self

    def ask(self, target: str, transport: str, **header: str) -> Client:
        """See :class:`~tests.e2e.held.Held`."""
        return self.begin(target, transport, **header).arrive(transport)

    def read(self) -> bool:
        """See :class:`~tests.e2e.held.Held`."""
        assert self.reader is not None
        data = b"" if self.over else self.wire.data()
        self.over = not data
        self.taken += len(data)
        self.objects += self.reader.feed(data) if data else []
        return not self.over

    def gather(self, size: int) -> None:
        """Read at least ``size`` bytes before they are looked at, which takes less time than to look at each piece."""
        assert self.reader is not None
        data = b""
        while len(data) < size:
            more = self.wire.data()
            assert more, f"the response ended after {len(data)} bytes"
            data += more
        self.objects += self.reader.feed(data)

    def until_more(self) -> None:
        """Read until there are more bytes of the body, whatever they say."""
        taken = self.taken
        self.until(lambda _: self.taken > taken, "more bytes")

    def exchange(self, method: str, target: str, body: bytes = b"", **header: str) -> Answer:
        """Send a plain request; returns the whole response."""
        self.wire.send(method, self.prefix + target, self._fields(header), body)
        status, fields = self.wire.head()
        return Answer(status, fields, b"" if method == "HEAD" else self._body())

    def _fields(self, header: dict[str, str]) -> dict[str, str]:
        asked = {"Host": self._name, "Accept-Encoding": "gzip, deflate, br"}  # as browsers do
        return {**asked, **{name.replace("_", "-"): value for name, value in header.items()}}

    def _body(self) -> bytes:
        body = b""
        while data := self.wire.data():
            body += data
        return body
