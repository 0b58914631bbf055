"""A process that publishes: over the TCP port, at a rate, or as fast as it is acknowledged.

Each message is stamped when it is made. With keys, what was not acknowledged when a connection was lost is sent again,
and stays one message; without, nobody could tell whether it was stored.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from itertools import count

from comet.commands.bench.payload import clock, fillers, head
from comet.commands.bench.processes import Link as Parent
from comet.commands.bench.reports import Failed, Finished, Go, Plan, Published
from comet.sending.credentials import VARIABLE, Denied, of_environment
from comet.sending.link import Link, Lost, address_of
from comet.sending.outbox import Item, Outbox, Patience
from comet.sending.wire import NotRESP, Outgoing

TOLD = 0.5
"""Seconds between two words to the parent."""

TURN = 0.001
"""Seconds that what is due may wait, so that it goes out together."""

PATIENCE = 15.0
"""Seconds without an acknowledgement after which the daemon is given up."""


class GivenUp(Exception):
    """It cannot be published any more; the text says why."""


def publish(plan: Plan, publisher: int, parent: Parent) -> None:
    """Publish as planned, once the parent says so."""
    try:
        author = Author(plan, publisher, parent)
        author.connect()
        while not any(isinstance(said, Go) for said in parent.heard(TOLD)):
            pass
        author.run()
    except GivenUp as error:
        parent.tell(Failed(str(error)))


def messages(plan: Plan, publisher: int) -> Iterator[Outgoing]:
    """Yield what a publisher sends, each made when it is asked for: to the topics in turn."""
    rest = fillers(plan.size)
    for sequence in count():
        filler = rest[sequence % len(rest)]
        for topic, name in enumerate(plan.topics):
            source = plan.source(publisher, topic)
            key = f"{name}-{source}-{sequence}" if plan.keys else ""
            yield Outgoing(name, head(source, sequence, clock()) + filler, key=key)


class Author:
    """One publisher and its connection."""

    def __init__(self, plan: Plan, publisher: int, parent: Parent) -> None:
        self._plan = plan
        self._publisher = publisher
        self._parent = parent
        self._link: Link | None = None
        self._outbox = Outbox()
        self._patience = Patience(PATIENCE)
        self._heard = 0.0
        self._made = 0
        self._stored = 0

    def connect(self) -> None:
        """Connect for the first time, which must succeed."""
        try:
            self._link = self._dialled()
        except Lost as error:
            raise GivenUp(
                f"cannot reach {self._plan.server}: {error}; start the daemon with comet serve, "
                "or say where its TCP port is with --server"
            ) from None

    def _dialled(self) -> Link:
        try:
            return Link.dialled(address_of(self._plan.server), PATIENCE, of_environment())
        except Denied as denied:
            raise GivenUp(f"{self._plan.server} does not take the token in {VARIABLE}: {denied}") from None

    def run(self) -> None:
        """Publish until the time is over and everything is acknowledged."""
        begin, busy, told = time.monotonic(), time.process_time(), 0.0
        source = messages(self._plan, self._publisher)
        end, now = begin + self._plan.seconds, begin
        self._patience.renew()
        while now < end or self._outbox.unanswered:
            if now < end:
                self._make(source, now - begin)
            self._turn(max(TURN, self._pause(now - begin)))
            now = time.monotonic()
            if now >= told:
                told = now + TOLD
                self._parent.tell(Published(self._stored))
                list(self._parent.heard())
        seconds = time.monotonic() - begin
        self._parent.tell(Published(self._stored))
        self._parent.tell(Finished(self._totals(), seconds, (time.process_time() - busy) / max(seconds, TURN)))

    def _make(self, source: Iterator[Outgoing], elapsed: float) -> None:
        """Put what is due into the outbox: as much as the rate says, and no more than the window."""
        outbox, plan = self._outbox, self._plan
        room = plan.window - outbox.outstanding - outbox.waiting - outbox.postponed
        if plan.rate:
            room = min(room, int(elapsed * plan.rate) + 1 - self._made)
        for _ in range(room):
            outbox.put(Item(self._made, next(source)))
            self._made += 1

    def _pause(self, elapsed: float) -> float:
        """How long there is nothing to send unless something comes."""
        if not self._plan.rate:
            return TOLD
        return min(TOLD, self._made / self._plan.rate - elapsed)

    def _turn(self, pause: float) -> None:
        """Send what waits, and take the replies that come within ``pause`` seconds."""
        try:
            if self._link is None:
                self._link = self._dialled()
            self._exchange(self._link, pause)
        except NotRESP:
            raise GivenUp(
                f"{self._plan.server} does not speak RESP; --server takes the TCP port of Comet, by default 7081"
            ) from None
        except Lost as error:
            self._lose(error)

    def _exchange(self, link: Link, pause: float) -> None:
        outbox = self._outbox
        if outbox.postponed and not outbox.outstanding:
            self._wait("it refuses for too long")
            outbox.resume()
        if not outbox.outstanding:
            self._heard = time.monotonic()
        while outbox.waiting:
            link.send(outbox.take(link.batch, link.batch_bytes))
        if not select.select([link], [], [], pause)[0]:
            if outbox.outstanding and time.monotonic() > self._heard + PATIENCE:
                raise GivenUp(
                    f"{self._plan.server} has not answered for {PATIENCE:g} seconds; look at it with comet top"
                )
            return
        self._heard = time.monotonic()
        for reply in link.receive():
            outbox.answer(reply)
            if reply.code and not reply.retry:
                raise GivenUp(f"the daemon refuses to publish: {reply.detail}")
            if not reply.code:
                self._stored += 1
                self._patience.renew()

    def _lose(self, error: Lost) -> None:
        """Go on over another connection, if what is lost with this one can be told."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._outbox.outstanding and not self._plan.keys:
            raise GivenUp(
                f"the connection to {self._plan.server} is lost: {error}; with --keys a bench goes on after that"
            )
        self._outbox.lost()
        self._wait(str(error))

    def _wait(self, why: str) -> None:
        pause = self._patience.pause()
        if pause is None:
            raise GivenUp(f"cannot publish to {self._plan.server}: {why}; is it still there?")
        time.sleep(pause)

    def _totals(self) -> dict[int, int]:
        """How many messages there were from each source."""
        topics = len(self._plan.topics)
        whole, more = divmod(self._made, topics)
        return {self._plan.source(self._publisher, topic): whole + (topic < more) for topic in range(topics)}
