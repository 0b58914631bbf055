"""Targets: a whole HTTP port in memory, with others on it that must not notice.

Beside the client that plays the script there are an honest stream, which is given its message to the end, and a stream
to which anything may be done, for the script knows its id.
"""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

from tests.fuzz.answers import check_answers
from tests.fuzz.http_input import STREAM, conversations
from tests.fuzz.scripts import Script, Step, split
from tests.fuzz.websocket_input import said
from tests.http_wires import Face, Wire, get
from tests.minting import SECRET

requests = split(conversations)
frames = split(said)

LONG = 200
"""Seconds after which no connection is left on which nothing is held: more than every deadline together."""

GUARDED: dict[str, Any] = {
    "local": "anonymous",
    "anonymous": ("subscribe:news/**", "subscribe:news", "subscribe:still/here", "publish:news", "publish:still/here"),
    "origin": ("https://app.example.org",),
    "max_streams_per_address": 5,
    "requests_per_address": 50.0,
}
"""The settings of a daemon to which the client is a stranger."""


@cache
def key_file() -> str:
    """A file with a key."""
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(SECRET)
        return file.name


def play_local(script: Script) -> None:
    """Play ``script`` to a daemon on which the client may do everything."""
    _play(Face(max_head=4_096, max_url=2_048, max_payload=2_000, max_body=4_000), script)


def play_both(script: Script) -> None:
    """Play ``script`` as somebody who may do everything, and as a stranger."""
    play_local(script)
    _play(Face(max_head=4_096, max_payload=2_000, key=(key_file(),), **GUARDED), script)


def _play(face: Face, script: Script) -> None:
    honest = face.held(get("/topics/still/here?transport=stream"))
    other = face.held(get("/topics/news?transport=stream"))
    *_, stream = face.router.streams
    client = Client(face, stream.encode())
    for step in script:
        client.do(step)
    client.stay(LONG)
    client.leave()
    assert face.publish("still/here", b"yes").status == 201
    assert b'"data":"yes"' in honest.take(), "the honest stream was not served"
    for wire in (honest, other):
        wire.leave()
    face.pass_time(10)  # more than a WebSocket that was closed is given to leave
    left = face.left_behind()
    assert not left, left
    limits = face.router.limits
    counted = [*limits._from, *(name for each in limits._streams.values() for name in each)]
    assert not (limits._connections or counted), counted
    assert face.metrics.http_connections == 0
    assert not face.site.channels


class Client:
    """Plays the steps of a script. After it has left, what it sends goes out on another connection."""

    def __init__(self, face: Face, stream: bytes) -> None:
        self._face = face
        self._stream = stream
        self._wire: Wire | None = None
        self._sent = b""

    def do(self, step: Step) -> None:
        """Do ``step``."""
        match step.verb:
            case "send":
                self._send(step.data.replace(STREAM, self._stream))
            case "wait":
                self._face.pass_time(step.seconds)
            case "stall":
                self._open().stall()
            case "resume":
                self._open().resume()
            case _:
                self.leave()

    def _open(self) -> Wire:
        if self._wire is None:
            self._wire = self._face.connect()
        return self._wire

    def _send(self, data: bytes) -> None:
        wire = self._open()
        if wire.closed:
            return
        wire.send(data)
        self._sent += data

    def stay(self, seconds: int) -> None:
        """Do nothing for so long: then the connection has been closed, unless a response is held on it."""
        if self._wire is None:
            return
        self._face.clock.pump([1.0] * seconds)
        held = [_transport_of(stream.writer) for stream in self._face.router.streams.values()]
        assert self._wire.closed or self._wire in held, "a connection is kept for nothing"

    def leave(self) -> None:
        """Leave, and look at what was answered."""
        wire, self._wire = self._wire, None
        if wire is None:
            return
        sent, self._sent = self._sent, b""
        if wire.closed != "aborted":
            wire.leave()
            check_answers(wire.take(), heads_asked=b"HEAD" in sent)


def _transport_of(writer: Any) -> Any:
    """The transport of a stream, or of a poll."""
    return writer.transport if hasattr(writer, "transport") else writer._channel.transport
