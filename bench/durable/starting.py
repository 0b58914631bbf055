"""From starting the daemon to serving, and the memory that takes, with so many messages stored."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.durable.filling import topic_of
from bench.durable.stores import Ground, Log, Row
from bench.measures import peak, sample
from bench.measuring import Figures
from bench.scenarios import FAULTS

PATIENCE = 60.0
"""Seconds after which a daemon that is not ready will not be."""

Answer = tuple[int, bytes]


def start(ground: Ground, row: Row, options: Mapping[str, float]) -> Figures:
    """Start a daemon on a file with ``messages``; with ``killed`` one that was not closed."""
    messages, topics = int(options.get("messages", 0)), int(options["topics"])
    log = Log(messages, topics, int(options["retained"]))
    with _file(ground, log, bool(options.get("killed"))) as directory:
        begun = time.monotonic()
        with ground.daemon(row._replace(arguments=log.arguments()), directory) as daemon:
            _until_ready(daemon.subscribe_port)
            seconds = time.monotonic() - begun
            used = sample([daemon.process.pid])
            return {
                **dict.fromkeys(FAULTS),
                "lost": missing(daemon.subscribe_port, log) if messages else None,
                "seconds": seconds,
                "cpu_seconds": used.seconds,
                "resident": used.bytes / 1e6,
                "peak": peak(daemon.process.pid) / 1e6,
            }


@contextmanager
def _file(ground: Ground, log: Log, killed: bool) -> Iterator[Path]:
    """A directory to start on: a copy, so that each run finds the same."""
    with ground.directory() as directory:
        if log.messages:
            shutil.copytree(ground.filled(log, killed=killed), directory, dirs_exist_ok=True)
        yield directory


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while _get(port, "/readyz")[0] != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the daemon is not ready after {PATIENCE:g} seconds")
        time.sleep(0.005)


def missing(port: int, log: Log) -> int:
    """How many of the first and the newest messages are not there: 0, 1 or 2."""
    ends = {"first&limit=1": 0, "-1": log.messages - 1}
    return sum(_number(port, topic_of(number, log.topics), since) != number for since, number in ends.items())


def _number(port: int, topic: str, since: str) -> int | None:
    """The number of the message that a poll of ``topic`` brings first."""
    status, body = _get(port, f"/topics?topic={quote(topic)}&transport=poll&wait=0&since={since}")
    if status != 200:
        raise RuntimeError(f"a poll was answered by {status}: {body[:300]!r}")
    messages = json.loads(body)["messages"]
    return int(messages[0]["data"][:10]) if messages else None


def _get(port: int, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
