"""What can be seen only on the machine itself: the daemon's limit of open files, and what is installed beside it.

The limit is in ``/proc``, where only one's own processes show what they hold; behind a proxy, or of another user, it is
in ``/metrics``. The trap: the distribution called Comet installs the same packages, so that neither ``import comet``
nor ``twistd comet`` can tell which one it is; their records can.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from comet.commands.doctor.case import Answer, Descriptors, Installed
from comet.config import settings

OURS, THEIRS = "comet-push", "comet"
PLUGIN = "twisted/plugins/comet_plugin.py"

_PROC = Path("/proc")
_CONFIG_FLAG = {"--config", "COMET_CONFIG"}


def descriptors(metrics: Answer | None, ports: Sequence[int]) -> Descriptors | None:
    """How many files the daemon may open: as the process has it that listens on one of ``ports``, else by its own
    figures."""
    process = next(_listeners(ports), None)
    if process is not None:
        return Descriptors(_limit(process), len(list(_descriptors(process))), _max_streams(process))
    if metrics is None or metrics.status != 200:
        return None
    limit, opened = (_figure(metrics.body, name) for name in ("process_max_fds", "process_open_fds"))
    return Descriptors(limit, opened, None) if limit else None


def _figure(exposition: bytes, name: str) -> int:
    match = re.search(rb"^%b ([0-9.e+]+)$" % name.encode(), exposition, re.MULTILINE)
    return int(float(match[1])) if match else 0


def _listeners(ports: Sequence[int]) -> Iterator[Path]:
    """Yield the processes of Comet that listen on one of ``ports``, as far as they may be looked at."""
    sockets = {f"socket:[{inode}]" for inode in _listening(ports)}
    for process in _PROC.glob("[0-9]*") if sockets else ():
        if _is_comet(process) and sockets & set(_descriptors(process)):
            yield process


def _is_comet(process: Path) -> bool:
    """Whether that is ``twistd comet`` or ``comet serve``."""
    return any(word.rpartition("/")[2] == "comet" for word in _words(process, "cmdline"))


def _listening(ports: Sequence[int]) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        for line in _words(_PROC, table, "\n")[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) in ports:
                yield fields[9]


def _descriptors(process: Path) -> Iterator[str]:
    try:
        for link in (process / "fd").iterdir():
            try:
                yield str(link.readlink())
            except OSError:
                continue
    except OSError:
        return


def _words(directory: Path, name: str, separator: str = "\0") -> list[str]:
    try:
        return (directory / name).read_text(errors="replace").split(separator)
    except OSError:
        return []


def _limit(process: Path) -> int:
    for line in _words(process, "limits", "\n"):
        if line.startswith("Max open files"):
            return int(line.split()[3])
    return 0


def _max_streams(process: Path) -> int | None:
    """The setting, as the process was told it: by flag, by variable, or not at all; None if that cannot be seen."""
    words, variables = _words(process, "cmdline"), _words(process, "environ")
    told = [value for flag, value in pairwise(words) if flag == "--max-streams"]
    told += [word.partition("=")[2] for word in words if word.startswith("--max-streams=")]
    told += [word.partition("=")[2] for word in variables if word.startswith("COMET_MAX_STREAMS=")]
    if not told and (_CONFIG_FLAG & {word.partition("=")[0] for word in (*words, *variables)}):
        return None  # it may be in the file
    setting = next(setting for setting in settings() if setting.name == "max-streams")
    try:
        return int(setting.parse(told[0])) if told else int(setting.default)
    except ValueError:
        return None


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
