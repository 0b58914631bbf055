"""What can be asked of ``comet bench``, and what the machine allows."""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import socket
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import SplitResult

from comet.commands.arguments import Parser, reason
from comet.commands.asking import add_url, base_of
from comet.commands.bench.payload import SMALLEST
from comet.commands.bench.reports import Place, Plan
from comet.commands.bench.subscribers import Target
from comet.commands.bench.ways import WAYS
from comet.sending.link import WINDOW, address_of

SHARE = 250
"""Subscribers for which another process is worth its start."""

SPARE = 64
"""Descriptors that a process needs beside those of its subscribers."""

UNPACED_WINDOW = 32
"""Messages that a publisher without a rate has on their way: enough to keep the daemon busy."""

LARGEST_SIZE = 1024**2
SOURCES = 16**6

_EXAMPLE = """\
example:
  comet bench --subscribers 2000 --transports stream,sse,poll,websocket --rate 50 --seconds 20

Subscribers and publishers are on this machine, so that the latency, from before a message is sent until it is received,
is by one clock wherever the daemon is. The exit code is 1 if a message was lost without a word, came twice, out of
order or damaged.
"""


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what ``arguments`` say."""
    options = _parser().parse_args(arguments)
    options.server = options.server or _beside(options.url)
    if options.topics * options.publishers > SOURCES:
        raise SystemExit("comet bench: these are too many topics for so many publishers; ask for fewer of one")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what all processes have to know: the topics are new ones."""
    run = secrets.token_hex(4)
    return Plan(
        target=target_of(options.url),
        server=options.server,
        topics=[f"bench/{run}/{number}" for number in range(options.topics)],
        publishers=options.publishers,
        size=options.size,
        rate=options.rate / options.publishers,
        window=options.window or (WINDOW if options.rate else UNPACED_WINDOW),
        seconds=options.seconds,
        keys=options.keys,
    )


def places_of(options: argparse.Namespace) -> list[list[Place]]:
    """Return who is to subscribe in each process: each topic has a subscriber of each transport in turn."""
    ways: list[str] = options.transports
    count: int = options.subscribers
    places = [Place(ways[number % len(ways)], number // len(ways) % options.topics) for number in range(count)]
    processes = options.processes or min(len(os.sched_getaffinity(0)), -(-count // SHARE))
    size, more = divmod(count, min(processes, count))
    starts = [number * size + min(number, more) for number in range(min(processes, count) + 1)]
    return [places[start:end] for start, end in pairwise(starts)]


def target_of(url: SplitResult) -> Target:
    """Return where subscribers connect to; the name is looked up once for all."""
    if url.scheme != "http":
        raise SystemExit("comet bench: --url: its subscribers speak plain HTTP; give the daemon's own http:// URL")
    host, port = url.hostname or "", url.port or 80
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        said = reason(error) if isinstance(error, OSError) else "that is no name"
        raise SystemExit(f"comet bench: cannot find {host}: {said}; say where the daemon is with --url") from None
    return Target(family, address, url.netloc, base_of(url))


def raise_limit(places: Sequence[Sequence[Place]]) -> None:
    """Have as many files open as it takes, or end with what to do."""
    needed = max(map(len, places)) + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        enough = -(-sum(map(len, places)) // max(1, hard - SPARE))
        raise SystemExit(
            f"comet bench: {needed - SPARE:,} subscribers in one process need {needed:,} open files, and at most "
            f"{hard:,} are allowed here; raise the limit (ulimit -Hn), or ask for --processes {enough}"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _beside(url: SplitResult) -> str:
    """The TCP port of the daemon whose HTTP port ``url`` is, as it is by default."""
    host = url.hostname or ""
    return f"[{host}]:7081" if ":" in host else f"{host}:7081"


def _number(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a number from {least:,} to {most:,}")
        return value

    return parse


def _transports(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in WAYS:
            raise argparse.ArgumentTypeError(f"there is no transport {name!r}; there are {', '.join(WAYS)}")
    return list(dict.fromkeys(names))


def _processes(text: str) -> int:
    count: int = 0 if text == "auto" else _number(int, 1, 256)(text)
    return count


def _server(text: str) -> str:
    try:
        address_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "comet bench",
        description="Load a running daemon with subscribers and publishers, check every message, and measure.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_url(parser)
    add("--server", type=_server, metavar="HOST:PORT", help="the TCP port [port 7081 of the host of --url]")
    add("--subscribers", type=_number(int, 1, 1_000_000), default=1000, metavar="N", help="[%(default)s]")
    add("--topics", type=_number(int, 1, 1_000_000), default=1, metavar="N", help="topics to spread over [%(default)s]")
    add(
        "--transports",
        type=_transports,
        default="stream",
        metavar="NAMES",
        help=f"transports to spread over, of {','.join(WAYS)} [%(default)s]",
    )
    add(
        "--rate",
        type=_number(float, 0, 10_000_000),
        default=100.0,
        metavar="N",
        help="messages a second of all publishers together, 0 as fast as they are acknowledged [%(default)g]",
    )
    add(
        "--size",
        type=_number(int, SMALLEST, LARGEST_SIZE),
        default=100,
        metavar="BYTES",
        help=f"of a message, at least {SMALLEST} [%(default)s]",
    )
    add("--seconds", type=_number(float, 0.1, 86_400), default=10.0, metavar="N", help="of publishing [%(default)g]")
    add("--publishers", type=_number(int, 1, 256), default=1, metavar="N", help="a process each [%(default)s]")
    add(
        "--window",
        type=_number(int, 1, WINDOW),
        metavar="N",
        help=f"messages that a publisher has on their way at most [{UNPACED_WINDOW} with --rate 0, else {WINDOW}]",
    )
    add("--keys", action="store_true", help="give messages keys, so that a bench goes on over a restart of the daemon")
    add("--processes", type=_processes, default="auto", metavar="N", help="of subscribers, or auto [%(default)s]")
    add("--json", action="store_true", help="print the result as a line of JSON")
    return parser
