"""Following a held response of the transport ``stream``: one JSON object a line, over as many connections as it takes.

The newest position that was seen is the cursor of the next connection. The traps: a daemon that restarts says in its
``bye`` when to come back, each client at another time, and who comes earlier spoils that for all; and a connection on
which nothing comes is not quiet but dead once it is silent for longer than the daemon has promised.
"""

from __future__ import annotations

import base64
import http.client
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlencode

import msgspec

from comet.commands.arguments import reason
from comet.commands.asking import base_of, connection_to
from comet.commands.lines import Lines
from comet.sending.credentials import VARIABLE, authorization, of_environment

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
"""Seconds between two attempts to reconnect: at first, and at most."""

STABLE = 5.0
"""Seconds for which a connection must have lasted to count as a success."""

TIMEOUT = 20.0
"""Seconds that a response may take to begin."""

CHUNK = 65_536

_POSITION = re.compile("[0-9a-f]{8,32}-[0-9]+", re.ASCII)


class Line(msgspec.Struct):
    """One object of the stream: a message has a topic, what the daemon says in-band has ``comet``."""

    comet: str = ""
    id: str = ""
    topic: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data64: str | None = None
    position: str = ""
    since: str = ""
    until: str = ""
    silence: float = 25.0
    retry: int = 0
    reason: str = ""

    def payload(self) -> bytes:
        """The payload as it was published, but for the white space of JSON."""
        if self.data64 is not None:
            return base64.b64decode(self.data64)
        raw = bytes(self.data)
        return msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw


class Cursor:
    """Where to go on: ``since`` is what to ask for next.

    When ``open`` answers a position with another one, a gap follows; until it has come, the old position stands, or the
    gap would be lost with the connection. A gap's own end is no cursor: what is still kept may stand before it.
    """

    def __init__(self, since: str) -> None:
        self.since = since
        self._behind_gap = ""

    def advance(self, line: Line) -> None:
        """Take note of a line that has come."""
        if line.comet == "gap":
            self.since = self._behind_gap or self.since
        elif line.comet == "open" and _POSITION.fullmatch(self.since):
            self._behind_gap = line.position
        elif not (line.comet == "bye" and self._behind_gap):
            self.since = line.id or line.position or self.since
            self._behind_gap = ""


Lot = list[tuple[bytes, Line]]
"""What came at once: each line, with its end, and what it says."""


class Dropped(Exception):
    """The connection is lost, or the daemon ended the stream. Worth another try, if told so after ``pause`` seconds."""

    hint = ""

    def __init__(self, text: str, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause


class Unreachable(Dropped):
    """Nobody answers there."""

    hint = "; start the daemon with comet serve, or say where it is with --url"


class Wish(NamedTuple):
    """What is asked of which daemon, and where below its URL."""

    url: SplitResult
    patterns: Sequence[str]
    further: Sequence[tuple[str, str]] = ()
    path: str = "/topics"

    def lots(self, since: str) -> Iterator[Lot]:
        """Yield what comes from ``since`` on, until it ends in :exc:`Dropped`."""
        connection = connection_to(self.url, TIMEOUT)
        patterns = [("topic", pattern) for pattern in self.patterns]
        query = urlencode([*patterns, ("transport", "stream"), ("since", since), *self.further])
        try:
            target = f"{base_of(self.url)}{self.path}?{query}"
            connection.request("GET", target, headers=authorization(of_environment()))
            held = connection.sock  # the connection forgets it once the response holds it
            response = connection.getresponse()
            _check(response)
            lines = Lines()
            while data := response.read1(CHUNK):
                lot = [(raw + b"\n", msgspec.json.decode(raw, type=Line)) for raw in lines.feed(data)]
                for _, line in lot:
                    if line.comet == "open":
                        held.settimeout(line.silence * 2 + 5)
                yield lot
        except TimeoutError:
            raise Dropped("nothing came for longer than the daemon promised") from None
        except OSError as error:
            raise Unreachable(reason(error)) from None
        except http.client.HTTPException as error:
            raise Unreachable(f"that is not HTTP: {type(error).__name__}") from None
        finally:
            connection.close()
        raise Dropped("the connection was closed")


def _check(response: http.client.HTTPResponse) -> None:
    """Raise :exc:`Dropped` for a refusal that may pass, SystemExit for one that will not."""
    if response.status == 200:
        return
    body = response.read(65_536)
    try:
        detail = str(msgspec.json.decode(body, type=dict[str, object])["detail"])
    except (msgspec.DecodeError, KeyError):
        detail = f"the answer is {response.status} {response.reason}; --url takes the HTTP port of Comet"
    if response.status >= 500 or response.status == 429:
        raise Dropped(detail)
    hint = f"; the token of this command is in {VARIABLE}" if response.status in (401, 403) else ""
    raise SystemExit(f"comet: {detail}{hint}")


def follow(wish: Wish, since: str) -> Iterator[Lot]:
    """Yield what comes, over as many connections as it takes. The first must succeed."""
    cursor, lost, failures = Cursor(since), "", 0
    connected = False
    while True:
        began = time.monotonic()
        try:
            for lot in wish.lots(cursor.since):
                if lost:
                    _say("connected again")
                connected, lost = True, ""
                for _, line in lot:
                    cursor.advance(line)
                yield lot
                if lot and lot[-1][1].comet == "bye":
                    _take_leave(lot[-1][1])
        except msgspec.DecodeError:
            raise SystemExit("comet: what came is no stream of Comet; --url takes its HTTP port") from None
        except Dropped as dropped:
            if not connected:
                raise SystemExit(f"comet: cannot subscribe at {wish.url.geturl()}: {dropped}{dropped.hint}") from None
            if not lost:
                lost = str(dropped)
                _say(f"{lost}; reconnecting")
            # A daemon that accepts and drops at once would look like a success each time.
            failures = 0 if time.monotonic() - began > STABLE else failures + 1
            time.sleep(_pause(dropped, failures))


def _take_leave(bye: Line) -> None:
    """Come back when the daemon says so; not to where somebody else has come instead, or both would for ever."""
    if bye.reason == "replaced":
        raise SystemExit("comet: another reader has come for this consumer, which has one at a time")
    raise Dropped("the daemon ended the stream", bye.retry / 1000)


def _pause(dropped: Dropped, failures: int) -> float:
    if dropped.pause is not None and failures < 2:
        return dropped.pause
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)
    return max(backoff, dropped.pause or 0.0)


def _say(text: str) -> None:
    sys.stdout.flush()
    print(f"comet: {text}", file=sys.stderr)
