"""The loop of ``comet pub``: messages go out as they come, and their replies come in at the same time.

What is sent and not answered stays in the outbox, so it is sent again when the connection is lost, under the same keys.
The trap: keys that are made for every line of a big file would fill the daemon's memory of keys (``max-keys``), and
nobody could publish anything with a key until they expire. So they are made for no more than a share of it.
"""

from __future__ import annotations

import os
import select
import time
from typing import NamedTuple

from comet.commands.report import Report
from comet.commands.supply import Pace, Supply
from comet.sending.credentials import VARIABLE, Denied, of_environment
from comet.sending.link import Address, Link, Lost
from comet.sending.outbox import Item, Outbox, Patience
from comet.sending.wire import NotRESP, Outgoing, Reply

PATIENCE = 30.0
"""Seconds without any acknowledgement after which the daemon is given up."""

TIMEOUT = 5.0
"""Seconds without an answer after which a connection counts as lost."""

OUTSTANDING, OUTSTANDING_BYTES = 1_000, 4_194_304
"""Messages without a reply, and their bytes, beyond which no more is taken."""

MADE_AT_ONCE, MADE_PER_SECOND = 50_000, 400.0
"""Keys that are made for who gave none: a quarter of what the daemon can remember by its defaults."""


class Target(NamedTuple):
    """The daemon, as it was named, and where that is."""

    server: str
    address: Address


class GivenKeys:
    """Keys from the one that was given: the same for the same message each time the command is repeated."""

    made = False

    def __init__(self, key: str, numbered: bool) -> None:
        self._key = key
        self._numbered = numbered

    def key(self, number: int) -> str:
        """The key of the message of that number."""
        return f"{self._key}-{number}" if self._numbered else self._key

    def stop(self) -> None:
        """Never called."""
        raise AssertionError


class MadeKeys:
    """Keys that no other process has; empty when too many are asked for."""

    made = True

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._left = float(MADE_AT_ONCE)
        self._looked = time.monotonic()

    def key(self, number: int) -> str:
        """The key of the message of that number, or none."""
        now = time.monotonic()
        self._left = min(MADE_AT_ONCE, self._left + (now - self._looked) * MADE_PER_SECOND)
        self._looked = now
        if self._left < 1:
            return ""
        self._left -= 1
        return f"{self._prefix}-{number}"

    def stop(self) -> None:
        """Make no more of them."""
        self._left = float("-inf")


class Form(NamedTuple):
    """What all messages of one call have in common. An empty ``content_type`` leaves it to the supply."""

    topic: str
    content_type: str
    keys: GivenKeys | MadeKeys


class Feed:
    """One call of the command."""

    def __init__(self, target: Target, form: Form, supply: Supply, pace: Pace, report: Report) -> None:
        self._target = target
        self._form = form
        self._supply = supply
        self._pace = pace
        self._report = report
        self._outbox = Outbox()
        self._patience = Patience(PATIENCE)
        self._link: Link | None = None
        self._number = 0
        self._heard = 0.0
        # When what is not acknowledged may be tried again, and the last refusal for which it has to be.
        self._again = 0.0
        self._trouble = Reply("")

    def run(self) -> None:
        """Publish all that the supply has. Ends the process with a reason if that is not possible."""
        try:
            self._connect()
        except Lost as lost:
            raise SystemExit(
                f"comet: cannot reach {self._target.server}: {lost}; "
                "start the daemon with comet serve, or say where it is with --server"
            ) from None
        try:
            while self._outbox or self._supply.ready() or self._supply.source() is not None:
                self._fill()
                self._send()
                self._wait()
                self._report.look(self._outbox.outstanding)
        finally:
            if self._link is not None:
                self._link.close()

    # -- out --------------------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return len(self._outbox) < OUTSTANDING and self._outbox.size < OUTSTANDING_BYTES

    def _fill(self) -> None:
        form, supply, outbox = self._form, self._supply, self._outbox
        if not outbox:
            self._patience.renew()
        while self._has_room() and not self._pace.wait() and supply.ready():
            self._number += 1
            piece = supply.next()
            content_type = form.content_type or piece.content_type
            key = form.keys.key(self._number)
            outbox.put(Item(self._number, Outgoing(form.topic, piece.payload, content_type, key)))
            self._pace.count()

    def _send(self) -> None:
        outbox = self._outbox
        if time.monotonic() >= self._again and not outbox.outstanding:
            outbox.resume()
            if self._link is None and outbox:
                self._try_to_connect()
        if self._link is None or outbox.postponed:
            return
        if not outbox.outstanding:
            self._heard = time.monotonic()
        while outbox.waiting:
            self._link.send(outbox.take(self._link.batch, self._link.batch_bytes))

    def _connect(self) -> None:
        try:
            self._link = self._dialled()
        except Denied as denied:
            raise SystemExit(f"comet: {self._target.server} does not take the token in {VARIABLE}: {denied}") from None
        except NotRESP:
            raise SystemExit(self._not_resp()) from None

    def _not_resp(self) -> str:
        return (
            f"comet: {self._target.server} does not speak RESP; --server takes the TCP port of Comet, by default 7081"
        )

    def _dialled(self) -> Link:
        return Link.dialled(self._target.address, TIMEOUT, of_environment())

    def _try_to_connect(self) -> None:
        try:
            self._connect()
        except Lost as lost:
            self._pause(str(lost))

    # -- in ---------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait until something has come or is due; take in what has come."""
        source = self._supply.source() if self._has_room() and not self._supply.ready() else None
        sources: list[Link | int] = [each for each in (self._link, source) if each is not None]
        readable, _, _ = select.select(sources, [], [], self._time_left())
        if self._link in readable:
            self._receive()
        elif self._outbox.outstanding and time.monotonic() > self._heard + TIMEOUT:
            self._lose("it takes too long to answer")
        if source in readable:
            self._supply.read()

    def _time_left(self) -> float | None:
        """The seconds until something has to be done though nothing has come."""
        times = [self._report.wait()]
        if self._has_room() and self._supply.ready():
            times.append(self._pace.wait())
        if self._outbox.outstanding:
            times.append(self._heard + TIMEOUT - time.monotonic())
        elif self._outbox:
            times.append(self._again - time.monotonic())
        return min((max(0.0, each) for each in times if each is not None), default=None)

    def _receive(self) -> None:
        assert self._link is not None
        try:
            replies = self._link.receive()
        except Lost as lost:
            self._lose(str(lost))
            return
        except NotRESP:
            raise SystemExit(self._not_resp()) from None
        self._heard = time.monotonic()
        for reply in replies:
            self._take(reply)
        if self._outbox.postponed and not self._outbox.outstanding:
            self._postpone()

    def _take(self, reply: Reply) -> None:
        number = self._outbox.answer(reply).number
        if reply.retry:
            self._trouble = reply
            return
        self._patience.renew()
        if reply.code:
            self._report.refused(self._supply.name(number), f"{reply.code} {reply.detail}")
        else:
            self._report.stored(reply.position)

    def _postpone(self) -> None:
        """What was refused for a while is to be sent again; without its keys, if they were made up and are too many."""
        code, detail = self._trouble.code, self._trouble.detail
        if code == "too_many_keys" and self._form.keys.made:
            self._form.keys.stop()
            self._outbox.drop_keys()
            self._report.say("the daemon remembers no more keys: what is sent again may from here on be there twice")
        else:
            self._pause(f"{code}: {detail}")

    # -- trouble ----------------------------------------------------------------------------------------------------

    def _lose(self, reason: str) -> None:
        assert self._link is not None
        self._link.close()
        self._link = None
        self._outbox.lost()
        if self._outbox:
            self._pause(reason)

    def _pause(self, reason: str) -> None:
        """Have another try, later. Ends the process when patience is over."""
        pause = self._patience.pause()
        if pause is None:
            raise SystemExit(
                f"comet: {self._target.server} has acknowledged nothing for {PATIENCE:g} seconds ({reason}); "
                f"{self._outcome()}"
            )
        self._again = time.monotonic() + pause
        self._report.trouble(f"{self._target.server}: {reason}")

    def _outcome(self) -> str:
        name = self._supply.name(self._outbox.unanswered[0].number)
        stored = f"{name} and those after it may not be stored" if name else "the message may not be stored"
        if self._form.keys.made:
            return stored
        return f"{stored}; repeat the command, which publishes nothing twice"
