"""One reader gets everything that is stored: from disk, or, with the memory store, from memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

from bench.durable.filling import fill, topic_of
from bench.durable.reader import Wanted
from bench.durable.stores import STORES, Ground, Log, Row
from bench.measures import peak, sample
from bench.measuring import Figures
from bench.scenarios import FAULTS
from bench.servers import HERE, Running, pinned

LONGEST = 300.0
"""Seconds after which a reader is killed, so that a daemon which hangs fails its run."""

RETAINED = 10
"""Messages of each topic that are in memory too; all others are on disk alone."""


class Reading(NamedTuple):
    """What is read: ``pattern``, and which messages those are."""

    pattern: str
    wanted: Wanted


def replay_all(ground: Ground, row: Row, options: Mapping[str, float]) -> Figures:
    """Read the messages of all topics, by a wildcard if there are several."""
    messages, topics = int(options["messages"]), int(options["topics"])
    pattern = "bench/*" if topics > 1 else topic_of(0, 1)
    return _replay(ground, row, options, Reading(pattern, Wanted(0, 1, messages)))


def replay_topic(ground: Ground, row: Row, options: Mapping[str, float]) -> Figures:
    """Read the messages of one topic among many."""
    messages, topics = int(options["messages"]), int(options["topics"])
    topic = topics // 2
    wanted = Wanted(topic, topics, len(range(topic, messages, topics)))
    return _replay(ground, row, options, Reading(topic_of(topic, topics), wanted))


def _replay(ground: Ground, row: Row, options: Mapping[str, float], reading: Reading) -> Figures:
    durable = bool(STORES[row.store])
    messages, topics = int(options["messages"]), int(options["topics"])
    log = Log(messages, topics, RETAINED if durable else messages)
    directory = nullcontext(ground.filled(log)) if durable else ground.directory()
    with directory as path, ground.daemon(row._replace(arguments=log.arguments()), path) as daemon:
        if not durable:
            fill(daemon.publish_port, messages, topics)
        return _figures(daemon, ground.place.load_cpu, reading)


def _figures(daemon: Running, cpu: int, reading: Reading) -> Figures:
    process = daemon.process.pid
    before = sample([process])
    found = _read(daemon.subscribe_port, cpu, reading)
    after = sample([process])
    messages = found["messages"]
    return {
        **judged(found, reading.wanted),
        "messages": messages,
        "milliseconds": found["seconds"] * 1e3,
        "first_byte": found["first_byte"] * 1e3,
        "messages_per_second": messages / found["seconds"] if found["seconds"] else None,
        "cpu_per_message": (after.seconds - before.seconds) * 1e6 / messages if messages else None,
        "reader_per_message": found["cpu"] * 1e6 / messages if messages else None,
        "growth": (peak(process) - before.bytes) / 1e6,
    }


def judged(found: Mapping[str, Any], wanted: Wanted) -> Figures:
    """What is wrong with what a reader has ``found``."""
    faults: Figures = dict.fromkeys(FAULTS)
    lost = wanted.messages - found["messages"]
    # A gap that was told of is a loss nonetheless: everything is on disk.
    faults["lost"] = max(lost, found["gaps"], 0)
    faults["twice"] = max(-lost, 0)
    faults["out_of_order"] = found["misplaced"]
    return faults


def _read(port: int, cpu: int, reading: Reading) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.durable.reader", str(port), reading.pattern, *map(str, reading.wanted)]
    with (
        pinned(cpu),
        subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader,
    ):
        try:
            out, err = reader.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{reading.pattern} is not read in {LONGEST:g} seconds") from None
        finally:
            reader.kill()
    if reader.returncode:
        raise RuntimeError(f"the reader ended with {reader.returncode}: {err.strip()[-500:]}")
    found: dict[str, Any] = json.loads(out)
    return found
