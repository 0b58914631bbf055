"""Delivery: how a subscription is spent on its writer.

**Streaming**: the response stays open. A block that does not fit makes the subscription a reader again.
**One-shot**: the first messages are the whole response (long poll). All pollers of an audience get the same bytes.

Whoever seats subscriptions (``turns.py``) knows neither; it calls these functions at five moments, and offers them the
few moves of :class:`Moves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EAGAIN
from typing import Protocol

from comet.audience import Row, Subscription
from comet.control import Bye, Control
from comet.interfaces import Writer
from comet.message import Page

Short = Sequence[tuple[int, int]]
"""Those of a row that did not take all: index and bytes sent, or the error number, negated."""


class Moves(Protocol):
    """What a delivery may do with a subscription; :class:`comet.turns.Turns` implements it."""

    def fall_behind(self, subscription: Subscription, cursor: int) -> None:
        """Make a live subscription a reading one that has everything up to ``cursor`` and waits to be drained."""

    def proceed(self, subscription: Subscription) -> None:
        """Go on with a reading subscription, if it is drained: another page, or live."""

    def await_drain(self, subscription: Subscription) -> None:
        """Note that a reading subscription's writer will call ``drained``."""

    def join(self, subscription: Subscription) -> None:
        """Make a reading subscription live: it has everything."""

    def await_messages(self, subscription: Subscription) -> None:
        """As ``join``, but no longer than the subscription's ``wait``: then ``wait_over`` is called."""

    def detach(self, subscription: Subscription) -> None:
        """Forget the subscription. Its writer is the caller's to end."""

    def await_end(self, writer: Writer) -> None:
        """Give a finished writer its time to send the rest; then drop the connection."""

    def empty_page(self, subscription: Subscription) -> Page:
        """A page without messages, at the place up to which the subscription has everything."""


class Delivery(Protocol):
    """The five moments."""

    def spend_block(self, moves: Moves, row: Row, data: bytes, offset: int, short: Short) -> int:
        """Give every member of ``row`` the block ``data``, with which it has everything up to ``offset``.

        To a row with descriptors it was sent already, and ``short`` has those members that did not take all of it. Of
        other rows each writer is given it. Returns how many took nothing of it.
        """

    def spend_page(self, moves: Moves, subscription: Subscription, data: bytes, page: Page) -> None:
        """Give a reading, drained subscription the bytes of its next page (or of its opening)."""

    def caught_up(self, moves: Moves, subscription: Subscription) -> None:
        """A reading, drained subscription has read all there is."""

    def say(self, moves: Moves, subscription: Subscription, control: Control) -> None:
        """Tell something in-band, behind what was written."""

    def wait_over(self, moves: Moves, subscription: Subscription) -> None:
        """The subscription's ``wait`` is over."""


class Streaming:
    """Messages follow each other on a response that stays open."""

    def spend_block(self, moves: Moves, row: Row, data: bytes, offset: int, short: Short) -> int:
        if row.descriptors is None:
            behind = [member for member in row.members if not member.writer.write(data)]
            for member in behind:
                moves.fall_behind(member, offset)
            return 0
        without = 0
        # Backwards, because the last member takes the place of one that leaves.
        for index, sent in reversed(short):
            member = row.members[index]
            if sent >= 0:
                if not member.writer.write(data, sent):
                    moves.fall_behind(member, offset)
                continue
            without += 1
            if sent == -EAGAIN:
                moves.fall_behind(member, row.reached())
                member.writer.wait()
            else:
                moves.detach(member)
                member.writer.abort()
        return without

    def spend_page(self, moves: Moves, subscription: Subscription, data: bytes, page: Page) -> None:  # noqa: ARG002
        if not data or subscription.writer.write(data):
            moves.proceed(subscription)
        else:
            moves.await_drain(subscription)

    def caught_up(self, moves: Moves, subscription: Subscription) -> None:
        moves.join(subscription)

    def say(self, moves: Moves, subscription: Subscription, control: Control) -> None:
        assert subscription.audience is not None
        data = subscription.audience.key.framing.control(control)
        writer = subscription.writer
        drained = not data or writer.write(data)
        if isinstance(control, Bye):
            moves.detach(subscription)
            writer.finish()
            if not drained:
                moves.await_end(writer)
            return
        if not drained:
            moves.await_drain(subscription)
        moves.proceed(subscription)

    def wait_over(self, moves: Moves, subscription: Subscription) -> None:  # noqa: ARG002
        raise AssertionError("a stream does not wait")


class OneShot:
    """The first page that has something is the whole response."""

    def spend_block(self, moves: Moves, row: Row, data: bytes, offset: int, short: Short) -> int:  # noqa: ARG002
        otherwise = 0 if row.descriptors is None else len(data)
        sent_to = dict(short)
        for index, member in enumerate(row.clear()):
            moves.detach(member)
            sent = sent_to.get(index, otherwise)
            if sent < 0 and sent != -EAGAIN:
                member.writer.abort()
                continue
            if sent != len(data):
                member.writer.write(data, max(sent, 0))
            member.writer.finish()
        return 0

    def spend_page(self, moves: Moves, subscription: Subscription, data: bytes, page: Page) -> None:
        if page.messages or page.gap:
            self._answer(moves, subscription, data)
        else:
            moves.proceed(subscription)

    def caught_up(self, moves: Moves, subscription: Subscription) -> None:
        if subscription.wait:
            moves.await_messages(subscription)
        else:
            self.wait_over(moves, subscription)

    def say(self, moves: Moves, subscription: Subscription, control: Control) -> None:
        if not isinstance(control, Bye):
            moves.proceed(subscription)
            return
        assert subscription.audience is not None
        control = control._replace(position=moves.empty_page(subscription).position)
        self._answer(moves, subscription, subscription.audience.key.framing.control(control))

    def wait_over(self, moves: Moves, subscription: Subscription) -> None:
        assert subscription.audience is not None
        data = subscription.audience.key.framing.page(moves.empty_page(subscription))
        self._answer(moves, subscription, data)

    def _answer(self, moves: Moves, subscription: Subscription, data: bytes) -> None:
        moves.detach(subscription)
        subscription.writer.write(data)
        subscription.writer.finish()


STREAMING: Delivery = Streaming()
ONE_SHOT: Delivery = OneShot()
