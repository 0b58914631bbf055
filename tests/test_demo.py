"""What feeds the demos: the machine's figures, the picture, and going on when the daemon goes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from comet.commands.demo.figures import Machine, Moved, cores, disks, memory, network, percents
from comet.commands.demo.main import MACHINE, PICTURE, RATE, feed
from comet.commands.demo.picture import HEIGHT, PERIOD, WIDTH, picture
from comet.publish import Draft, PublishFailed

STAT = "cpu  10 0 0 90 0 0 0 0 0 0\ncpu0 4 0 2 40 4 0 0 0 0 0\ncpu1 {busy} 0 0 {idle} 0 0 0 0 7 7\nintr 1 2 3\n"
NET = """Inter-|   Receive                          |  Transmit
 face |bytes    packets errs (…) multicast|bytes    packets errs (…) compressed
    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0
  eth0: 100 1 0 0 0 0 0 0 30 1 0 0 0 0 0 0
  eth1: 10 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0
"""
DISKS = """   8 0 sda 5 0 {read} 0 4 0 {written} 0 0 0 0
   8 1 sda1 5 0 10 0 4 0 20 0 0 0 0
   7 0 loop0 1 0 8 0 0 0 0 0 0 0 0
"""


def test_cores() -> None:
    """A core is as busy as it worked of the time that passed; waiting for a disk is not work."""
    before, now = (cores(STAT.format(busy=busy, idle=idle)) for busy, idle in ((10, 90), (40, 160)))
    assert before["cpu0"] == (6, 50)
    assert percents(before, now) == [0.0, 30.0]
    assert percents({}, now) == [0.0, 0.0]


def test_memory() -> None:
    """What is available is not in use."""
    assert memory("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n") == {"total": 1_024_000, "used": 614_400}
    assert memory("") == {"total": 0, "used": 0}


def test_counters() -> None:
    """The loopback is no network, and a partition no further disk."""
    assert network(NET) == Moved(110, 33)
    assert disks(DISKS.format(read=10, written=20)) == Moved(5_120, 10_240)


def test_machine(tmp_path: Path) -> None:
    """The figures are since the last look; what the system does not tell is nought."""
    for name, text in (("stat", STAT.format(busy=10, idle=90)), ("meminfo", "MemTotal: 2 kB\nMemAvailable: 1 kB\n")):
        (tmp_path / name).write_text(text)
    machine = Machine(tmp_path)
    assert machine.is_known()
    (tmp_path / "stat").write_text(STAT.format(busy=20, idle=90))
    figures = machine.figures()
    assert figures["cores"] == [0.0, 100.0]
    assert figures["memory"] == {"total": 2048, "used": 1024}
    assert figures["network"] == {"in": 0, "out": 0}
    assert not Machine(tmp_path / "nowhere").is_known()


def test_picture() -> None:
    """Each is a whole PNG, and it moves."""
    pictures = [picture(PERIOD * part / 12) for part in range(12)]
    assert len(set(pictures)) == 12
    for each in pictures:
        chunks = dict(_chunks(each))
        assert struct.unpack(">2I", chunks[b"IHDR"][:8]) == (WIDTH, HEIGHT)
        assert len(zlib.decompress(chunks[b"IDAT"])) == (WIDTH + 1) * HEIGHT
        assert b"IEND" in chunks


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(name + data),)
        found.append((name, data))
        at += length + 12
    return found


class Enough(Exception):
    """The test has seen what it wants."""


class Daemon:
    """A daemon that is gone for a while, and time that passes while somebody sleeps."""

    def __init__(self, gone: range, most: int) -> None:
        self.drafts: list[Draft] = []
        self._gone = gone
        self._most = most
        self._count = 0
        self._time = 0.0

    def publish(self, drafts: Sequence[Draft]) -> None:
        self._count += 1
        if self._count in self._gone:
            raise PublishFailed("nobody answers")
        self.drafts += drafts

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        assert seconds <= 1 / RATE
        if self._count == self._most:
            raise Enough
        self._time += seconds


def _figures() -> dict[str, Any]:
    return {"cores": [1.0]}


def test_feeding(capsys: pytest.CaptureFixture[str]) -> None:
    """There are so many pictures a second, and the figures once; while the daemon is gone it is said once."""
    daemon = Daemon(range(5, 8), 4 * RATE)
    with pytest.raises(Enough):
        feed(daemon.publish, _figures, daemon.now, daemon.sleep)
    topics = [draft.topic for draft in daemon.drafts]
    assert topics.count(PICTURE) == 4 * RATE - 3
    assert topics.count(MACHINE) == 4
    # It is not late, though the daemon was away.
    assert daemon.now() == pytest.approx(4 - 1 / RATE)
    first, gone, again = capsys.readouterr().out.splitlines()
    assert first == again
    assert "feeding demo/machine and demo/picture" in first
    assert gone == "comet demo: nobody answers; waiting for the daemon"
