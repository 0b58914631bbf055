"""Comet with one store or another: how each is started, and files that have their messages already.

A daemon that is published to gets a file of its own, which is gone afterwards. One that is only read from gets a file
that was filled once for all: a million messages are not published anew for each run.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.durable.filling import fill
from bench.measuring import Place
from bench.servers import FACES, Running, Server, running, servers

STORES: Mapping[str, tuple[str, ...]] = {
    "memory": (),
    "commit": ("--durability", "commit"),
    "fsync": ("--durability", "fsync"),
}
"""What the daemon is told, beside where the file is."""

FACE = FACES["comet"]


class Row(NamedTuple):
    """One side of a comparison: a daemon with ``store`` and further ``arguments``. ``options`` are those of the
    scenario that differ."""

    store: str
    arguments: tuple[str, ...] = ()
    options: Mapping[str, float] = {}


class Log(NamedTuple):
    """Messages that are stored: so many, on so many topics. ``retained`` of each topic are in memory, too."""

    messages: int
    topics: int
    retained: int

    def arguments(self) -> tuple[str, ...]:
        """What a daemon is told to have just those in memory."""
        return ("--retain-messages", str(self.retained), "--retain-bytes", "1GiB")


class Ground(NamedTuple):
    """Where everything happens: ``comet`` is the command that starts a daemon, ``files`` the directory of its files."""

    place: Place
    comet: str
    files: Path

    def server(self, row: Row, directory: Path) -> Server:
        """Comet with the store of ``row``, its file in ``directory``."""
        comet = servers(self.place.work, self.comet)["comet"]
        further = (*store_arguments(row.store, directory), *row.arguments)
        return Server(lambda work, ports: [*comet.command(work, ports), *further], comet.ports)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory for the file of one run."""
        with tempfile.TemporaryDirectory(dir=self.files) as directory:
            yield Path(directory)

    @contextmanager
    def daemon(self, row: Row, directory: Path) -> Iterator[Running]:
        """A daemon that listens."""
        with running(self.server(row, directory), FACE, self.place.work, (), self.place.server_cpu) as daemon:
            yield daemon

    def filled(self, log: Log, *, killed: bool = False) -> Path:
        """The directory of a file that has ``log``. With ``killed`` it is as a daemon leaves it that has no time to
        close it."""
        closed = self.files / f"{log.messages}-{log.topics}"
        open_ = closed.with_name(f"{closed.name}-killed")
        if not closed.exists():
            with self.directory() as directory:
                with self.daemon(Row("commit", log.arguments()), directory) as daemon:
                    fill(daemon.publish_port, log.messages, log.topics)
                    daemon.process.send_signal(signal.SIGSTOP)  # so that it writes nothing in the middle of the copy
                    shutil.copytree(directory, open_)
                    daemon.process.send_signal(signal.SIGCONT)
                shutil.copytree(directory, closed)
        return open_ if killed else closed


def store_arguments(store: str, directory: Path) -> Sequence[str]:
    """Return what starts the daemon with ``store``."""
    return ("--store", f"sqlite:{directory / 'log'}", *STORES[store]) if STORES[store] else ()


def size_of(directory: Path) -> int:
    """The bytes of all files in ``directory``."""
    return sum(path.stat().st_size for path in directory.iterdir())
