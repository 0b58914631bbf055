"""What every bench does before it begins: share out the CPUs, and see to it that there are enough open files."""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.measuring import Place

SPARE_FILES = 200
"""Descriptors that a process needs beside its subscribers'."""


def place_for(work: Path, hasty: bool) -> Place:
    """The load and the server each on a CPU of its own, if there are two."""
    settle = 0.05 if hasty else 0.3
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        return Place(work, cpus[1], cpus[0], settle)
    say("there is one CPU: the load and the servers share it, and the figures say little")
    return Place(work, -1, -1, settle)


def raise_file_limit(subscribers: float) -> None:
    """Let this process, and those that it starts, have files for so many subscribers."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = int(subscribers) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"bench: {needed} open files are needed, the limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))


def names(text: str, known: Mapping[str, object]) -> list[str]:
    """Return the names in ``text``, with commas between them, as an option of the command line has them."""
    found = text.split(",")
    for name in found:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return found


def say(text: str) -> None:
    """Tell who watches."""
    print(text, file=sys.stderr, flush=True)
