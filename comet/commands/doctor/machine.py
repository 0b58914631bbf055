"""What the daemon says of its open files, and what is installed on this machine.

The trap: the distribution called Comet installs the same packages, so that neither ``import comet`` nor
``twistd comet`` can tell which one it is; their records can.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from comet.commands.doctor.case import Answer, Descriptors, Installed

OURS, THEIRS = "comet-push", "comet"
PLUGIN = "twisted/plugins/comet_plugin.py"


def descriptors(metrics: Answer | None) -> Descriptors | None:
    """How many files the daemon may open, as its figures have it; None if they are not to be seen."""
    if metrics is None or metrics.status != 200:
        return None
    names = ("process_max_fds", "process_open_fds", "comet_max_streams")
    limit, opened, streams = (_figure(metrics.body, name) for name in names)
    return Descriptors(limit, opened, streams or None) if limit else None


def _figure(exposition: bytes, name: str) -> int:
    match = re.search(rb"^%b ([0-9.e+]+)$" % name.encode(), exposition, re.MULTILINE)
    return int(float(match[1])) if match else 0


def installed() -> list[Installed]:
    """The distributions on ``sys.path`` that are called comet-push, or Comet; each place and version once."""
    found: dict[tuple[str, str], Installed] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] or ""
        known = re.sub(r"[-_.]+", "-", name).lower()
        if known in (OURS, THEIRS):
            place = str(Path(str(distribution.locate_file(""))).resolve())
            each = Installed("Comet" if known == THEIRS else OURS, distribution.version, place)
            found.setdefault((known, distribution.version), each)
    return list(found.values())


def plugins() -> list[str]:
    """Every plugin of that name which twistd may find, each file once."""
    paths = [Path(entry or ".") / PLUGIN for entry in sys.path]
    return list(dict.fromkeys(str(path.resolve()) for path in paths if path.is_file()))
