"""``comet sub``: hold the transport ``stream`` (one JSON object a line) and print what comes.

When the connection drops, it goes on from where it was: the newest position that it has seen is its cursor. The trap:
a terminal obeys control characters, and a message may hold any; they are shown, not sent to it.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from comet.commands.arguments import Parser, reason

LONGEST_PAUSE = 8.0
"""The most seconds between two attempts to reconnect."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


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

    def payload(self) -> bytes:
        """The payload as it was published, but for the white space of JSON."""
        if self.data64 is not None:
            return base64.b64decode(self.data64)
        raw = bytes(self.data)
        return msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw

    def cursor(self) -> str:
        """The position up to which everything has come with this line, if it says so."""
        return self.id or self.position or self.until


class Dropped(Exception):
    """The connection is lost, or the daemon ended the stream. Worth another try after ``pause`` seconds."""

    def __init__(self, text: str, pause: float = 0.0) -> None:
        super().__init__(text)
        self.pause = pause


class Wish(NamedTuple):
    """What is asked of which daemon."""

    url: SplitResult
    patterns: Sequence[str]

    def lines(self, since: str) -> Iterator[bytes]:
        """Yield the lines of a stream from ``since`` on, until it ends in :exc:`Dropped`."""
        connection = self._connection()
        query = urlencode([*(("topic", each) for each in self.patterns), ("transport", "stream"), ("since", since)])
        try:
            connection.request("GET", f"{self.url.path.rstrip('/')}/topics?{query}")
            held = connection.sock  # the connection forgets it once the response holds it
            response = connection.getresponse()
            if response.status != 200:
                _refused(response)
            while line := response.readline():
                yield line
                if b'"comet":"open"' in line:
                    held.settimeout(msgspec.json.decode(line, type=Line).silence * 2 + 5)
        except TimeoutError:
            raise Dropped("nothing came for longer than the daemon promised") from None
        except OSError as error:
            raise Dropped(reason(error)) from None
        except http.client.HTTPException as error:
            raise Dropped(f"that is not HTTP: {type(error).__name__}") from None
        finally:
            connection.close()
        raise Dropped("the connection was closed")

    def _connection(self) -> http.client.HTTPConnection:
        secure = self.url.scheme == "https"
        make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return make(self.url.hostname or "", self.url.port, timeout=20)


def _refused(response: http.client.HTTPResponse) -> NoReturn:
    body = response.read(65_536)
    try:
        detail = msgspec.json.decode(body, type=dict[str, object])["detail"]
    except (msgspec.DecodeError, KeyError):
        detail = f"the answer is {response.status} {response.reason}; --url takes the HTTP port of Comet"
    if response.status >= 500:
        raise Dropped(str(detail))
    raise SystemExit(f"comet: {detail}")


def follow(wish: Wish, since: str) -> Iterator[tuple[bytes, Line]]:
    """Yield each line and what it says, over as many connections as it takes. The first must succeed."""
    connected, failures = False, 0
    while True:
        try:
            for raw in wish.lines(since):
                line = msgspec.json.decode(raw, type=Line)
                if failures:
                    print("comet: connected again", file=sys.stderr)
                connected, failures = True, 0
                since = line.cursor() or since
                yield raw, line
                if line.comet == "bye":
                    raise Dropped("the daemon ended the stream", line.retry / 1000)
        except msgspec.DecodeError:
            raise SystemExit("comet: what came is no stream of Comet; --url takes its HTTP port") from None
        except Dropped as dropped:
            if not connected:
                raise SystemExit(
                    f"comet: cannot subscribe at {wish.url.geturl()}: {dropped}; "
                    "start the daemon with comet serve, or say where it is with --url"
                ) from None
            if not failures:
                print(f"comet: {dropped}; reconnecting", file=sys.stderr)
            time.sleep(max(dropped.pause, min(LONGEST_PAUSE, 0.25 * 2**failures)) * random.uniform(0.5, 1))
            failures += 1


def _human(_: bytes, line: Line) -> bytes:
    if line.data64 is not None:
        return f"{line.topic}  ({len(line.payload())} bytes)\n".encode()
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line.payload().decode())
    return f"{line.topic}  {text}\n".encode()


def _json(raw: bytes, _: Line) -> bytes:
    return raw


def _raw(_: bytes, line: Line) -> bytes:
    return line.payload()


def main(arguments: Sequence[str]) -> int:
    """Print messages until ``--count`` of them have come; returns 0."""
    options = _parser().parse_args(arguments)
    write, left = sys.stdout.buffer.write, options.count
    for raw, line in follow(Wish(options.url, options.patterns), options.since):
        if line.comet == "gap":
            print(f"comet: messages after {line.since} up to {line.until} may be missing", file=sys.stderr)
        elif not line.comet:
            write(options.shown(raw, line))
            sys.stdout.buffer.flush()
            left -= 1
            if left == 0:
                break
    return 0


def _url(text: str) -> SplitResult:
    url = urlsplit(text)
    try:
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a URL such as http://127.0.0.1:7080/")
    return url


def _parser() -> argparse.ArgumentParser:
    parser = Parser("comet sub", description="Subscribe to topics or patterns, and print each message as it comes.")
    parser.add_argument("patterns", metavar="PATTERN", nargs="+", help="a topic, or with * and ** many of them")
    parser.add_argument(
        "--since", default="now", help="now, first, last, -N (the newest N), or a position [%(default)s]"
    )
    shape = parser.add_mutually_exclusive_group()
    _format(shape, "--json", _json, "print each message as a line of JSON")
    _format(shape, "--raw", _raw, "print each payload as it is, with nothing between")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="stop after N messages")
    parser.add_argument(
        "--url", type=_url, default="http://127.0.0.1:7080/", metavar="URL", help="the HTTP port [%(default)s]"
    )
    parser.set_defaults(shown=_human)
    return parser


def _format(
    group: argparse._MutuallyExclusiveGroup, flag: str, shown: Callable[[bytes, Line], bytes], text: str
) -> None:
    group.add_argument(flag, dest="shown", action="store_const", const=shown, help=text)
