"""Publish the machine's own figures once a second, each on a topic of its own, as JSON. Linux: it reads /proc."""

import os
import time
from pathlib import Path

from comet.publish import Publisher

publisher = Publisher(os.environ.get("PUSH_SERVER", "127.0.0.1:7081"))
while True:
    one, five, fifteen, *_ = Path("/proc/loadavg").read_text().split()
    publisher.publish("machine/load", {"1m": float(one), "5m": float(five), "15m": float(fifteen)})
    memory = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    publisher.publish("machine/memory", {"total": int(memory["MemTotal:"]), "free": int(memory["MemAvailable:"])})
    disk = os.statvfs("/")
    publisher.publish("machine/disk", {"total": disk.f_blocks * disk.f_frsize, "free": disk.f_bavail * disk.f_frsize})
    time.sleep(1)
