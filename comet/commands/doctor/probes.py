"""The transports, opened through the URL and listened to while messages are published.

All are held at the same time, as many browsers would, and read in one loop. A message is found in what comes by a text
that is in no other, whatever the framing makes of it: letters and digits go unchanged through each of them.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from comet.commands.doctor.case import Answer, Experiment, Held, Idle
from comet.commands.doctor.requests import answer_of
from comet.commands.doctor.responses import Response
from comet.commands.doctor.target import Target
from comet.commands.doctor.transports import TRANSPORTS, Wanted, accepts, masked_ping, websocket_key
from comet.commands.doctor.wire import Conversation, Trust, Unreachable, connect, listen

ROW = 5
GAP = 0.05
"""Messages in a row, and the seconds between them."""

TOGETHER = 0.01
"""Seconds within which what comes is taken to have come at once."""

PADDING = 65_536

PING = b"doctor"
PONG = b"\x8a\x06doctor"

_GZIP = "gzip, deflate"
_BROWSERS = "gzip, deflate, br, zstd"
_STREAM = re.compile(rb'"stream":"([^"]+)"')
_SILENCE = re.compile(rb'\\?"silence\\?":([0-9.]+)')


@dataclass(slots=True)
class Probe:
    """A transport that is held, or why it is not."""

    wanted: Wanted
    conversation: Conversation[Response] | None
    trouble: str = ""

    def response(self) -> Response:
        """What has come."""
        return Response() if self.conversation is None else self.conversation.reader

    def answer(self) -> Answer:
        """The head of what has come, and the body of a refusal."""
        if self.conversation is None:
            return Answer(trouble=self.trouble)
        return answer_of(self.conversation)

    def first(self) -> float | None:
        """Seconds from the request to the first byte of the body."""
        first_at = self.response().first_at()
        return None if first_at is None or self.conversation is None else first_at - self.conversation.sent_at

    def found_at(self, text: str) -> float | None:
        """When the message ``text`` came."""
        return self.response().found_at(text.encode())


class Probes:
    """Holds each transport on one topic. To be closed."""

    def __init__(self, target: Target, trust: Trust, topic: str) -> None:
        self._target = target
        self._trust = trust
        self._topic = topic
        self._twin: Probe | None = None
        self._key = websocket_key()
        self.all: list[Probe] = []

    # -- opening ------------------------------------------------------------------------------------------------------

    def open(self, since: str, patience: float) -> None:
        """Ask for all transports, the poll after ``since``, and wait for the first bytes of the others."""
        asked = [(wanted, self._request(wanted, since)) for wanted in TRANSPORTS]
        sse = next(pair for pair in asked if pair[0].name == "sse")
        *self.all, self._twin = self._opened([*asked, sse])
        streams = [probe for probe in (*self.all, self._twin) if probe.wanted.name != "poll"]
        self._listen(lambda: all(probe.first() is not None or probe.response().complete for probe in streams), patience)
        for probe in self.all:
            if probe.wanted.name == "websocket" and probe.conversation and probe.response().status == 101:
                probe.conversation.say(masked_ping(PING))

    def experiment(self, patience: float) -> Experiment:
        """Find out what holds a stream back: ask for it with padding, and without compression. And find out whether
        what a browser takes besides gzip is applied."""
        sse = next(wanted for wanted in TRANSPORTS if wanted.name == "sse")
        path = f"/topics/{self._topic}?transport=sse"
        plain = {**sse.fields, "Accept-Encoding": "identity"}
        requests = (
            (sse, self._target.request(f"{path}&padding={PADDING}", plain)),
            (sse, self._target.request(f"{path}&_=plain", plain)),
            (sse, self._target.request(f"{path}&_=any", {**sse.fields, "Accept-Encoding": _BROWSERS})),
        )
        tried = self._opened(requests)
        held = any(probe.wanted.name == "sse" and probe.first() is None for probe in self.all)
        ready: Callable[[], bool] = lambda: all(probe.response().head_at for probe in tried)  # noqa: E731
        listen(_conversations(tried), ready, patience)
        padded, unpadded, any_ = (probe.response() for probe in tried)
        found = Experiment(
            len(padded.body) if held else 0, len(unpadded.body) if held else 0, any_.header("content-encoding")
        )
        _close(tried)
        return found

    def _request(self, wanted: Wanted, since: str) -> bytes:
        fields: dict[str, str] = {"Accept-Encoding": _GZIP, **wanted.fields}
        query = f"transport={wanted.name}"
        if wanted.name == "poll":
            query += f"&since={since}"
        if wanted.name == "websocket":
            fields["Sec-WebSocket-Key"] = self._key
        return self._target.request(f"/topics/{self._topic}?{query}", fields)

    def _opened(self, asked: Sequence[tuple[Wanted, bytes]]) -> list[Probe]:
        with ThreadPoolExecutor(len(asked)) as threads:
            probes = list(threads.map(lambda pair: self._connected(pair[0]), asked))
        for probe, (_, request) in zip(probes, asked, strict=True):
            if probe.conversation is not None:
                probe.conversation.ask(request)
        return probes

    def _connected(self, wanted: Wanted) -> Probe:
        try:
            return Probe(wanted, Conversation(connect(self._target, self._trust), Response()))
        except (Unreachable, ssl.SSLError) as error:
            return Probe(wanted, None, str(error))

    # -- listening ----------------------------------------------------------------------------------------------------

    def conversations(self) -> Sequence[Conversation[Any]]:
        """What is to be listened to."""
        return _conversations([*self.all, *([self._twin] if self._twin else [])])

    def wait_for(self, texts: Sequence[str], patience: float) -> None:
        """Wait until each message has come wherever anything comes at all."""
        probes = [probe for probe in self.all if probe.wanted.name == "poll" or probe.first() is not None]
        if len(texts) > 1:
            probes = [probe for probe in probes if probe.wanted.name != "poll"]

        def come() -> bool:
            return all(probe.response().complete or all(map(probe.found_at, texts)) for probe in probes)

        self._listen(come, patience)

    def pause(self, seconds: float) -> None:
        """Read for some time."""
        self._listen(lambda: False, seconds)

    def _listen(self, until: Callable[[], bool], seconds: float) -> None:
        listen(self.conversations(), until, seconds)

    # -- silence ------------------------------------------------------------------------------------------------------

    def idle(self, seconds: float, since: str, progress: Callable[[float], None]) -> dict[str, Idle]:
        """Hold everything without a message for ``seconds``, the poll anew; return what became of each that was open.
        ``progress`` is told how many seconds have passed."""
        for index, probe in enumerate(self.all):
            if probe.wanted.name == "poll":
                _close([probe])
                self.all[index] = self._opened([(probe.wanted, self._request(probe.wanted, since))])[0]
        held = self._open()
        began = time.monotonic()
        while self._open() and (passed := time.monotonic() - began) < seconds:
            progress(passed)
            self.pause(min(1.0, seconds - passed))
        now = time.monotonic()
        return {probe.wanted.name: _idle_of(probe, began, now) for probe in held}

    def _open(self) -> list[Probe]:
        return [probe for probe in self.all if not probe.response().complete]

    # -- what was found -----------------------------------------------------------------------------------------------

    def silence(self) -> float | None:
        """The longest silence that the daemon promises, if it could be heard."""
        found = (_SILENCE.search(probe.response().body) for probe in self.all)
        return next((float(match[1]) for match in found if match), None)

    def twin(self) -> str:
        """The stream of a second client that asked for the same as the first."""
        return "" if self._twin is None else _stream_of(self._twin)

    def message(self, text: str) -> bytes:
        """The JSON object of the message ``text``, if it came somewhere as one."""
        pattern = re.compile(rb'\{"id"[^{}]*' + text.encode() + rb"[^{}]*\}")
        found = (pattern.search(probe.response().body) for probe in self.all)
        return next((match[0] for match in found if match), b"")

    def results(self, stored: Mapping[str, float]) -> list[Held]:
        """What each transport did; ``stored`` is when the publisher of each message was told, the single one first."""
        return [self._result(probe, stored) for probe in self.all]

    def _result(self, probe: Probe, stored: Mapping[str, float]) -> Held:
        late = [_late(probe.found_at(text), at) for text, at in stored.items()]
        times = sorted(at for text in list(stored)[1:] if (at := probe.found_at(text)) is not None)
        response = probe.response()
        return Held(
            transport=probe.wanted.name,
            answer=probe.answer(),
            first=probe.first(),
            single=late[0] if late else None,
            row=() if probe.wanted.name == "poll" else tuple(late[1:]),
            clumps=sum(1 for a, b in pairwise([-1.0, *times]) if b - a > TOGETHER),
            stream=_stream_of(probe),
            ended=probe.conversation is None or response.ended_at is not None,
            handshake=accepts(self._key, response.header("sec-websocket-accept")),
            ponged=response.found_at(PONG) is not None,
        )

    def close(self) -> None:
        """Leave."""
        _close([*self.all, *([self._twin] if self._twin else [])])


def _conversations(probes: Sequence[Probe]) -> list[Conversation[Response]]:
    return [probe.conversation for probe in probes if probe.conversation is not None]


def _close(probes: Sequence[Probe]) -> None:
    for conversation in _conversations(probes):
        conversation.close()


def _stream_of(probe: Probe) -> str:
    match = _STREAM.search(probe.response().body)
    return match[1].decode("latin-1") if match else ""


def _late(found_at: float | None, stored_at: float) -> float | None:
    return None if found_at is None else max(0.0, found_at - stored_at)


def _idle_of(probe: Probe, began: float, now: float) -> Idle:
    response = probe.response()
    asked_at = 0.0 if probe.conversation is None else probe.conversation.sent_at
    before = max((at for at in response.times() if at <= began), default=asked_at)
    beats = [at for at in response.times() if at > began]
    ended = response.ended_at or (response.last_at() if response.complete else None) or now
    moments = [before, *beats, ended]
    quiet = max(b - a for a, b in pairwise(moments))
    cut = None if response.ended_at is None else moments[-1] - moments[-2]
    return Idle(ended - began, len(beats), quiet, cut, response.status)
