"""Subscribers that outlive the daemon, each in a thread of its own: they resume by the last position that they had."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle

from tests.crash.accounts import Reading, Seen, Told, offset_of
from tests.crash.moments import Moments
from tests.e2e.held import Held, connected, payload
from tests.e2e.waiting import PATIENCE
from tests.framing_readers import Object

AGAIN = 0.02
"""Seconds until the next try of one who found nobody."""


class Reader:
    """Reads ``patterns`` from the first message on; each connection is over the next of ``transports``. ``rest`` is how
    many seconds a slow one rests between two reads, and ``limit`` how many messages a page of its may have."""

    def __init__(
        self,
        name: str,
        patterns: Sequence[str],
        transports: Sequence[str],
        moments: Moments,
        rest: float = 0.0,
        limit: int = 500,
    ) -> None:
        self.reading = Reading(name, patterns)
        self.faults: list[str] = []
        self.cursor = "first"
        self.connections = 0
        self._transports = cycle(transports)
        self._query = "&".join([f"limit={limit}", *(f"topic={pattern}" for pattern in patterns)])
        self._moments = moments
        self._rest = rest
        self._over = threading.Event()
        self._hurry = threading.Event()
        self._own = False
        self._held: Held | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, place: str) -> None:
        """Begin to read at ``place``, ``host:port``."""
        self._place = place
        self._thread.start()

    def hurry(self) -> None:
        """Rest no more."""
        self._hurry.set()

    def finish(self) -> None:
        """End at once."""
        self._over.set()
        self._hurry.set()
        if (held := self._held) is not None:
            with suppress(OSError):
                held.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive(), self.reading.name

    def end(self) -> str:
        """The position of the last message it has, or up to which a gap was told; empty before the first."""
        items = self.reading.items
        if not items:
            return ""
        return items[-1].position if isinstance(items[-1], Seen) else items[-1].until

    def reached(self) -> int:
        """Its offset."""
        return offset_of(self.end() or "-0")

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(OSError), Held(connected(self._place)) as held:
                self._held = held
                self._follow(held, next(self._transports))
            self._over.wait(AGAIN)

    def _follow(self, held: Held, transport: str) -> None:
        try:
            self._ask(held, transport)
            while not self._over.is_set():
                answered = self._take(held)
                if self._rest:
                    self._hurry.wait(self._rest)
                if answered:
                    self._ask(held, transport)
                elif not held.read():
                    return
        except (AssertionError, ValueError) as error:
            # A daemon that dies ends a head in the middle; what is whole has to be right.
            if held.status not in (0, 503):
                self.faults.append(f"{self.reading.name}: {error!r}")

    def _ask(self, held: Held, transport: str) -> None:
        self.connections += 1
        held.status = 0
        held.ask(self._target(transport), transport)

    def _target(self, transport: str) -> str:
        return f"/topics?transport={transport}&since={self.cursor}&{self._query}"

    def _take(self, held: Held) -> bool:
        """Write down what has come; returns whether it was the answer to a poll."""
        objects, held.objects = held.objects, []
        for found in objects:
            self._write_down(found)
        if any("id" in found for found in objects):
            self._moments.reached("reported" if self._own else "delivered")
            self._own = False
        return any("next" in found for found in objects)

    def _write_down(self, found: Object) -> None:
        if found.get("comet") == "gap":
            self.reading.items.append(Told(found["since"], found["until"]))
        elif "id" in found and found["topic"].startswith("$"):
            self._own = True  # what the daemon says of itself is not kept, but has its place in the log
        elif "id" in found:
            self.reading.items.append(seen(found))
        for name in ("id", "next", "position"):
            if found.get(name):
                self.cursor = str(found[name])


def seen(message: Object) -> Seen:
    """A message as it is written down. What ten readers have is in memory once."""
    return Seen(*map(sys.intern, (message["id"], message["topic"], payload(message))))
