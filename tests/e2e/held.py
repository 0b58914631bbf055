"""A subscriber on a socket of its own: it sends a request, and the strict readers read what comes, byte by byte."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.e2e.waiting import PATIENCE
from tests.framing_readers import READERS, Object, Reader

Address = str
"""``host:port``, or the path of a UNIX socket."""


def connected(address: Address) -> socket.socket:
    """A connection to ``address``."""
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def secured(address: Address, certificate: str) -> socket.socket:
    """A connection over TLS to ``address``, whose certificate is in the file ``certificate``."""
    context = ssl.create_default_context(cafile=certificate)
    return context.wrap_socket(connected(address), server_hostname="localhost")


class Held:
    """A connection on which one transport is held at a time. ``objects`` is all that was read on it so far."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.status = 0
        self.header: dict[str, str] = {}
        self.objects: list[Object] = []
        self.over = False
        self.reader: Reader | None = None

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, target: str, transport: str, **header: str) -> Held:
        """Send a request for ``target`` and read the head of the response; header names are written with ``_``."""
        fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in header.items()}}
        if transport == "websocket":
            fields |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            fields |= {"Sec-WebSocket-Key": b64encode(os.urandom(16)).decode()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        self._read_head(transport)
        return self

    def _read_head(self, transport: str) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65_536)
            assert more, f"the connection ended in the head: {data!r}"
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.header = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if self.status not in (101, 200):
            raise AssertionError(f"{first}: {rest.decode()}")
        self.reader = READERS[transport](self.header.get("content-type", ""))
        self.objects += self.reader.feed(rest)

    def read(self) -> bool:
        """Take in what has come, or wait for it; returns whether the response goes on."""
        assert self.reader is not None
        data = b"" if self.over else self.socket.recv(65_536)
        self.over = not data
        self.objects += self.reader.feed(data) if data else []
        return not self.over

    def until(self, condition: Callable[[Held], Any], what: str) -> Held:
        """Read until ``condition`` is true of this."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self):
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} seconds: {what}"
            assert self.read(), f"the response ended before {what}; the end of it: {self.objects[-3:]}"
        return self

    def until_messages(self, count: int) -> list[Object]:
        """Read until there are ``count`` messages; returns them."""
        self.until(lambda held: len(held.messages()) >= count, f"{count} messages")
        return self.messages()

    def until_control(self, kind: str) -> Object:
        """Read until the daemon says ``kind`` in-band; returns what it says."""
        self.until(lambda held: held.controls(kind), f"the control {kind}")
        return self.controls(kind)[-1]

    def until_end(self) -> Held:
        """Read until the daemon ends the response."""
        while self.read():
            pass
        return self

    def messages(self) -> list[Object]:
        """The messages that have come."""
        return [found for found in self.objects if "comet" not in found and "next" not in found]

    def controls(self, kind: str) -> list[Object]:
        """What the daemon has said in-band of that kind."""
        return [found for found in self.objects if found.get("comet") == kind]

    def payloads(self) -> list[str]:
        """The payloads of the messages that have come, as text."""
        return [payload(message) for message in self.messages()]

    def cursor(self) -> str:
        """The position up to which everything has come, as far as the last thing that says so."""
        for found in reversed(self.objects):
            if where := found.get("id") or found.get("next") or found.get("position") or found.get("until"):
                return str(where)
        raise AssertionError("nothing that was read has a position")

    def reset(self) -> None:
        """Break the connection off at once, whatever is under way (TCP's RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def payload(message: Object) -> str:
    """The payload of a message, in whichever way its transport carries it."""
    if "payload" in message:
        raw: bytes = message["payload"]
        return raw.decode()
    return message["data"] if isinstance(message["data"], str) else json.dumps(message["data"])


def subscribe(address: Address, target: str, transport: str, **header: str) -> Held:
    """A new connection to ``address`` on which ``target`` is held."""
    held = Held(connected(address))
    try:
        return held.ask(target, transport, **header)
    except BaseException:
        held.socket.close()
        raise


def asked(
    address: Address, method: str, target: str, body: bytes = b"", **header: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one plain request; returns the status, the header and the body of the response."""
    fields = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in header.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with connected(address) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        data = b""
        while more := connection.recv(65_536):
            data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").split("\r\n")
    return (
        int(first.split()[1]),
        {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)},
        rest,
    )


def asked_json(address: Address, target: str) -> Any:
    """What the daemon answers to a GET, as JSON."""
    status, _, body = asked(address, "GET", target)
    assert status == 200, (target, status, body)
    return json.loads(body)


def streams(address: Address, pattern: str) -> list[Object]:
    """The open subscriptions to ``pattern``, as the daemon tells them."""
    found = asked_json(address, "/stats/streams?limit=10000")["streams"]
    return [stream for stream in found if pattern in stream["patterns"]]


def publish(address: Address, topic: str, body: bytes | str, content_type: str = "text/plain") -> str:
    """Publish over HTTP; returns the position."""
    data = body.encode() if isinstance(body, str) else body
    status, _, answer = asked(address, "POST", f"/topics/{topic}", data, Content_Type=content_type)
    assert status == 201, answer
    position: str = json.loads(answer)["id"]
    return position
